"""Cases become measures: how often the true next call stands where it should, beside the baselines.

Three tasks are counted apart (prompt and history, prompt only, history only), per suite and as the
mean over suites; every operation of the spec is a candidate, what is not in the shortlist stands
last, ties count against us. With and without the guard that holds destructive operations back.
`python -m train.evaluate` runs it in process or against a server; `opensesame evaluate` calls it.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np
import orjson
import typer

from pipeline import guardrails
from pipeline import settings as configuration
from pipeline.catalog.embed import Encoder, operation_card
from pipeline.catalog.library import Compiled, compile_catalog, with_vectors
from pipeline.catalog.parse import parse_spec
from pipeline.errors import BadRequest, OpenSesameError
from pipeline.predict import assemble
from pipeline.ranking import features, measures
from pipeline.ranking.ranker import Ranker, serving
from pipeline.settings import Settings
from pipeline.types import Source
from train.baselines import Baselines, expected_random
from train.cases import VARIANTS, Case, query_of, read_cases

Array = np.ndarray[Any, np.dtype[Any]]
KS = (1, 3, 5, 10)
_VECTORS_WAIT_S = 180.0  # of a server, for a spec just uploaded; then it is measured without
COLUMNS = (*(f"hit@{k}" for k in KS), "mrr")


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """What a predictor says of one case: scored operations, of which some may be held back by the guard."""

    operations: tuple[str, ...]  # keys, best known order first or not: `scores` decides
    scores: Array  # [n]
    confidence: Array  # [n]
    allowed: Array  # [n] bool: what the guard lets through
    catalog_size: int
    shortlist: tuple[str, ...] = ()  # in the union's order


class Predictor(Protocol):
    """Whatever ranks the operations of a case's spec."""

    def rank(self, case: Case) -> Ranking: ...


class LocalPredictor:
    """The pipeline in this process; compiles each spec once, encodes all prompts together."""

    def __init__(self, settings: Settings, specs: Path, ranker: Ranker | None = None, meaning: bool = True) -> None:
        self._settings, self._specs = settings, specs
        self.ranker = ranker or serving(settings.ranker.artifact)
        self._encoder = Encoder(settings.embedder) if meaning else None
        self._compiled: dict[str, Compiled] = {}
        self._prompts: dict[str, Array] = {}

    def prepare(self, cases: Iterable[Case]) -> None:
        """Encodes the prompts of all cases in one go."""
        texts = [p for p in dict.fromkeys(c.prompt for c in cases if c.prompt) if p not in self._prompts]
        if self._encoder is not None and texts:
            self._prompts.update(zip(texts, self._encoder.encode(texts), strict=True))

    def compiled(self, spec: str) -> Compiled:
        """The compiled catalog of a spec file, with vectors."""
        if spec not in self._compiled:
            compiled = compile_catalog(parse_spec((self._specs / spec).read_bytes(), self._settings.parse))
            if self._encoder is not None:
                cards = [operation_card(o) for o in compiled.catalog.operations]
                compiled = with_vectors(compiled, self._encoder.encode(cards))
            self._compiled[spec] = compiled
        return self._compiled[spec]

    def vector(self, prompt: str | None) -> Array | None:
        if not prompt or self._encoder is None:
            return None
        if prompt not in self._prompts:
            self._prompts[prompt] = self._encoder.encode([prompt])[0]
        return self._prompts[prompt]

    def rank(self, case: Case) -> Ranking:
        compiled = self.compiled(case.spec)
        query = query_of(case, Source(digest=compiled.catalog.digest))
        grounded, matrix = assemble(query, compiled, self.vector(case.prompt), {}, self._settings.shortlist)
        scores = self.ranker.score(matrix, features.head(query))
        keys = tuple(c.operation for c in grounded.candidates)
        allowed = [guardrails.allow(c, grounded.intents, (), "intent") for c in grounded.candidates]
        return Ranking(keys, scores.raw, scores.confidence, np.array(allowed), grounded.operations, keys)


class ServerPredictor:
    """A running service; uploads each spec under a name once. What it answers is already guarded."""

    def __init__(self, url: str, specs: Path) -> None:
        import httpx2

        self._client = httpx2.Client(base_url=url.rstrip("/"), timeout=60.0)
        self._specs = specs
        self._sizes: dict[str, int] = {}

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._client.request(method, path, **arguments)
        if answer.status_code >= 400:
            raise OpenSesameError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    def _upload(self, spec: str) -> str:
        """Uploads a spec, waits until its vectors are made, and returns its name on the server."""
        name = "evaluate-" + Path(spec).stem.replace("_", "-")
        if name not in self._sizes:
            headers = {"content-type": "application/octet-stream"}
            self._call("PUT", f"/catalogs/{name}", content=(self._specs / spec).read_bytes(), headers=headers)
            self._sizes[name] = int(self._call("GET", f"/catalogs/{name}")["operations"])
            patience = time.monotonic() + _VECTORS_WAIT_S
            while time.monotonic() < patience:
                answer = self._call("POST", "/predict", json={"catalog": name, "prompt": "list", "k": 1})
                if "embedding" not in answer["metadata"]["degraded"]:
                    break
                time.sleep(1.0)
        return name

    def rank(self, case: Case) -> Ranking:
        name = self._upload(case.spec)
        events = [{k: v for k, v in msgspec.to_builtins(event).items() if v is not None} for event in case.events]
        body: dict[str, Any] = {"catalog": name, "k": 50, "events": events, "deadline_ms": 10_000}
        if case.prompt:
            body["prompt"] = case.prompt
        predictions = self._call("POST", "/predict", json=body)["predictions"]
        return Ranking(
            operations=tuple(p["endpoint"] for p in predictions),
            scores=-np.arange(len(predictions), dtype=np.float64),
            confidence=np.array([p["confidence"] for p in predictions]),
            allowed=np.ones(len(predictions), dtype=bool),
            catalog_size=self._sizes[name],
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """Measures of one method on one suite (or their mean) and one variant."""

    cases: int
    values: dict[str, float]  # hit@k, mrr; for ours also accept@1, recall, ece ...
    intervals: dict[str, tuple[float, float]]  # 95 %, groups resampled: hit@1, hit@3


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """method -> variant -> suite (and "macro") -> Cell."""

    cells: dict[str, dict[str, dict[str, Cell]]]
    ranker: str = ""

    def value(self, method: str, variant: str, column: str, suite: str = "macro") -> float:
        return self.cells[method][variant][suite].values[column]


@dataclasses.dataclass(slots=True)
class _Rows:
    """Per-case values of one method, variant and suite."""

    values: list[Array] = dataclasses.field(default_factory=list)  # each [len(COLUMNS)]
    groups: list[str] = dataclasses.field(default_factory=list)
    extra: dict[str, list[float]] = dataclasses.field(default_factory=lambda: defaultdict(list))


def evaluate(
    cases: Sequence[Case],
    predictor: Predictor,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Measures of `predictor` on `cases`, and of the baselines where it runs in this process."""
    if not cases:
        raise BadRequest("There are no cases to evaluate.")
    rows: dict[tuple[str, str, str], _Rows] = defaultdict(_Rows)
    baselines: dict[str, Baselines] = {}
    local = predictor if isinstance(predictor, LocalPredictor) else None
    if local is not None:
        local.prepare(cases)
    for done, case in enumerate(cases):
        ranking = predictor.rank(case)
        _ours(rows, case, ranking, guarded_only=local is None)
        random = expected_random(ranking.catalog_size, KS)
        for name in ("random", "markov"):  # Markov chains know nothing of an API they have not seen: uniform
            _add(rows, name, case, random)
        if local is not None:
            compiled = local.compiled(case.spec)
            if case.spec not in baselines:
                baselines[case.spec] = Baselines(compiled.catalog, compiled.vectors)
            _baselines(rows, case, compiled, baselines[case.spec], local.vector(case.prompt))
        progress(done + 1, len(cases))
    version = local.ranker.version if local is not None else ""
    return Report(_cells(rows), version)


def _ours(rows: Mapping[tuple[str, str, str], _Rows], case: Case, ranking: Ranking, guarded_only: bool) -> None:
    position = {key: i for i, key in enumerate(ranking.operations)}
    wanted = position.get(case.next, -1)
    accepted = [position[key] for key in dict.fromkeys((case.next, *case.accept)) if key in position]
    shown = np.where(ranking.allowed, ranking.scores, -np.inf)
    last = float(ranking.catalog_size)
    for name, scores in (("ranker, guarded", shown), ("ranker", ranking.scores)):
        if guarded_only and name == "ranker":
            continue
        hidden = wanted < 0 or scores[wanted] == -np.inf
        rank = last if hidden else measures.rank_of(scores, wanted)
        row = _add(rows, name, case, _values(rank))
        usable = [i for i in accepted if scores[i] > -np.inf]
        row.extra["accept@1"].append(float(bool(usable) and measures.rank_of(scores, usable) <= 1))
        if len(scores):
            first = int(np.argmax(scores))
            row.extra["confidence"].append(float(ranking.confidence[first]))
            row.extra["correct"].append(float(first == wanted))
    if ranking.shortlist:
        place = ranking.shortlist.index(case.next) + 1 if case.next in ranking.shortlist else np.inf
        row = rows["ranker, guarded" if guarded_only else "ranker", case.variant, case.suite]
        row.extra["recall@30"].append(float(place <= 30))
        row.extra["recall"].append(float(np.isfinite(place)))


def _baselines(
    rows: Mapping[tuple[str, str, str], _Rows],
    case: Case,
    compiled: Compiled,
    baselines: Baselines,
    vector: Array | None,
) -> None:
    query = query_of(case, Source())
    last = None
    for call in reversed(query.calls):
        match = compiled.matcher.match(call.method, call.path)
        if match is not None:
            last = match.index
            break
    wanted = next((i for i, o in enumerate(compiled.catalog.operations) if o.key == case.next), None)
    if wanted is None:
        raise BadRequest(f"Case {case.case}: {case.next} is no operation of {case.spec}.")
    for name, scores in baselines.scores(case.prompt or "", vector, last).items():
        _add(rows, name, case, _values(measures.rank_of(scores, wanted)))


def _values(rank: float) -> Array:
    return np.array([*(float(rank <= k) for k in KS), 1.0 / rank])


def _add(rows: Mapping[tuple[str, str, str], _Rows], name: str, case: Case, values: Array) -> _Rows:
    row = rows[name, case.variant, case.suite]
    row.values.append(values)
    row.groups.append(case.group or case.case)
    return row


def _cells(rows: Mapping[tuple[str, str, str], _Rows]) -> dict[str, dict[str, dict[str, Cell]]]:
    cells: dict[str, dict[str, dict[str, Cell]]] = defaultdict(lambda: defaultdict(dict))
    for (name, variant, suite), row in rows.items():
        table = np.stack(row.values)
        values = dict(zip(COLUMNS, table.mean(axis=0).tolist(), strict=True)) | _extras(row)
        intervals = {c: measures.interval(table[:, COLUMNS.index(c)], row.groups) for c in ("hit@1", "hit@3")}
        cells[name][variant][suite] = Cell(len(table), values, intervals)
    for name, by_variant in cells.items():
        for variant, by_suite in by_variant.items():
            own = [rows[name, variant, suite] for suite in by_suite]
            shared = set.intersection(*(set(cell.values) for cell in by_suite.values()))
            intervals = {
                c: measures.macro_interval([(np.stack(r.values)[:, COLUMNS.index(c)], r.groups) for r in own])
                for c in ("hit@1", "hit@3")
            }
            means = {c: float(np.mean([cell.values[c] for cell in by_suite.values()])) for c in sorted(shared)}
            by_suite["macro"] = Cell(sum(len(r.values) for r in own), means, intervals)
    return {name: {variant: dict(suites) for variant, suites in by.items()} for name, by in cells.items()}


def _extras(row: _Rows) -> dict[str, float]:
    out = {name: float(np.mean(row.extra[name])) for name in ("accept@1", "recall@30", "recall") if row.extra.get(name)}
    if row.extra.get("confidence"):
        confidence, correct = np.array(row.extra["confidence"]), np.array(row.extra["correct"])
        out["ece"] = measures.expected_calibration_error(confidence, correct)
        out["brier skill"] = measures.brier_skill(confidence, correct)
        out["hit@1 of surest 30 %"] = measures.accuracy_at_coverage(confidence, correct, 0.3)
    return out


def shuffle_prompts(cases: Sequence[Case], seed: int = 0) -> list[Case]:
    """The cases with the prompts of each suite dealt out anew, to other groups where there are any."""
    rng = random.Random(seed)
    prompts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for case in cases:
        if case.prompt:
            prompts[case.suite].append((case.group, case.prompt))
    out = []
    for case in cases:
        if case.prompt:
            others = [p for group, p in prompts[case.suite] if group != case.group]
            case = msgspec.structs.replace(case, prompt=rng.choice(others)) if others else case
        out.append(case)
    return out


def tables(report: Report) -> list[Any]:
    """One rich table per variant: methods down, suites across, each cell hit@1 / hit@3 / hit@5."""
    from rich.table import Table

    out = []
    variants = [v for v in VARIANTS if any(v in by for by in report.cells.values())]
    for variant in variants:
        by_method = {name: by[variant] for name, by in report.cells.items() if variant in by}
        first = next(iter(by_method.values()))
        suites = [s for s in first if s != "macro"]
        title = f"{variant}: hit@1 / hit@3 / hit@5 ({', '.join(f'{s} {first[s].cases}' for s in suites)} cases)"
        table = Table(title=title, title_justify="left")
        table.add_column("method")
        for suite in (*suites, "macro"):
            table.add_column(suite, justify="right")
        table.add_column("95 % of macro hit@1", justify="right")
        for name, by_suite in by_method.items():
            shown = [" / ".join(f"{by_suite[s].values[f'hit@{k}']:.2f}" for k in (1, 3, 5)) for s in (*suites, "macro")]
            low, high = by_suite["macro"].intervals["hit@1"]
            table.add_row(name, *shown, f"{low:.2f} - {high:.2f}", style="bold" if name.startswith("ranker") else "")
        out.append(table)
    return out


def run(
    cases: Annotated[list[Path], typer.Argument(help="Files of cases (JSON lines), or folders of them.")],
    specs: Annotated[Path, typer.Option(help="Folder of the specs that the cases name.")],
    url: Annotated[str, typer.Option(help="A running service; without it the pipeline runs in this process.")] = "",
    artifact: Annotated[str, typer.Option(help="A saved ranker; without it the packaged one.")] = "",
    cold_start: Annotated[bool, typer.Option(help="Rank by the declared linear order instead of a model.")] = False,
    meaning: Annotated[bool, typer.Option(help="Use sentence vectors.")] = True,
    shuffle: Annotated[
        bool, typer.Option(help="Give each case another prompt of its suite: what remains is habit.")
    ] = False,
    config: Annotated[str, typer.Option(help="A name in configs/ or a path.")] = "local",
    out: Annotated[Path | None, typer.Option(help="Write the report here as JSON.")] = None,
) -> None:
    """Measure predictions on cases, beside the baselines."""
    from rich.console import Console
    from rich.progress import Progress

    from pipeline.ranking import ranker as rankers

    console = Console(width=160)
    settings = configuration.load(config)
    chosen = rankers.cold_start() if cold_start else serving(artifact or settings.ranker.artifact)
    predictor: Predictor = ServerPredictor(url, specs) if url else LocalPredictor(settings, specs, chosen, meaning)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("cases", total=None)
        asked = read_cases(cases)
        asked = shuffle_prompts(asked) if shuffle else asked
        report = evaluate(asked, predictor, lambda done, total: bar.update(task, completed=done, total=total))
    console.print(f"ranker {report.ranker or url}")
    for table in tables(report):
        console.print(table)
    for variant, by_suite in report.cells["ranker, guarded" if url else "ranker"].items():
        extras = {k: round(v, 3) for k, v in by_suite["macro"].values.items() if k not in COLUMNS}
        console.print(f"{variant}: {extras}", highlight=False)
    if out is not None:
        out.write_bytes(orjson.dumps(dataclasses.asdict(report), option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    typer.run(run)
