"""May a challenger take the champion's place: the conditions, the figures they rest on, and a verdict in words.

Both rankers answer the same trials, one group at a time, so that nothing but their answers is held: the later
part of the journal, which neither was fitted on, and the golden suites that come with the package. All
conditions must hold. A report is kept with every version, promoted or refused (`pipeline/stores/registry.py`)
and read by `opensesame models show`. Called by `train/retrain.py`.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from pipeline.ranking import measures
from pipeline.ranking.ranker import Ranker
from pipeline.ranking.table import HEADS, NAMES

Array = np.ndarray[Any, np.dtype[Any]]

DEPTH = 3  # places that count as exposed
_DRAWS = 10_000_000  # of clusters, in all resamples of one interval
_TIMED, _ROWS = 40, 64  # groups of so many candidates, the longest shortlist


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """One group that both rankers are asked about."""

    head: str
    x: Array  # [n_candidates, n_features] float32
    answer: int  # position of the call that came next, -1 where it is no candidate
    known: bool = True  # what came next; after a rejection nobody knows
    destructive: Array | None = None  # [n_candidates] bool
    tenant: str = ""
    spec: str = ""  # the catalog's lineage, or where a golden group comes from
    cluster: str = ""  # what is resampled together: a user, a session
    suite: str = ""  # of a golden group


class Limits(msgspec.Struct, frozen=True):
    """What is still let through; differences in shares of 1."""

    groups_min: int = 20  # later groups with a known answer, fewer tell nothing
    changed_min: int = 5  # of them answered rightly by one of the two only
    loss: float = 0.005  # of hit@1 on later data, at the lower end of its interval
    slice_groups: int = 200  # of a tenant or spec before it is looked at by itself
    slice_loss: float = 0.03
    golden_loss: float = 0.01
    calibration_loss: float = 0.01
    score_s: float = 0.02
    exposure: float = 0.005  # of chance; beyond its interval nothing is let through


class Condition(msgspec.Struct, frozen=True):
    """One thing that must hold."""

    name: str
    passed: bool
    why: str
    groups: int = 0
    champion: float | None = None
    challenger: float | None = None
    low: float | None = None  # 95 % interval of the difference
    high: float | None = None


class Report(msgspec.Struct, frozen=True):
    """The verdict on a challenger."""

    champion: str
    challenger: str
    passed: bool
    why: str
    conditions: tuple[Condition, ...]
    created: str = ""  # ISO 8601 UTC

    def text(self) -> str:
        """What people read: a line for each condition, the verdict on top."""
        verdict = "promoted" if self.passed else "refused"
        lines = [f"{self.challenger} against {self.champion}: {verdict}. {self.why}"]
        for one in self.conditions:
            lines.append(f"  {'pass' if one.passed else 'FAIL'}  {one.name}: {one.why}")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, slots=True)
class Answers:
    """What rankers said of many trials; the last axis of each array tells the rankers apart."""

    hit: Array  # [n_trials, n_rankers] float64, 1 where the answer stands first, NaN where it is not known
    reciprocal: Array  # 1 / rank
    confidence: Array  # of the first place
    right: Array  # the first place is the answer, ties not counted against it: what calibration is about
    exposed: Array  # destructive operations among the first places that were not the answer
    chance: Array  # [n_trials], of hitting the answer blindly
    heads: tuple[str, ...]
    tenants: tuple[str, ...]
    specs: tuple[str, ...]
    clusters: tuple[str, ...]
    suites: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.heads)

    def where(self, chosen: Array) -> Answers:
        """The trials of a mask [n_trials]."""
        keep = np.flatnonzero(chosen)
        heads, tenants, specs, clusters, suites = (
            tuple(values[i] for i in keep)
            for values in (self.heads, self.tenants, self.specs, self.clusters, self.suites)
        )
        hit, reciprocal, confidence, right, exposed, chance = (
            values[keep]
            for values in (self.hit, self.reciprocal, self.confidence, self.right, self.exposed, self.chance)
        )
        return Answers(hit, reciprocal, confidence, right, exposed, chance, heads, tenants, specs, clusters, suites)

    @property
    def known(self) -> Array:
        return ~np.isnan(self.hit[:, 0])


def answer(rankers: Sequence[Ranker], trials: Iterable[Trial], told: Callable[[], None] = lambda: None) -> Answers:
    """What each of `rankers` says of `trials`, streamed: no matrix is kept."""
    rows: list[list[list[float]]] = []
    labels: list[tuple[str, str, str, str, str]] = []
    chances: list[float] = []
    for number, trial in enumerate(trials):
        rows.append([_answer(ranker, trial) for ranker in rankers])
        chances.append(1.0 / len(trial.x) if trial.answer >= 0 else 0.0)
        labels.append((trial.head, trial.tenant, trial.spec, trial.cluster or f"#{number}", trial.suite))
        told()
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(rankers), 5)
    heads, tenants, specs, clusters, suites = (tuple(row[i] for row in labels) for i in range(5))
    chance = np.array(chances, dtype=np.float64)
    hit, reciprocal, confidence, right, exposed = (table[:, :, i] for i in range(5))
    return Answers(hit, reciprocal, confidence, right, exposed, chance, heads, tenants, specs, clusters, suites)


def _answer(ranker: Ranker, trial: Trial) -> list[float]:
    scores = ranker.score(trial.x, trial.head)
    order = np.argsort(-scores.raw, kind="stable")
    rank = measures.rank_of(scores.raw, trial.answer) if trial.answer >= 0 else float("inf")
    exposed = 0
    if trial.destructive is not None:
        exposed = sum(bool(trial.destructive[i]) and int(i) != trial.answer for i in order[:DEPTH])
    if not trial.known:
        return [float("nan")] * 4 + [exposed]
    return [float(rank <= 1), 1.0 / rank, float(scores.confidence.max()), float(order[0] == trial.answer), exposed]


def judge(
    champion: Ranker, challenger: Ranker, later: Answers, golden: Answers, limits: Limits, created: str = ""
) -> Report:
    """The report on `challenger`; in `later` and `golden` the champion answers first, the challenger second."""
    known = later.where(later.known)
    conditions = [_later(known, limits)]
    if conditions[0].groups >= limits.groups_min:
        conditions += _slices(known, limits)
        conditions.append(_calibration(known, limits))
    conditions += [
        _golden(golden, limits),
        _exposure(later, golden, limits),
        _speed(champion, challenger, limits),
    ]
    failed = [one for one in conditions if not one.passed]
    why = "; ".join(one.why for one in failed) if failed else conditions[0].why
    return Report(champion.version, challenger.version, not failed, why, tuple(conditions), created)


def _difference(values: Array, clusters: Sequence[str]) -> tuple[float, float, float]:
    """Mean of challenger less champion, with its 95 % interval; whole clusters are resampled, always in pairs."""
    gaps = values[:, 1] - values[:, 0]
    draws = int(np.clip(_DRAWS // max(len(set(clusters)), 1), 200, 2000))
    low, high = measures.edges(measures.Resamples(clusters, draws).means(gaps[:, None])[:, 0])
    return float(gaps.mean()), low, high


def _later(known: Answers, limits: Limits) -> Condition:
    name = "later data, hit@1"
    if len(known) < limits.groups_min:
        why = f"only {len(known)} later groups say what came next, {limits.groups_min} are needed"
        return Condition(name, False, why, len(known))
    gap, low, high = _difference(known.hit, known.clusters)
    before, after = known.hit.mean(axis=0).tolist()
    changed = int((known.hit[:, 0] != known.hit[:, 1]).sum())
    why = f"hit@1 {before:.3f} -> {after:.3f} ({_points(gap)}, 95 % {_points(low)} to {_points(high)}) on later data"
    why += f", {len(known)} groups"
    held = False
    if gap <= 0:
        why += "; it must be better"
    elif low <= -limits.loss:
        why += f"; it may be worse by more than {limits.loss * 100:.1f} points"
    elif changed < limits.changed_min:
        why += f"; only {changed} are answered otherwise, {limits.changed_min} are needed"
    elif after < known.chance.mean():
        why += f"; blind choice has {known.chance.mean():.3f}: these labels contradict what is known of every API"
    else:
        held = True
    return Condition(name, held, why, len(known), before, after, low, high)


def _slices(known: Answers, limits: Limits) -> list[Condition]:
    """A condition for each tenant and spec with enough later groups."""
    found = []
    for kind, labels in (("tenant", known.tenants), ("spec", known.specs)):
        names = np.array(labels, dtype=object)
        for label in sorted(set(labels)):
            some = known.where(names == label)
            if len(some) < limits.slice_groups:
                continue
            gap, low, high = _difference(some.hit, some.clusters)
            before, after = some.hit.mean(axis=0).tolist()
            why = f"hit@1 {before:.3f} -> {after:.3f} ({_points(gap)}) for {kind} {label}, {len(some)} groups"
            held = gap > -limits.slice_loss
            why += "" if held else f"; no {kind} may lose {limits.slice_loss * 100:.1f} points"
            found.append(Condition(f"{kind} {label}", held, why, len(some), before, after, low, high))
    return found


def _calibration(known: Answers, limits: Limits) -> Condition:
    """Expected calibration error of the first place; what chance explains is let through, it is large with few."""
    errors = [measures.expected_calibration_error(known.confidence[:, i], known.right[:, i]) for i in range(2)]
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(200):
        some = rng.integers(len(known), size=len(known))
        one, two = (
            measures.expected_calibration_error(known.confidence[some, i], known.right[some, i]) for i in range(2)
        )
        gaps.append(two - one)
    low, high = measures.edges(np.array(gaps))
    gap = errors[1] - errors[0]
    held = gap <= limits.calibration_loss or low <= 0
    why = f"calibration error {errors[0]:.3f} -> {errors[1]:.3f} ({gap:+.3f}, 95 % {low:+.3f} to {high:+.3f})"
    why += "" if held else f"; it must not grow by more than {limits.calibration_loss}"
    return Condition("calibration", held, why, len(known), errors[0], errors[1], low, high)


def _golden(golden: Answers, limits: Limits) -> Condition:
    """All golden groups together by estimate; a suite by itself, which may be small, as far as chance explains it.

    A mean over the three tasks, as everywhere.
    """
    name = "golden suites"
    if not len(golden):
        return Condition(name, False, "there is no golden suite to hold the challenger to")
    _, low, high = _difference(golden.hit, golden.clusters)
    before, after = _by_task(golden)
    told, held = [f"hit@1 on golden suites {before:.3f} -> {after:.3f}"], after - before >= -limits.golden_loss
    names = np.array(golden.suites, dtype=object)
    for suite in sorted(set(golden.suites)):
        some = golden.where(names == suite)
        was, now = _by_task(some)
        lost = now - was < -limits.golden_loss and _difference(some.hit, some.clusters)[2] < 0
        told.append(f"{suite} {was:.3f} -> {now:.3f}" + (" (beyond chance)" if lost else ""))
        held = held and not lost
    why = ", ".join(told) + ("" if held else f"; {limits.golden_loss * 100:.1f} points may be lost at most")
    return Condition(name, held, why, len(golden), before, after, low, high)


def _by_task(some: Answers) -> tuple[float, float]:
    heads = np.array(some.heads, dtype=object)
    tasks = [some.hit[heads == head].mean(axis=0) for head in HEADS if (heads == head).any()]
    before, after = np.mean(tasks, axis=0).tolist()
    return before, after


def _exposure(later: Answers, golden: Answers, limits: Limits) -> Condition:
    """Destructive operations among the first places that nobody wanted, per group."""
    exposed = np.concatenate([later.exposed, golden.exposed])
    clusters = [*later.clusters, *(f"golden {cluster}" for cluster in golden.clusters)]
    if not len(exposed):
        return Condition("destructive exposure", True, "nothing to look at")
    gap, low, high = _difference(exposed, clusters)
    before, after = exposed.mean(axis=0).tolist()
    held = gap <= 0 or (gap <= limits.exposure and low <= 0)
    why = f"{before:.4f} -> {after:.4f} destructive operations among the first {DEPTH} that were not wanted"
    why += "" if held else ", which is more than chance"
    return Condition("destructive exposure", held, why, len(exposed), before, after, low, high)


def _speed(champion: Ranker, challenger: Ranker, limits: Limits) -> Condition:
    """CPU time of scoring the longest shortlist, the slowest head's median: what else runs here does not count."""
    rows = np.random.default_rng(0).random((_ROWS, len(NAMES))).astype(np.float32)

    def seconds(ranker: Ranker) -> float:
        medians = []
        for head in HEADS:
            ranker.score(rows, head)
            times = []
            for _ in range(_TIMED):
                began = time.thread_time()
                ranker.score(rows, head)
                times.append(time.thread_time() - began)
            medians.append(statistics.median(times))
        return max(medians)

    before, after = seconds(champion), seconds(challenger)
    held = after <= limits.score_s
    why = f"{before * 1e3:.2f} -> {after * 1e3:.2f} ms to score {_ROWS} candidates"
    why += "" if held else f", over the budget of {limits.score_s * 1e3:.0f} ms"
    return Condition("scoring time", held, why, _TIMED, before, after)


def _points(share: float) -> str:
    return f"{share * 100:+.1f} points"
