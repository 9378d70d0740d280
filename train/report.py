"""Per-case results added up: measures of each method, variant and suite, their intervals, and the tables of them.

A `Tally` takes what each method did with each case; its `Report` holds a `Cell` for every suite and one
called "macro", the mean over the suites that have the measure. Intervals are 95 % bootstrap intervals over
groups. Filled by `train/evaluate.py`; read by the model card, the chart and whoever takes the JSON.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.ranking import measures
from train import slots
from train.cases import VARIANTS, Case
from train.predictors import Ranking

Array = np.ndarray[Any, np.dtype[Any]]
KS = (1, 3, 5, 10)
DEPTH = 10  # of NDCG
COLUMNS = (*(f"hit@{k}" for k in KS), "mrr", f"ndcg@{DEPTH}")
RANKER, GUARDED = "ranker", "ranker, guarded"
MACRO = "macro"
# Of ours alone, in the order of the table; the last four where the cases say the answer's arguments.
EXTRAS = ("accept@1", "recall@30", "recall", "ece", "brier skill", "hit@1 of surest 30 %")
ARGUMENTS = ("slot F1", "path exact", "all exact", "hallucinated")
_HEADINGS = {
    "ece": "ECE", "mrr": "MRR", "brier skill": "Brier\nskill", "hit@1 of surest 30 %": "surest\n30 %",
    "slot F1": "slot\nF1", "path exact": "path\nexact", "all exact": "all\nexact", "hallucinated": "halluci-\nnated",
}  # fmt: skip
_NAN = float("nan")

Bins = list[tuple[float, float, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """Measures of one method on one suite (or their mean) and one variant."""

    cases: int
    values: dict[str, float]  # COLUMNS; of ours also EXTRAS and ARGUMENTS
    intervals: dict[str, tuple[float, float]]  # 95 %, groups resampled: COLUMNS and ARGUMENTS


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """method -> variant -> suite (and "macro") -> Cell."""

    cells: dict[str, dict[str, dict[str, Cell]]]
    ranker: str = ""
    reliability: dict[str, dict[str, Bins]] = dataclasses.field(default_factory=dict)  # variant -> suite -> bins
    # variant -> suite -> source -> share of answers it finds, and what the shortlist loses without it
    sources: dict[str, dict[str, dict[str, dict[str, float]]]] = dataclasses.field(default_factory=dict)

    def value(self, method: str, variant: str, column: str, suite: str = MACRO) -> float:
        return self.cells[method][variant][suite].values[column]

    @property
    def ours(self) -> str:
        """The method that carries EXTRAS: the ranker itself, or what a server answers, which is guarded."""
        return RANKER if RANKER in self.cells else GUARDED

    @property
    def variants(self) -> list[str]:
        return [v for v in VARIANTS if any(v in by for by in self.cells.values())]

    def suites(self, variant: str) -> list[str]:
        return list(next(by[variant] for by in self.cells.values() if variant in by))


@dataclasses.dataclass(slots=True)
class _Rows:
    """Per-case results of one method, variant and suite."""

    values: list[Array] = dataclasses.field(default_factory=list)  # each [len(COLUMNS)]
    groups: list[str] = dataclasses.field(default_factory=list)
    extra: dict[str, list[float]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    slots: list[Array] = dataclasses.field(default_factory=list)  # each [len(slots.SUMS)]
    slot_groups: list[str] = dataclasses.field(default_factory=list)


class Tally:
    """Results case by case; `report` adds them up."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], _Rows] = defaultdict(_Rows)
        self._resamples: dict[tuple[int, tuple[str, ...]], measures.Resamples] = {}

    def add(self, method: str, case: Case, values: Array) -> _Rows:
        """COLUMNS of one case."""
        row = self._rows[method, case.variant, case.suite]
        row.values.append(values)
        row.groups.append(case.cluster)
        return row

    def add_ranking(self, case: Case, ranking: Ranking, guarded_only: bool) -> None:
        """What the ranker did with one case, with and without the guard; ties and misses count against it."""
        position = {key: i for i, key in enumerate(ranking.operations)}
        wanted = position.get(case.next, -1)
        accepted = [position[key] for key in dict.fromkeys((case.next, *case.accept)) if key in position]
        shown = np.where(ranking.allowed, ranking.scores, -np.inf)
        for name, scores in ((GUARDED, shown), (RANKER, ranking.scores)):
            if guarded_only and name == RANKER:
                continue
            hidden = wanted < 0 or scores[wanted] == -np.inf
            rank = float(ranking.catalog_size) if hidden else measures.rank_of(scores, wanted)
            row = self.add(name, case, columns(rank))
            usable = [i for i in accepted if scores[i] > -np.inf]
            row.extra["accept@1"].append(float(bool(usable) and measures.rank_of(scores, usable) <= 1))
            if len(scores):
                row.extra["confidence"].append(float(ranking.confidence[int(np.argmax(scores))]))
                row.extra["correct"].append(float(not hidden and rank <= 1))
        if ranking.shortlist:
            place = ranking.shortlist.index(case.next) + 1 if case.next in ranking.shortlist else np.inf
            row = self._ours(case, guarded_only)
            row.extra["recall@30"].append(float(place <= 30))
            row.extra["recall"].append(float(np.isfinite(place)))

    def add_slots(self, case: Case, sums: Array, guarded_only: bool) -> None:
        """slots.SUMS of one case."""
        row = self._ours(case, guarded_only)
        row.slots.append(sums)
        row.slot_groups.append(case.cluster)

    def _ours(self, case: Case, guarded_only: bool) -> _Rows:
        return self._rows[GUARDED if guarded_only else RANKER, case.variant, case.suite]

    def report(self, ranker: str) -> Report:
        """All measures of what was added."""
        cells: dict[str, dict[str, dict[str, Cell]]] = defaultdict(lambda: defaultdict(dict))
        samples: dict[tuple[str, str], list[dict[str, Array]]] = defaultdict(list)
        for (name, variant, suite), row in self._rows.items():
            values, resampled = self._measure(row, len(samples[name, variant]))
            intervals = {c: measures.edges(s) for c, s in resampled.items()}
            cells[name][variant][suite] = Cell(len(row.values), values, intervals)
            samples[name, variant].append(resampled)
        for (name, variant), resampled_suites in samples.items():
            cells[name][variant][MACRO] = _macro(list(cells[name][variant].values()), resampled_suites)
        plain = {name: {variant: dict(suites) for variant, suites in by.items()} for name, by in cells.items()}
        report = Report(plain, ranker)
        for variant in report.variants:
            report.reliability[variant] = {
                suite: measures.reliability(np.array(row.extra["confidence"]), np.array(row.extra["correct"]))
                for (name, v, suite), row in self._rows.items()
                if name == report.ours and v == variant
            }
        return report

    def _measure(self, row: _Rows, seed: int) -> tuple[dict[str, float], dict[str, Array]]:
        """Measures of one suite, and those that have an interval in each resample."""
        table = np.stack(row.values)
        values = dict(zip(COLUMNS, table.mean(axis=0).tolist(), strict=True)) | _extras(row)
        means = self._resample(row.groups, seed).means(table)
        resampled = {column: means[:, i] for i, column in enumerate(COLUMNS)}
        if row.slots:
            sums = np.stack(row.slots)
            values |= {c: float(v) for c, v in slots.ratios(sums.mean(axis=0)).items()}
            values["slot cases"] = float(len(sums))
            resampled |= slots.ratios(self._resample(row.slot_groups, seed).means(sums))
        return values, resampled

    def _resample(self, groups: Sequence[str], seed: int) -> measures.Resamples:
        key = seed, tuple(groups)  # all methods of a variant and suite share their resamples
        if key not in self._resamples:
            self._resamples[key] = measures.Resamples(groups, seed=seed)
        return self._resamples[key]


def columns(rank: float) -> Array:
    """COLUMNS of one case whose only right answer stands at `rank`."""
    gain = 1.0 / np.log2(1.0 + rank) if rank <= DEPTH else 0.0
    return np.array([*(float(rank <= k) for k in KS), 1.0 / rank, gain])


def _extras(row: _Rows) -> dict[str, float]:
    out = {name: float(np.mean(row.extra[name])) for name in ("accept@1", "recall@30", "recall") if row.extra.get(name)}
    if row.extra.get("confidence"):
        confidence, correct = np.array(row.extra["confidence"]), np.array(row.extra["correct"])
        out["ece"] = measures.expected_calibration_error(confidence, correct)
        out["brier skill"] = measures.brier_skill(confidence, correct)
        out["hit@1 of surest 30 %"] = measures.accuracy_at_coverage(confidence, correct, 0.3)
    return out


def _macro(suites: Sequence[Cell], resampled: Sequence[Mapping[str, Array]]) -> Cell:
    values: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for column in dict.fromkeys(c for cell in suites for c in cell.values):
        having = [i for i, cell in enumerate(suites) if not np.isnan(cell.values.get(column, _NAN))]
        known = [suites[i].values[column] for i in having]
        values[column] = float(sum(known) if column == "slot cases" else np.mean(known)) if known else _NAN
        if having and all(column in resampled[i] for i in having):
            intervals[column] = measures.edges(np.mean([resampled[i][column] for i in having], axis=0))
    return Cell(sum(cell.cases for cell in suites), values, intervals)


def tables(report: Report) -> list[Any]:
    """rich tables: hit@1, 3, 5 of all methods for each variant, what else there is of ours, recall by source."""
    out = [_hits(report, variant) for variant in report.variants]
    out.append(_ours(report))
    return out + [_sources(report, variant) for variant in report.variants if variant in report.sources]


def width(report: Report) -> int:
    """Columns that the tables need."""
    return max(150, 24 + 33 * max(len(report.suites(variant)) for variant in report.variants))


def _hits(report: Report, variant: str) -> Any:
    from rich.table import Table

    by_method = {name: by[variant] for name, by in report.cells.items() if variant in by}
    suites = report.suites(variant)
    table = Table(title=f"{variant}: hit@1 (95 %) / hit@3 / hit@5", title_justify="left")
    table.add_column("method")
    for suite in suites:
        cases = next(iter(by_method.values()))[suite].cases
        table.add_column(f"{suite}\n{cases} cases", justify="right")
    for name, by_suite in by_method.items():
        shown = []
        for suite in suites:
            first, *others = (by_suite[suite].values[f"hit@{k}"] for k in (1, 3, 5))
            low, high = by_suite[suite].intervals["hit@1"]
            shown.append(f"{first:.2f} ({low:.2f}-{high:.2f}) / " + " / ".join(f"{v:.2f}" for v in others))
        table.add_row(name, *shown, style="bold" if name.startswith(RANKER) else "")
    if any(name == "markov" for name in by_method):
        table.caption = "markov has seen this API: the sessions of the other groups; no other method has"
        table.caption_justify = "left"
    return table


def _ours(report: Report) -> Any:
    from rich.table import Table

    known = ("mrr", f"ndcg@{DEPTH}", *EXTRAS, *ARGUMENTS)
    cells = [(variant, suite, cell) for variant, by in report.cells[report.ours].items() for suite, cell in by.items()]
    names = [name for name in known if any(name in cell.values for _, _, cell in cells)]
    table = Table(title=f"{report.ours}: order, shortlist, calibration; arguments of the right operation")
    table.title_justify = "left"
    table.add_column("variant")
    table.add_column("suite")
    for name in names:
        table.add_column(_HEADINGS.get(name, name), justify="right")
    for variant in report.variants:
        of_variant = [(suite, cell) for v, suite, cell in cells if v == variant]
        for i, (suite, cell) in enumerate(of_variant):
            shown = [_figure(cell.values.get(name, _NAN)) for name in names]
            last = i + 1 == len(of_variant)
            table.add_row("" if i else variant, suite, *shown, end_section=last, style="bold" if last else "")
    return table


def _sources(report: Report, variant: str) -> Any:
    from rich.table import Table

    by_suite = report.sources[variant]
    table = Table(title=f"{variant}: recall@30 / recall of each source alone (what the others lose without it)")
    table.title_justify = "left"
    table.caption = (
        "in the union's order; shortlist: with what fills it; habit: what followed the last call in other groups"
    )
    table.caption_justify = "left"
    table.add_column("source")
    for suite in by_suite:
        table.add_column(suite, justify="right")
    for source in next(iter(by_suite.values())):
        shown = []
        for by_source in by_suite.values():
            v = by_source[source]
            alone = f"{_figure(v['recall@30'])} / {_figure(v['recall'])}"
            lost = f" ({v['lost@30']:.3f} / {v['lost']:.3f})" if "lost" in v else ""
            shown.append(alone + lost)
        table.add_row(source, *shown, style="bold" if "lost" not in next(iter(by_suite.values()))[source] else "")
    return table


def _figure(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
