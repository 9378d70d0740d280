"""How good an order and a confidence are: ranks, hit@k, MRR, NDCG, calibration, intervals.

Ties are always counted against the ranker: an operation is only as good as the worst place its
score could have got. Ranks are 1-based floats; `inf` means not ranked at all. Pure numpy, no
model and no catalog; called by `train/evaluate.py`, by the fit for early stopping and by the gate.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def rank_of(scores: Array, relevant: int | Iterable[int]) -> float:
    """Pessimistic rank of the best of `relevant` (indices into `scores`); `inf` when there is none.

    Every other entry with the same score or a better one stands before it. NaN scores stand last.
    """
    wanted = np.atleast_1d(
        np.asarray(relevant if isinstance(relevant, int | np.integer) else list(relevant), dtype=int)
    )
    if wanted.size == 0:
        return float("inf")
    values = np.where(np.isnan(scores), -np.inf, np.asarray(scores, dtype=np.float64))
    others = np.ones(len(values), dtype=bool)
    others[wanted] = False
    return 1.0 + float(np.count_nonzero(values[others] >= values[wanted].max()))


def hit_at(ranks: Sequence[float] | Array, k: int) -> float:
    """Share of cases whose answer stands among the first k (Success@k)."""
    return float(np.mean(hits(ranks, k))) if len(ranks) else float("nan")


def hits(ranks: Sequence[float] | Array, k: int) -> Array:
    """1.0 for each case whose answer stands among the first k, else 0.0."""
    return (np.asarray(ranks, dtype=np.float64) <= k).astype(np.float64)


def reciprocal_ranks(ranks: Sequence[float] | Array) -> Array:
    """1 / rank of each case, 0 where it is not ranked."""
    return 1.0 / np.asarray(ranks, dtype=np.float64)


def mrr(ranks: Sequence[float] | Array) -> float:
    """Mean reciprocal rank."""
    return float(np.mean(reciprocal_ranks(ranks))) if len(ranks) else float("nan")


def ndcg(scores: Array, labels: Array, k: int | None = None) -> float:
    """Normalised discounted cumulative gain of one group, gains 2^label - 1 (Burges 2005), ties pessimistic.

    A group without any relevant entry counts 0.
    """
    values = np.where(np.isnan(scores), -np.inf, np.asarray(scores, dtype=np.float64))
    gains = np.exp2(np.asarray(labels, dtype=np.float64)) - 1.0
    order = np.lexsort((gains, -values))  # within a tie the poorest first
    discounts = 1.0 / np.log2(np.arange(2, len(gains) + 2))
    if k is not None:
        discounts[k:] = 0.0
    ideal = float(np.sort(gains)[::-1] @ discounts)
    return float(gains[order] @ discounts) / ideal if ideal > 0 else 0.0


def expected_calibration_error(confidence: Array, correct: Array, bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over bins of equal mass (ECE)."""
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if not len(confidence):
        return float("nan")
    return sum(n * abs(said - was) for said, was, n in reliability(confidence, correct, bins)) / len(confidence)


def brier_skill(confidence: Array, correct: Array) -> float:
    """1 - Brier score / Brier score of always saying the base rate: 0 is no skill, 1 is perfect."""
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    base = float(np.mean((correct.mean() - correct) ** 2)) if len(correct) else 0.0
    return 1.0 - float(np.mean((confidence - correct) ** 2)) / base if base > 0 else float("nan")


def accuracy_at_coverage(confidence: Array, correct: Array, coverage: float = 0.3) -> float:
    """Accuracy among the share `coverage` of cases that are surest; ties at the edge count by their mean."""
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if not len(confidence):
        return float("nan")
    wanted = max(1, round(coverage * len(confidence)))
    edge = np.sort(confidence)[::-1][wanted - 1]
    sure, tied = confidence > edge, confidence == edge
    return float((correct[sure].sum() + (wanted - sure.sum()) * correct[tied].mean()) / wanted)


def reliability(confidence: Array, correct: Array, bins: int = 10) -> list[tuple[float, float, int]]:
    """(mean confidence, accuracy, cases) of bins of equal mass, the least sure first."""
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(bins, len(order))) if len(order) else []
    return [(float(confidence[p].mean()), float(correct[p].mean()), len(p)) for p in parts]


class Resamples:
    """Bootstrap resamples of whole groups, as their cases are not independent; made once, used for many measures."""

    def __init__(self, groups: Sequence[Hashable], resamples: int = 2000, seed: int = 0) -> None:
        number: dict[Hashable, int] = {}
        self._owner = np.array([number.setdefault(group, len(number)) for group in groups])
        self._sizes = np.bincount(self._owner).astype(np.float64)
        rng = np.random.default_rng(seed)
        shares = np.full(len(number), 1.0 / len(number))
        self._draws = rng.multinomial(len(number), shares, size=resamples).astype(np.float64)

    def means(self, values: Array) -> Array:
        """The mean over cases in each resample: float64 [resamples, n_columns] of values [n_cases, n_columns]."""
        sums = np.zeros((len(self._sizes), values.shape[1]))
        np.add.at(sums, self._owner, values)
        return (self._draws @ sums) / (self._draws @ self._sizes)[:, None]


def edges(samples: Array, level: float = 0.95) -> tuple[float, float]:
    """The interval that holds the middle `level` of resampled values; NaN among them are left out."""
    samples = samples[~np.isnan(samples)]
    if not len(samples):
        return float("nan"), float("nan")
    edge = (1.0 - level) / 2.0
    low, high = np.quantile(samples, [edge, 1.0 - edge])
    return float(low), float(high)


def interval(
    values: Array, groups: Sequence[Hashable], resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of the mean; whole groups are resampled."""
    return macro_interval([(values, groups)], resamples, seed, level)


def macro_interval(
    suites: Sequence[tuple[Array, Sequence[Hashable]]], resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of the mean over suites of each suite's mean; groups are resampled within their suite."""
    means = [
        Resamples(groups, resamples, seed + i).means(np.asarray(values, dtype=np.float64)[:, None])
        for i, (values, groups) in enumerate(suites)
        if len(values)
    ]
    return edges(np.mean(means, axis=0), level) if means else (float("nan"), float("nan"))
