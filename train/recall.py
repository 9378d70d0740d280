"""Which source of the shortlist finds the answer: each alone, and what the union loses without it.

Sources are switched by the settings of the shortlist, so that what is measured is what serves. A shortlist
that the sources leave short is filled with what is near; the filling counts in its first row only, as it
would hide what a source is worth. Habit is empty for an API never seen; here it is what followed the last
call in the other groups' sessions, and only its own rows have it. Called by `train/evaluate.py` for `--recall`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.catalog.retrieve import gather
from pipeline.settings import Shortlist
from pipeline.types import Source
from train.baselines import Markov
from train.cases import Case, query_of
from train.predictors import Specs
from train.report import MACRO

SOURCES = ("words", "meaning", "neighbours", "producers", "habit")
WHOLE, PROPOSED, WARM = "shortlist", "proposed", "proposed with habit"
Places = dict[str, float]


def by_source(
    cases: Sequence[Case], specs: Specs, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """variant -> suite -> source -> recall@30 and recall of its own list; lost@30 and lost by all others without it."""
    markov = Markov(cases, specs)
    places: dict[tuple[str, str], list[Places]] = defaultdict(list)
    for done, case in enumerate(cases):
        places[case.variant, case.suite].append(_places(case, specs, markov))
        progress(done + 1, len(cases))
    out: dict[str, dict[str, dict[str, dict[str, float]]]] = defaultdict(dict)
    for (variant, suite), rows in places.items():
        out[variant][suite] = _measures(rows)
    for by_suite in out.values():
        suites = list(by_suite.values())
        by_suite[MACRO] = {
            source: {name: float(np.mean([suite[source][name] for suite in suites])) for name in values}
            for source, values in suites[0].items()
        }
    return dict(out)


def _places(case: Case, specs: Specs, markov: Markov) -> Places:
    """Where the answer stands in each list; infinite where it does not. "-words" is what is proposed without words."""
    compiled = specs.compiled(case.spec)
    query = query_of(case, Source(digest=compiled.catalog.digest))
    matches = tuple(compiled.matcher.match(call.method, call.path, call.params) for call in query.calls)
    vector, answer, limits = specs.vector(case.prompt), specs.index(case), specs.limits
    habit = {compiled.catalog.operations[i].key: count for i, count in markov.followers(case).items()}

    def place(habit: Mapping[str, float], limits: Shortlist) -> tuple[float, float]:
        """1-based place of the answer in the shortlist, and the same if a source has proposed it."""
        evidence = gather(compiled, query, matches, vector, habit, limits)
        found = np.flatnonzero(evidence.candidates == answer)
        if not len(found):
            return float("inf"), float("inf")
        at = float(found[0]) + 1.0
        return at, at if evidence.sources[int(found[0])] else float("inf")

    out: Places = {}
    out[WHOLE], out[PROPOSED] = place({}, limits)
    _, out[WARM] = place(habit, limits)
    for source in SOURCES:
        alone = limits.model_copy(update={other: 0 for other in SOURCES if other != source})
        _, out[source] = place(habit if source == "habit" else {}, alone)
        without = limits.model_copy(update={source: 0})
        out[f"-{source}"] = out[PROPOSED] if source == "habit" else place({}, without)[1]
    return out


def _measures(rows: Sequence[Places]) -> dict[str, dict[str, float]]:
    def share(key: str, most: float) -> float:
        return float(np.mean([row[key] <= most for row in rows]))

    largest = float(np.finfo(np.float64).max)
    out = {}
    for key in (WHOLE, PROPOSED, WARM, *SOURCES):
        values = {"recall@30": share(key, 30), "recall": share(key, largest)}
        if key in SOURCES:
            whole = WARM if key == "habit" else PROPOSED
            values["lost@30"] = share(whole, 30) - share(f"-{key}", 30)
            values["lost"] = share(whole, largest) - share(f"-{key}", largest)
        out[key] = values
    return out
