"""What a ranker has to beat: random, BM25, sentence vectors, their union with path overlap, Markov.

Each baseline scores all operations of a catalog for one case; none of them has learnt anything from
other APIs. They are written apart from the pipeline on purpose: a change there must not move them.
Called by `train/evaluate.py`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from pipeline.types import Catalog, Operation

Array = np.ndarray[Any, np.dtype[Any]]
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


def expected_random(operations: int, ks: tuple[int, ...]) -> Array:
    """What a random order is expected to reach: hit@k for each k, then reciprocal rank."""
    hits = [min(1.0, k / operations) for k in ks]
    return np.array([*hits, float(np.sum(1.0 / np.arange(1, operations + 1))) / operations])


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
