"""What a ranker has to beat: random, BM25, sentence vectors, their union with path overlap, Markov.

Each baseline scores all operations of a catalog for one case; none has learnt anything from other APIs.
`Markov` alone has seen this API: it counts what followed what in the other groups of the same cases. The
rest knows the spec only, as the ranker does. They are written apart from the pipeline on purpose: a change
there must not move them. Called by `train/evaluate.py`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from pipeline.types import Catalog, Operation
from train.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
START, UNKNOWN = -1, -2  # instead of a last operation: no call yet; no call that is an operation
_BACK_OFF = 4.0  # imaginary observations of the next simpler distribution (Dirichlet smoothing)
_RRF = 60.0  # Cormack, Clarke, Buettcher 2009


def tokens(text: str) -> list[str]:
    """Lower-case words, camelCase and snake_case taken apart."""
    return re.findall(r"[a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text).lower())


class Baselines:
    """The untrained scorers of one catalog; `vectors` float [n_operations, n_dims] of its cards, None without."""

    def __init__(self, catalog: Catalog, vectors: Array | None) -> None:
        import bm25s

        self._operations = catalog.operations
        self._vectors = None if vectors is None else np.asarray(vectors, dtype=np.float32)
        self._bm25 = bm25s.BM25()
        self._bm25.index([tokens(_text(o)) or ["-"] for o in catalog.operations], show_progress=False)
        self._vocabulary = self._bm25.vocab_dict

    def scores(self, prompt: str, vector: Array | None, last: int | None) -> dict[str, Array]:
        """Scores [n_operations] of each baseline; all equal where it has nothing to go by.

        `vector` is the prompt's, `last` the index of the last matched call's operation.
        """
        n = len(self._operations)
        words, meaning, place = np.zeros(n), np.zeros(n), np.zeros(n)
        known = [t for t in tokens(prompt) if t in self._vocabulary]
        if known:
            words = np.asarray(self._bm25.get_scores(known), dtype=np.float64)
        if self._vectors is not None and vector is not None:
            meaning = (self._vectors @ vector).astype(np.float64)
        elif self._vectors is not None and last is not None:
            meaning = (self._vectors @ self._vectors[last]).astype(np.float64)
        if last is not None:
            place = path_overlap(self._operations, last)
        union = np.zeros(n)
        for one in (words, meaning, place):
            if np.ptp(one) > 0:
                union += 1.0 / (_RRF + n - np.searchsorted(np.sort(one), one, side="left"))
        return {"bm25": words, "minilm": meaning, "path overlap": place, "union": union}


def path_overlap(operations: tuple[Operation, ...], last: int) -> Array:
    """Common leading segments with the last call's path, less a little for what is beside them."""
    here = operations[last].path.strip("/").split("/")
    out = np.zeros(len(operations))
    for i, operation in enumerate(operations):
        there = operation.path.strip("/").split("/")
        common = next(
            (k for k, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there))
        )
        out[i] = common - 0.1 * (len(there) - common) - 0.01 * (len(here) - common) - 0.15 * (i == last)
    return out


class Specs(Protocol):
    """What of `predictors.Specs` is read here."""

    def index(self, case: Case) -> int: ...

    def last(self, case: Case) -> int | None: ...


class Markov:
    """A first-order chain over the operations of each spec, learnt from the cases of the *other* groups.

    Every answer is one transition from the last matched call, or from the start, whatever its variants. A
    case is scored by P(next | last), which backs off to P(next) and that to uniform: with few groups, or in
    a large spec, most operations tie, and ties count against it. It has seen sessions of the very API that
    the ranker is asked about for the first time; it shows what counts learnt here would give.
    """

    def __init__(self, cases: Iterable[Case], specs: Specs) -> None:
        self._specs = specs
        self._all: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)  # spec -> (last, next) -> how often
        self._of: dict[tuple[str, str], Counter[tuple[int, int]]] = defaultdict(Counter)  # the same of one group
        seen: set[tuple[str, str, str]] = set()
        for case in cases:
            if (case.spec, case.suite, case.case) not in seen:
                seen.add((case.spec, case.suite, case.case))
                step = self._state(case), specs.index(case)
                self._all[case.spec][step] += 1
                self._of[case.spec, f"{case.suite} {case.cluster}"][step] += 1

    def _state(self, case: Case) -> int:
        last = self._specs.last(case)
        return last if last is not None else UNKNOWN if case.events else START

    def _others(self, case: Case) -> Iterable[tuple[int, int, int]]:
        """(last, next, how often) in the other groups."""
        own = self._of.get((case.spec, f"{case.suite} {case.cluster}"), Counter())
        for (last, following), count in self._all[case.spec].items():
            if (rest := count - own[last, following]) > 0:
                yield last, following, rest

    def scores(self, case: Case, operations: int) -> Array:
        """P(next | last) of each operation of the case's spec; float64 [operations]."""
        state = self._state(case)
        anywhere, here = np.zeros(operations), np.zeros(operations)
        for last, following, count in self._others(case):
            anywhere[following] += count
            here[following] += count * (last == state)
        anywhere = (anywhere + _BACK_OFF / operations) / (anywhere.sum() + _BACK_OFF)
        return (here + _BACK_OFF * anywhere) / (here.sum() + _BACK_OFF)

    def followers(self, case: Case) -> Mapping[int, float]:
        """How often each operation followed the case's last call in the other groups."""
        state = self._state(case)
        return {following: float(count) for last, following, count in self._others(case) if last == state}


def expected_random(operations: int, ks: tuple[int, ...], depth: int = 10) -> Array:
    """What a random order is expected to reach: hit@k for each k, reciprocal rank, NDCG at `depth`."""
    ranks = np.arange(1, operations + 1)
    hits = [min(1.0, k / operations) for k in ks]
    gains = np.where(ranks <= depth, 1.0 / np.log2(1.0 + ranks), 0.0)
    return np.array([*hits, float(np.mean(1.0 / ranks)), float(np.mean(gains))])


def _text(operation: Operation) -> str:
    parameters = " ".join(f"{p.name} {p.description}" for p in operation.parameters)
    return " ".join(
        (
            operation.summary,
            operation.operation_id,
            operation.description,
            operation.method,
            operation.path,
            *operation.tags,
            parameters,
        )
    )
