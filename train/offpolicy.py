"""What another ranker would have earned, estimated from what was shown under the one that served.

    python -m train.offpolicy [--var FOLDER] [--ranker FILE or VERSION] [--since DAY] [--json]

Each labelled prediction of the journal is a case: its action is the operation at rank 1, its reward whether that was
chosen, its propensity the one that was logged. A ranker is asked which of the same rows it would have put first; the
estimates are those of `pipeline/ranking/offpolicy.py`. The journal has no counts of what followed what, so a ranker
is judged by its scores alone, and to be compared with the one that served by its scores alone. Run by people, on what
the last training or `Journal.drain` has brought to the journal.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer

from pipeline import settings as configuration
from pipeline.errors import JournalError, OpenSesameError, RankerArtifactError
from pipeline.ranking.offpolicy import Estimate, doubly_robust, snips, values_by_position
from pipeline.ranking.ranker import Ranker, serving
from pipeline.ranking.table import FINGERPRINT
from pipeline.settings import Settings
from pipeline.stores.journal import Journal
from pipeline.stores.registry import Registry
from train import replay

Array = np.ndarray[Any, np.dtype[Any]]

SERVED, SCORED = "as it served, without chance", "the same by its scores alone"
_COLUMNS = ("id", "outcome", "ts", "shown_ts", "head", "columns", "fingerprint", "features", "operations", "labels",
            "scores", "adapted", "shown", "chosen", "arm", "propensity", "explored")  # fmt: skip
_BATCH = 512


@dataclasses.dataclass(frozen=True, slots=True)
class Top:
    """What an order would have put first in each case."""

    positions: Array  # [n_cases] int, in the order that served
    agrees: Array  # [n_cases] bool: chance or not, it stood there
    possible: Array  # [n_cases] bool: it might have stood there


@dataclasses.dataclass(frozen=True, slots=True)
class Cases:
    """Labelled predictions of a journal; arrays are [n_cases]."""

    rewards: Array  # 1.0 where rank 1 was chosen, else 0.0
    propensities: Array
    logged: Array  # position of rank 1 in the order that served: 0 unless chance had a say
    rewarded: Array  # position of what was chosen, -1 where nobody knows or it is none of the rows
    explored: int
    drafted: int
    tops: dict[str, Top]

    def __len__(self) -> int:
        return len(self.rewards)


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """What an order would have earned: hit@1, estimated twice."""

    order: str
    agrees: int  # cases in which it puts first what stood first
    possible: int  # cases in which what it puts first might have stood there: of the others nothing was seen
    snips: Estimate
    doubly_robust: Estimate


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Orders by what they would have earned."""

    cases: int
    chances: int  # cases whose rank 1 was left to chance: propensity below 1
    explored: int  # of them, those in which exploration swapped it
    drafted: int  # of them, those that two rankers drafted
    earned: float  # hit@1 of what was shown
    values: list[Value]

    @property
    def caution(self) -> str:
        """What the estimates cannot say, in a sentence; "" where chance had a say everywhere."""
        last = self.values[-1]
        if not self.chances:
            return (
                f"Nothing was left to chance: every propensity is 1. The estimates speak of the {last.agrees} of "
                f"{self.cases} predictions in which {last.order} puts first what stood first, and cannot say whether "
                "it is better in any other: `experiments.explore_percent` buys that."
            )
        if last.possible < self.cases:
            return (
                f"In {self.cases - last.possible} of {self.cases} predictions what {last.order} puts first could not "
                "have been shown there: SNIPS leaves them out, the doubly robust estimate rests on its model there."
            )
        return ""


def read_cases(journal: Journal, ranker: Ranker, since: datetime.datetime | None = None) -> Cases:
    """The journal's predictions that were scored by this feature table, made at `since` or later.

    Streamed; of each case a few numbers are kept.

    Raises:
        JournalError: there is none, or the journal cannot be read.
    """
    plain: list[tuple[float, float, int, int, bool, bool]] = []
    tops: dict[str, list[tuple[int, bool, bool]]] = {SERVED: [], SCORED: [], ranker.version: []}
    day = since.date() if since else None
    for batch in journal.groups(since=day, fingerprint=FINGERPRINT, columns=_COLUMNS, batch=_BATCH):
        for row, x in replay.usable_rows(batch):
            if not row["shown"] or len(row["scores"]) != len(row["operations"]):
                continue
            if since is not None and row["shown_ts"] < since:
                continue
            order = _order(row)
            places = {index: place for place, index in enumerate(order)}
            chosen = row["operations"].index(row["chosen"]) if row["chosen"] in row["operations"] else -1
            propensity = 1.0 if row["propensity"] is None else row["propensity"]
            drafted = row["arm"] == "interleaved"
            plain.append(
                (
                    float(row["labels"][0] > 0),
                    propensity,
                    places[0],
                    places.get(chosen, -1),
                    bool(row["explored"]),
                    drafted and propensity < 1.0,
                )
            )
            raw = ranker.score(x.astype(np.float32), row["head"]).raw
            firsts = (order[0], _first(row["scores"], order), _first(raw, order))
            for top, first in zip(tops.values(), firsts, strict=True):
                top.append((places[first], first == 0, _possible(row, first, order[0], propensity)))
    if not plain:
        raise JournalError(
            f"The journal at {journal.folder} has no labelled prediction of feature table {FINGERPRINT} to learn from."
        )
    rewards, propensities, logged, rewarded, explored, drafts = (
        np.array(column) for column in zip(*plain, strict=True)
    )
    kept = {name: Top(*(np.array(column) for column in zip(*top, strict=True))) for name, top in tops.items()}
    return Cases(rewards, propensities, logged, rewarded, int(explored.sum()), int(drafts.sum()), kept)


def compare(cases: Cases) -> Comparison:
    """What the ranker asked would have earned, last, below what served."""
    logged_values = values_by_position(cases.rewarded, cases.logged)
    values = []
    for name, top in cases.tops.items():
        target_values = values_by_position(cases.rewarded, top.positions)
        values.append(
            Value(
                name,
                int(top.agrees.sum()),
                int(top.possible.sum()),
                snips(cases.rewards, cases.propensities, top.agrees),
                doubly_robust(cases.rewards, cases.propensities, top.agrees, logged_values, target_values),
            )
        )
    chances = int((cases.propensities < 1.0).sum())
    return Comparison(len(cases), chances, cases.explored, cases.drafted, float(cases.rewards.mean()), values)


def _order(row: dict[str, Any]) -> list[int]:
    """The rows that might be shown in the order that served, before chance had a say.

    What destroys and was not shown was held back, as far as method and path tell.
    """
    scores = np.array(row["scores"])
    learnt = np.array(row["adapted"]) if row["adapted"] else scores
    order = np.lexsort((-scores, -learnt)).tolist()
    return [i for i in order if i < row["shown"] or not replay.destroys(row["operations"][i])]


def _first(scores: Sequence[float] | Array, order: Sequence[int]) -> int:
    """The row that stands first by `scores`."""
    return max(order, key=lambda i: scores[i])


def _possible(row: dict[str, Any], first: int, served: int, propensity: float) -> bool:
    """A row might have stood at rank 1 where row 0 does now; `served` is the one that stands there without chance."""
    if first == 0 or propensity >= 1.0:
        return first == 0
    if row["arm"] == "interleaved":  # two different first picks, and the one that lost the toss stands second
        return first == 1 and row["shown"] > 1
    return first == served or (first < row["shown"] and not replay.destroys(row["operations"][first]))


def _asked(settings: Settings, name: str) -> tuple[Ranker, datetime.datetime | None]:
    """The ranker of a file, of the registry, or the installed one; from when on it saw nothing of the journal.

    Raises:
        RankerArtifactError, UnknownModel, RegistryUnavailable.
    """
    if not name:
        return serving(settings.ranker.artifact), None
    if Path(name).is_file():
        try:
            return Ranker.load_text(Path(name).read_text(encoding="utf-8")), None
        except (OSError, UnicodeDecodeError) as error:
            raise RankerArtifactError(f"{name} is no ranker: {error}") from error
    registry = Registry(settings.registry)
    later_from = float(registry.show(name).params.get("later_from", 0.0))
    ranker = Ranker.load_text(registry.text(name))
    return ranker, datetime.datetime.fromtimestamp(later_from, datetime.UTC) if later_from else None


def _table(told: Comparison) -> Any:
    from rich.table import Table

    title = (
        f"hit@1 off-policy, {told.cases} predictions, {told.chances} with chance at rank 1; shown: {told.earned:.3f}"
    )
    shown = Table("order", "SNIPS", "doubly robust", title=title, title_justify="left")
    for name in ("effective sample size", "agrees", "possible"):
        shown.add_column(name, justify="right")
    for value in told.values:
        two = (f"{e.value:.3f} ({e.low:.3f} .. {e.high:.3f})" for e in (value.snips, value.doubly_robust))
        counts = (f"{value.snips.effective_sample_size:.0f}", str(value.agrees), str(value.possible))
        shown.add_row(value.order, *two, *counts)
    return shown


def main(
    var: Annotated[Path, typer.Option(help="Folder of the state: journal and registry.")] = Path("var"),
    ranker: Annotated[
        str, typer.Option(help="A saved ranker or a version of the registry; without it the installed one.")
    ] = "",
    since: Annotated[
        datetime.datetime | None,
        typer.Option(help="Predictions from then on (UTC); of a version, what its training had not seen."),
    ] = None,
    config: Annotated[str, typer.Option(help="Configuration: a name in configs/ or a path to a YAML file.")] = "local",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Estimate from logged propensities what another ranker would have earned."""
    from rich.console import Console

    try:
        settings = configuration.under(configuration.load(config), var)
        asked, unseen = _asked(settings, ranker)
        begin = since.replace(tzinfo=datetime.UTC) if since else unseen
        told = compare(read_cases(Journal.at(settings.journal, var), asked, begin))
    except OpenSesameError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error.detail}", style="red", highlight=False)
        raise typer.Exit(1) from None
    if json:
        typer.echo(orjson.dumps({**dataclasses.asdict(told), "caution": told.caution}).decode())
        return
    console = Console(soft_wrap=True)
    console.print(_table(told))
    if told.caution:
        console.print(told.caution, highlight=False)


if __name__ == "__main__":
    typer.run(main)
