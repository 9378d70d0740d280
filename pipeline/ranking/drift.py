"""Feature drift: how far the features that are served lie from those that the packaged ranker was judged on.

The measure is the population stability index of a feature, sum of (served - expected) * ln(served / expected) over
the bins of its values and one for a missing value (Siddiqi, Credit Risk Scorecards, 2006; below 0.1 little, above
0.25 much). What is expected follows the mix of tasks that is served, so that more prompts are no drift. One API is
never like a thousand: against them its features have 0.05 to 0.5 from the first day (measured on three APIs, 2026-11),
so it is the change that tells. `train/anchor.py` writes the reference; deployment Ranker offers what it scores.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipeline.errors import RankerArtifactError
from pipeline.ranking.table import FEATURES, FINGERPRINT, HEADS

Array = np.ndarray[Any, np.dtype[Any]]

GROUPS = tuple(dict.fromkeys(feature.group for feature in FEATURES if feature.group != "generator"))
_BINS = 10  # of equal mass; one more for what is missing
_WINDOW = 1000  # groups; what is older counts ever less
_ENOUGH = 100  # groups below which nothing is said
_QUEUE = 8  # groups kept until the next look, the latest ones: a look holds up who scores, a millisecond each
_LEAST = 1e-3  # share of an empty bin


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the bins of each feature end, and what share of the values lies in each, by head."""

    fingerprint: str  # of the feature table
    edges: tuple[tuple[float, ...], ...]  # [n_features][at most _BINS - 1], ascending; a value on an edge is below it
    shares: dict[str, tuple[tuple[float, ...], ...]]  # head -> [n_features][_BINS + 1]


def reference(groups: Iterable[tuple[str, Array]]) -> Reference:
    """The reference of (head, matrix [n_candidates, n_features]) of whole query groups; each counts the same."""
    known = [(head, _half(matrix)) for head, matrix in groups if len(matrix)]
    values = np.concatenate([matrix for _, matrix in known])
    edges = []
    for column in values.T:
        there = column[np.isfinite(column)]
        cuts = np.quantile(there, np.linspace(0, 1, _BINS + 1)[1:-1]) if len(there) else np.zeros(0)
        edges.append(tuple(float(f"{cut:.4g}") for cut in np.unique(cuts)))
    ends = _padded(edges)
    shares: dict[str, Any] = {}
    for head in HEADS:
        mean = np.mean([_shares(matrix, ends) for who, matrix in known if who == head], axis=0)
        shares[head] = tuple(tuple(round(float(share), 4) for share in row) for row in mean)
    return Reference(FINGERPRINT, tuple(edges), shares)


def packaged_path() -> Path:
    return Path(__file__).resolve().parents[1] / "models" / "reference.json"


def load(path: Path | None = None) -> Reference:
    """The reference in a file, or the packaged one; raises RankerArtifactError when it is none of this release."""
    try:
        found = msgspec.json.decode((path or packaged_path()).read_bytes(), type=Reference)
    except (OSError, msgspec.DecodeError) as error:
        raise RankerArtifactError(f"There is no reference of the features: {error}") from error
    if found.fingerprint != FINGERPRINT:
        raise RankerArtifactError(f"The reference has feature table {found.fingerprint}, this release {FINGERPRINT}.")
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """Sums over the groups seen, the latest counting most; both [n_features, _BINS + 1] float64."""

    served: Array
    expected: Array
    groups: int = 0


class Drift:
    """The drift of what one replica serves; `offer` costs nothing, `look` a few milliseconds."""

    def __init__(self, reference: Reference) -> None:
        self._ends = _padded(reference.edges)
        self._shares = {head: np.array(shares) for head, shares in reference.shares.items()}
        none = np.zeros((len(FEATURES), _BINS + 1))
        self._seen = _Seen(none, none)
        self._offered: deque[tuple[str, Array]] = deque(maxlen=_QUEUE)

    def offer(self, matrix: Array, head: str) -> None:
        """A query group that was scored: matrix [n_candidates, n_features] float32."""
        self._offered.append((head, matrix))

    def of(self, group: str) -> float:
        """The drift of one group of features."""
        return self.look()[group]

    def look(self) -> dict[str, float]:
        """The mean PSI of each group of features; 0 while too few query groups were seen."""
        while self._offered:
            head, matrix = self._offered.popleft()
            if head in self._shares and len(matrix):
                keep, seen = 1.0 - 1.0 / _WINDOW, self._seen
                self._seen = _Seen(
                    seen.served * keep + _shares(_half(matrix), self._ends),
                    seen.expected * keep + self._shares[head],
                    seen.groups + 1,
                )
        if self._seen.groups < _ENOUGH:
            return dict.fromkeys(GROUPS, 0.0)
        psi = stability(self._seen.expected, self._seen.served)
        names = np.array([feature.group for feature in FEATURES])
        return {group: float(psi[names == group].mean()) for group in GROUPS}


def stability(expected: Array, served: Array) -> Array:
    """The population stability index of each row [n] of two tables of counts or shares [n, n_bins]."""
    e, s = (np.maximum(table / table.sum(axis=1, keepdims=True), _LEAST) for table in (expected, served))
    e, s = e / e.sum(axis=1, keepdims=True), s / s.sum(axis=1, keepdims=True)
    return np.asarray(((s - e) * np.log(s / e)).sum(axis=1))


def _half(matrix: Array) -> Array:
    """Values as they are journalled: on an edge they must fall to the same side."""
    with np.errstate(over="ignore"):
        return np.asarray(matrix, dtype=np.float16).astype(np.float32)


def _padded(edges: Sequence[Sequence[float]]) -> Array:
    """Edges as [n_features, _BINS - 1] float32, infinite where there are fewer."""
    ends = np.full((len(edges), _BINS - 1), np.inf, dtype=np.float32)
    for row, some in zip(ends, edges, strict=True):
        row[: len(some)] = some
    return ends


def _shares(matrix: Array, ends: Array) -> Array:
    """The share of a matrix' rows in each bin of each feature: [n_features, _BINS + 1] float64."""
    bins = (matrix[:, :, None] > ends[None]).sum(axis=2)
    bins[np.isnan(matrix)] = _BINS
    places = bins + np.arange(matrix.shape[1]) * (_BINS + 1)
    counts = np.bincount(places.ravel(), minlength=matrix.shape[1] * (_BINS + 1))
    return counts.reshape(matrix.shape[1], _BINS + 1) / len(matrix)
