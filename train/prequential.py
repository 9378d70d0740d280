"""How prediction gets better with use: cases told one after the other, each answered before its answer is learnt.

Whole sequences come in a seeded order, each from one of a few users, with its prompt or without; every answer is
revealed after it was foretold and moves the counts, the prompt memory and the trust in each expert exactly as feedback
does (`stores/lua.py`, here in memory). Beside the adapted order stand the ranker's own, flat counts of what followed,
and an oracle that knows what followed most often in the whole stream. `opensesame evaluate --prequential` calls it.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.catalog.terms import prompt_terms
from pipeline.errors import BadRequest
from pipeline.predict import assemble
from pipeline.ranking import adapt, features, measures
from pipeline.ranking.ranker import Ranker
from pipeline.settings import Settings
from pipeline.types import GroundedQuery, Proposal, Remembered, Scores, Source
from train.cases import Case, query_of
from train.predictors import Specs

Array = np.ndarray[Any, np.dtype[Any]]
Asked = Literal["mixed", "prompt", "history"]
STATIC, ADAPTED, COUNTS, ORACLE = METHODS = ("ranker alone", "adapted", "flat counts", "oracle")
WINDOWS = (0, 10, 30, 60, 100, 150, 200, 300, 450)  # events told before
SETTLED = 20  # events after which a prefix is long enough to be judged
_USERS = 4
_KEPT = 29  # rows of an impression: what was not among them teaches nobody whom to trust
_WEIGHT = 0.9  # of an override in the prompt memory


@dataclasses.dataclass(frozen=True, slots=True)
class Stream:
    """One suite told once; rows are events."""

    suite: str
    seed: int
    hits: Array  # [n_events, len(METHODS)] bool
    said: Array  # [n_events, 2] float64, probability of the first place: the ranker's, the adapted

    def worst_prefix(self) -> float:
        """Adapted less static hit@1 over the worst prefix of `SETTLED` events or more."""
        return float(_prefixes(self.hits)[SETTLED - 1 :].min()) if len(self.hits) >= SETTLED else 0.0


class Counts:
    """What followed what, aged as in Redis: a `Followed`."""

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._after: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
        self._total: dict[tuple[str, ...], float] = defaultdict(float)

    def after(self, *context: str) -> Mapping[str, float]:
        return self._after.get(context, {})

    def total(self, *context: str) -> float:
        return self._total.get(context, 0.0)

    def add(self, history: Sequence[str], operation: str) -> None:
        contexts: list[tuple[str, ...]] = [(history[-1] if history else "",)]
        if history:
            contexts.append((history[-2] if len(history) > 1 else "", history[-1]))
        for context in contexts:
            aged = {o: c * self._decay for o, c in self._after[context].items() if c * self._decay >= 0.02}
            aged[operation] = aged.get(operation, 0.0) + 1.0
            self._after[context] = aged
            self._total[context] = self._total[context] * self._decay + 1.0


@dataclasses.dataclass(slots=True)
class _Memory:
    """What was learnt, as `adapt.Known` for one user."""

    followed: adapt.Followed
    own_followed: adapt.Followed
    prompts: Sequence[Remembered]
    own_prompts: Sequence[Remembered]
    losses: Sequence[bytes]


class Learnt:
    """What the state would know of one lineage."""

    def __init__(self, settings: Settings) -> None:
        state = settings.state
        self._decay, self._prompts_max, self._own_max = state.habit_decay, state.prompts_max, state.prompts_user_max
        self._counts, self._own = Counts(self._decay), defaultdict[str, Counts](lambda: Counts(self._decay))
        self._prompts: list[Remembered] = []
        self._own_prompts: dict[str, list[Remembered]] = defaultdict(list)
        self._losses: list[bytes] = []

    def known(self, user: str) -> adapt.Known:
        return _Memory(self._counts, self._own[user], self._prompts, self._own_prompts[user], self._losses)

    def habit(self, user: str, history: Sequence[str]) -> dict[str, float]:
        """What followed the last call, for everybody and once more for this user."""
        habit = Counter[str]()
        for counts in (self._counts, self._own[user]):
            habit.update(counts.after(history[-1] if history else ""))  # type: ignore[arg-type]
        return dict(habit)

    def learn(self, user: str, history: Sequence[str], terms: tuple[int, ...], operation: str, lost: bytes) -> None:
        self._counts.add(history, operation)
        self._own[user].add(history, operation)
        if terms:
            entry = Remembered(terms, history[-1] if history else "", operation, _WEIGHT)
            self._prompts = [entry, *self._prompts[: self._prompts_max - 1]]
            self._own_prompts[user] = [entry, *self._own_prompts[user][: self._own_max - 1]]
        if lost:
            self._losses = [lost, *self._losses[:127]]


class Teller:
    """Tells streams of cases to one ranker; what the catalog makes of a case is computed once."""

    def __init__(self, settings: Settings, specs: Specs, ranker: Ranker) -> None:
        self._settings, self._specs, self._ranker = settings, specs, ranker
        self._seen: dict[tuple[str, str, str], tuple[GroundedQuery, Scores]] = {}

    def tell(
        self,
        cases: Sequence[Case],
        seed: int,
        asked: Asked = "mixed",
        flipped: float = 0.0,
        drift: int = 0,
        chooser: float | None = None,
    ) -> Stream:
        """One suite, told once.

        A share `flipped` of what is learnt is wrong; after `drift` events, if any, operations swap roles for good.
        With a `chooser`, a generator is played beside the ranker, and is right among what it is offered so often.

        Raises:
            BadRequest: no sequence can be asked this way.
        """
        rng, dice = random.Random(seed), random.Random(f"chooser {seed}")
        events = in_order(cases, rng, asked)
        if not events:
            raise BadRequest(f"There is no case to ask with {asked}.")
        answers = sorted({case.next for case in events})
        swapped = dict(zip(answers, rng.sample(answers, len(answers)), strict=True))
        users = {name: f"user {rng.randrange(_USERS)}" for name in dict.fromkeys(sequence(c) for c in events)}
        truth = [swapped[c.next] if drift and number >= drift else c.next for number, c in enumerate(events)]
        learnt = Learnt(self._settings)
        histories = [history_of(case, self._specs) for case in events]
        oracle = hindsight(histories, truth)
        hits, said = np.zeros((len(events), len(METHODS)), dtype=bool), np.zeros((len(events), 2))
        flat: dict[str, Counter[str]] = defaultdict(Counter)
        for number, (case, answer, history) in enumerate(zip(events, truth, histories, strict=True)):
            user, terms = users[sequence(case)], prompt_terms(case.prompt or "")
            grounded, plain = self._scores(case, learnt.habit(user, history))
            operations = [candidate.operation for candidate in grounded.candidates]
            scores, unheeded = plain, None
            if chooser is not None and case.prompt:
                scores, unheeded = self._played(case, grounded, answer, dice.random() < chooser, dice), plain
            adapted = adapt.adapt(scores, operations, grounded.previous, terms, learnt.known(user), unheeded)
            row = operations.index(answer) if answer in operations else None
            by_habit = np.array([candidate.sources == ("habit",) for candidate in grounded.candidates])
            alone = np.where(by_habit, -np.inf, scores.raw)
            last = flat[history[-1] if history else ""]
            hits[number] = (
                row is not None and not by_habit[row] and _rank(alone, scores.raw, row) == 1,
                row is not None and _rank(adapted.scores, scores.raw, row) == 1,
                last[answer] > max((n for o, n in last.items() if o != answer), default=0),
                answer == oracle[number],
            )
            said[number] = float(scores.confidence.max()), float(adapted.probability.max())
            if flipped and rng.random() < flipped:
                row = rng.randrange(min(len(operations), 16))
                answer = operations[row]
            lost = b""
            if adapted.losses and row is not None and _rank(adapted.scores, scores.raw, row) <= _KEPT:
                lost = adapted.losses[row]
            learnt.learn(user, grounded.previous, terms, answer, lost)
            last[answer] += 1
        return Stream(events[0].suite, seed, hits, said)

    def _scores(self, case: Case, habit: Mapping[str, float]) -> tuple[GroundedQuery, Scores]:
        compiled = self._specs.compiled(case.spec)
        is_whole = len(compiled.catalog.operations) <= self._settings.shortlist.total
        offered = {} if is_whole else habit
        key = case.suite, case.case, case.variant
        if not offered and key in self._seen:
            return self._seen[key]
        query = query_of(case, Source(digest=compiled.catalog.digest))
        vector = self._specs.vector(case.prompt)
        grounded, matrix = assemble(query, compiled, vector, offered, self._settings.shortlist)
        told = grounded, self._ranker.score(matrix, features.head(query))
        if not offered:
            self._seen[key] = told
        return told

    def _played(self, case: Case, grounded: GroundedQuery, answer: str, is_right: bool, dice: random.Random) -> Scores:
        """What the ranker says beside a generator that picks all it is offered, the right one first or another."""
        offered = list(range(min(self._settings.generator.options, len(grounded.candidates))))
        dice.shuffle(offered)
        right = [i for i in offered if grounded.candidates[i].operation == answer]
        others = [i for i in offered if i not in right]
        picks = right + others if is_right else others[:1] + right + others[1:]
        proposal = Proposal(tuple((i, {}, "") for i in picks), "played")
        query = query_of(case, Source(digest=grounded.digest))
        return self._ranker.score(features.compute(grounded, query, proposal), features.head(query))


def sequence(case: Case) -> str:
    """The sequence a case is of: its name without the position."""
    return case.case.rpartition("#")[0] or case.case


def in_order(cases: Sequence[Case], rng: random.Random, asked: Asked) -> list[Case]:
    """The cases as a stream: sequences shuffled, each case once, sequences with their prompts or without."""
    sequences: dict[str, dict[str, dict[bool, Case]]] = defaultdict(lambda: defaultdict(dict))
    for case in cases:
        sequences[sequence(case)][case.case][bool(case.prompt)] = case
    names = sorted(sequences)
    rng.shuffle(names)
    events = []
    for name in names:
        prompted = rng.random() < 0.5 if asked == "mixed" else asked == "prompt"
        steps = sorted(sequences[name].items(), key=lambda item: int("0" + item[0].rpartition("#")[2]))
        for _, either in steps:
            if prompted in either:
                events.append(either[prompted])
            elif asked == "mixed":
                events += either.values()
    return events


def curves(
    cases: Sequence[Case],
    teller: Teller,
    seeds: int = 5,
    asked: Asked = "mixed",
    flipped: float = 0.0,
    drift: int = 0,
    chooser: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[Stream]]:
    """Each suite of the cases told in `seeds` orders."""
    suites: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        suites[case.suite].append(case)
    out: dict[str, list[Stream]] = {}
    for done, (suite, seed) in enumerate(itertools.product(suites, range(seeds))):
        progress(done, len(suites) * seeds)
        out.setdefault(suite, []).append(teller.tell(suites[suite], seed, asked, flipped, drift, chooser))
    return out


def windows(streams: Sequence[Stream]) -> list[tuple[int, int, Array]]:
    """(from event, to event, hit@1 of METHODS) of each window that the streams reach."""
    longest = max(len(stream.hits) for stream in streams)
    edges = [edge for edge in WINDOWS if edge < longest] + [longest]
    out = []
    for start, stop in itertools.pairwise(edges):
        out.append((start, stop, np.concatenate([stream.hits[start:stop] for stream in streams]).mean(axis=0)))
    return out


def worst_prefix(streams: Sequence[Stream]) -> float:
    """Adapted less static hit@1 over the worst prefix of the streams taken together."""
    longest = max(len(stream.hits) for stream in streams)
    if longest < SETTLED:
        return 0.0
    gains = np.full((len(streams), longest), np.nan)
    for row, stream in enumerate(streams):
        gains[row, : len(stream.hits)] = stream.hits[:, 1].astype(float) - stream.hits[:, 0]
    told = np.arange(1, longest + 1)
    return float((np.cumsum(np.nanmean(gains, axis=0)) / told)[SETTLED - 1 :].min())


def calibration(streams: Sequence[Stream]) -> tuple[float, float]:
    """ECE of the first place, of the ranker alone and adapted."""
    said = np.concatenate([stream.said for stream in streams])
    hits = np.concatenate([stream.hits for stream in streams])
    return tuple(measures.expected_calibration_error(said[:, i], hits[:, i]) for i in (0, 1))  # type: ignore[return-value]


def figures(streams: Sequence[Stream]) -> dict[str, Any]:
    """What `table` shows, for a file."""
    rows = [(start, stop, dict(zip(METHODS, values.tolist(), strict=True))) for start, stop, values in windows(streams)]
    ece = dict(zip((STATIC, ADAPTED), calibration(streams), strict=True))
    return {"hit@1": rows, "worst_prefix": worst_prefix(streams), "ece": ece, "orders": len(streams)}


def table(suite: str, streams: Sequence[Stream]) -> Any:
    """The curve of one suite as a rich table."""
    from rich.table import Table

    shown = Table(title=f"{suite}: hit@1 with use, {len(streams)} orders", title_justify="left")
    shown.add_column("events")
    for method in METHODS:
        shown.add_column(method, justify="right")
    for start, stop, values in windows(streams):
        shown.add_row(f"{start}-{stop}", *(f"{value:.2f}" for value in values))
    overall = np.concatenate([stream.hits for stream in streams]).mean(axis=0)
    shown.add_row("all", *(f"{value:.3f}" for value in overall), style="bold")
    return shown


def summary(streams: Sequence[Stream]) -> str:
    """What the adaptation costs at worst, and whether confidence keeps its word, in one line."""
    alone, adapted = calibration(streams)
    at_worst = min(stream.worst_prefix() for stream in streams)
    return (
        f"worst prefix of {SETTLED}+ events against the ranker alone: {worst_prefix(streams):+.3f} on average, "
        f"{at_worst:+.3f} in one order; ECE {alone:.3f} alone, {adapted:.3f} adapted"
    )


def draw(suites: Mapping[str, Sequence[Stream]], file: Path, smooth: int = 40) -> None:
    """Writes the curves as PNG: hit@1 over the `smooth` events around each, mean of the orders and their range."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = ("#7a7a7a", "#0b5fa5", "#edae49", "#66a182")
    figure = Figure(figsize=(4.6 * len(suites), 3.8), dpi=130)
    FigureCanvasAgg(figure)
    for axis, (suite, streams) in zip(figure.subplots(1, len(suites), squeeze=False)[0], suites.items(), strict=True):
        length = min(len(stream.hits) for stream in streams)
        width = max(1, min(smooth, length // 3))
        kernel = np.ones(width) / width
        at = np.arange(width / 2, width / 2 + length - width + 1)
        for number, method in enumerate(METHODS):
            lines = np.array([np.convolve(stream.hits[:length, number], kernel, "valid") for stream in streams])
            axis.plot(
                at, lines.mean(axis=0), color=colours[number], linewidth=2 if method == ADAPTED else 1.3, label=method
            )
            if method == ADAPTED:
                axis.fill_between(
                    at, lines.min(axis=0), lines.max(axis=0), color=colours[number], alpha=0.13, linewidth=0
                )
        axis.set_title(suite, fontsize=10)
        axis.set_xlabel("feedback events", fontsize=9)
        axis.set_ylim(0, 1)
        axis.grid(True, color="#e6e6e6", linewidth=0.8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.axes[0].set_ylabel(f"hit@1, mean of {smooth} events", fontsize=9)
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(file, format="png")


def _prefixes(hits: Array) -> Array:
    gains = hits[:, 1].astype(float) - hits[:, 0]
    return np.cumsum(gains) / np.arange(1, len(gains) + 1)


def _rank(scores: Array, ties: Array, row: int) -> int:
    """Place of a row; ties are told by `ties`, what ties there too counts against it."""
    ahead = (scores > scores[row]) | ((scores == scores[row]) & (ties >= ties[row]))
    ahead[row] = True
    return int(np.count_nonzero(ahead))


def hindsight(histories: Sequence[tuple[str, ...]], answers: Sequence[str]) -> list[str]:
    """For each event what followed its last two calls most often in the whole stream."""
    followed: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for history, answer in zip(histories, answers, strict=True):
        followed[history][answer] += 1
    return [followed[history].most_common(1)[0][0] for history in histories]


def history_of(case: Case, specs: Specs) -> tuple[str, ...]:
    """Keys of the operations of the last two calls that are one."""
    catalog, matcher = specs.parsed(case.spec)
    calls = ((event.endpoint.partition(" "), event.params) for event in case.events)
    matches = (matcher.match(method, path, params) for (method, _, path), params in calls)
    return tuple(catalog.operations[match.index].key for match in matches if match is not None)[-2:]
