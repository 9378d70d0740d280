"""What another order would have earned, estimated from what was shown under this one.

The action is the operation at rank 1, the reward what the user did with it; the propensity, logged with each
impression, is the probability that this operation stood there. Served without exploration it is 1, and nothing is
learnt of an order that would have shown another one: the estimate then speaks only of the cases in which both orders
agree, and the effective sample size says how many those are. `experiments.explore_percent` buys the others.

Formulas: SNIPS (Swaminathan and Joachims 2015, "The self-normalized estimator for counterfactual learning"); doubly
robust (Dudik, Langford and Li 2011, "Doubly robust policy evaluation and learning"); effective sample size (Kish 1965).
Pure numpy, for whoever reads the journal: it has the propensity of each impression, its scores and what was chosen.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
_SIGMAS = 1.96  # of a 95 % interval


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A mean reward, with its 95 % interval (normal approximation)."""

    value: float
    low: float
    high: float
    effective_sample_size: float  # how many cases under the other order this is worth
    cases: int


def snips(rewards: Array, propensities: Array, agrees: Array) -> Estimate:
    """The mean reward of an order that agrees with the logged action where `agrees`, all [n_cases].

    Self-normalised: bounded by the rewards, slightly biased with few cases. NaN where the orders agree nowhere.
    """
    weights = _weights(propensities, agrees)
    total = float(weights.sum())
    if total == 0.0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0.0, len(weights))
    value = float(weights @ rewards) / total
    error = float(np.sqrt(weights**2 @ (rewards - value) ** 2)) / total  # by the delta method
    return _estimate(value, error, weights)


def doubly_robust(
    rewards: Array, propensities: Array, agrees: Array, logged_values: Array, target_values: Array
) -> Estimate:
    """The same, resting on a model of the reward where the orders disagree.

    `logged_values` and `target_values` [n_cases] are the rewards that the model expects of the logged action and of
    the other order's; they must not have been fitted on the case itself. Unbiased when the propensities or the model
    are right.
    """
    weights = _weights(propensities, agrees)
    if not len(weights):
        return Estimate(float("nan"), float("nan"), float("nan"), 0.0, 0)
    terms = target_values + weights * (rewards - logged_values)
    error = float(np.std(terms) / np.sqrt(len(terms)))
    return _estimate(float(np.mean(terms)), error, weights)


def values_by_position(rewarded: Array, positions: Array, folds: int = 5) -> Array:
    """How often the action at each of `positions` is the rewarded one, learnt from the cases of the other folds.

    `rewarded` [n_cases] is the position, in the logged order, of the action that would have been rewarded, -1 for
    none or unknown; `positions` [n_cases] are asked about. The plainest model of a reward there is: it sees no
    features, but where full information was logged it is right on the average.
    """
    fold = np.arange(len(rewarded)) % folds
    values = np.zeros(len(rewarded))
    for own in range(folds):
        learnt = rewarded[fold != own]
        share = np.bincount(learnt[learnt >= 0], minlength=1 + max(0, int(positions.max(initial=0))))
        asked = np.clip(positions[fold == own], 0, len(share) - 1)
        known = share[asked] / max(1, len(learnt))
        values[fold == own] = np.where(positions[fold == own] >= 0, known, 0.0)
    return values


def _weights(propensities: Array, agrees: Array) -> Array:
    return np.asarray(agrees, dtype=np.float64) / np.asarray(propensities, dtype=np.float64)


def _estimate(value: float, error: float, weights: Array) -> Estimate:
    squares = float(weights @ weights)
    effective = float(weights.sum()) ** 2 / squares if squares else 0.0
    return Estimate(value, value - _SIGMAS * error, value + _SIGMAS * error, effective, len(weights))
