"""From raw scores to the probability of being the next call.

Softmax over the group with a temperature, then an isotonic map of the best candidate's
probability, both fitted on groups of specs held out from training. What is left of 1 is the mass
of "none of these": the next call may not be in the shortlist at all. Plain numbers only; the
ranker's artefact carries them. Order is never changed: confidence does not rise as the raw score falls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Calibration:
    """How one head's raw scores are read."""

    temperature: float = 1.0
    knots: tuple[float, ...] = ()  # softmax probability of the best candidate, ascending
    levels: tuple[float, ...] = ()  # what it is worth at each knot, ascending; linear in between
    missing: float = 0.0  # share of groups with a wrong first place whose answer was no candidate at all

    def confidence(self, raw: Array) -> Array:
        """Calibrated probabilities [n_candidates] float32; their sum is at most 1."""
        if not len(raw):
            return np.zeros(0, dtype=np.float32)
        p = softmax(raw, self.temperature)
        best = float(p.max())
        first = float(np.interp(best, self.knots, self.levels)) if self.knots else best
        first = min(max(first, 1.0 / (len(p) + 1)), 1.0)  # sums stay within 1 when all scores are equal
        leader = int(np.argmax(np.nan_to_num(raw, nan=-np.inf)))  # of the scores: their softmax may round two into one
        rest = 1.0 - best
        left = (1.0 - first) * (1.0 - self.missing)
        out = np.minimum(p * (left / rest), first) if rest > 1e-9 else np.zeros_like(p)
        out[leader] = first
        return out.astype(np.float32)


def softmax(raw: Array, temperature: float) -> Array:
    """Probabilities [n] float64 of a group; NaN scores get none."""
    z = np.nan_to_num(np.asarray(raw, dtype=np.float64), nan=-np.inf, neginf=-np.inf) / temperature
    top = z.max()
    if not np.isfinite(top):
        return np.full(len(z), 1.0 / len(z))
    e = np.exp(z - top)
    return e / e.sum()


def fit(groups: Sequence[tuple[Array, int]], bins: int = 20) -> Calibration:
    """Calibration from (raw scores, position of the answer or -1 where it is no candidate) of held-out groups.

    The temperature minimises the log-loss of the answer where it is a candidate (golden section on its logarithm).
    The isotonic map is fitted on equal-mass bins of all groups, so that a missing answer lowers the confidence too;
    each bin's accuracy is shrunk by two groups of the base rate, as a short bin may agree by chance.
    """
    from sklearn.isotonic import isotonic_regression

    if not groups:
        return Calibration()
    known = [(np.asarray(raw, dtype=np.float64), answer) for raw, answer in groups if answer >= 0]
    temperature = _best_temperature(known) if known else 1.0
    best, correct, missed = np.zeros(len(groups)), np.zeros(len(groups)), np.zeros(len(groups), dtype=bool)
    for row, (raw, answer) in enumerate(groups):
        p = softmax(raw, temperature)
        leader = int(np.argmax(p))
        best[row], correct[row], missed[row] = p[leader], leader == answer, answer < 0
    parts = np.array_split(np.argsort(best, kind="stable"), min(bins, len(groups)))
    base = correct.mean()
    sizes = np.array([len(part) for part in parts], dtype=np.float64)
    worth = np.array([(correct[part].sum() + 2.0 * base) / (len(part) + 2.0) for part in parts])
    levels = isotonic_regression(worth, sample_weight=sizes)
    wrong = correct < 0.5
    return Calibration(
        temperature=round(temperature, 6),
        knots=tuple(round(float(best[part].mean()), 6) for part in parts),
        levels=tuple(round(float(v), 6) for v in levels),
        missing=round(float(missed[wrong].mean()), 6) if wrong.any() else 0.0,
    )


def _best_temperature(known: Sequence[tuple[Array, int]]) -> float:
    width = max(len(raw) for raw, _ in known)
    table = np.full((len(known), width), -np.inf)  # [n_groups, longest group]
    for row, (raw, _) in enumerate(known):
        table[row, : len(raw)] = np.nan_to_num(raw, nan=-np.inf)
    answers = np.array([answer for _, answer in known])
    at = table[np.arange(len(known)), answers]
    table -= table.max(axis=1, keepdims=True)
    at = table[np.arange(len(known)), answers]

    def loss(log_t: float) -> float:
        t = np.exp(log_t)
        return float(np.mean(np.log(np.exp(table / t).sum(axis=1)) - np.maximum(at, -1e6) / t))

    low, high = np.log(0.02), np.log(50.0)
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    for _ in range(40):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return float(np.exp((low + high) / 2.0))
