"""Off-policy estimates find the value of an order that was not shown, from propensities alone."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.ranking.offpolicy import doubly_robust, snips, values_by_position


def test_worked_out_by_hand() -> None:
    rewards, propensities = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.5, 0.25, 0.5, 1.0])
    agrees = np.array([True, True, False, False])
    found = snips(rewards, propensities, agrees)  # weights 2, 4: (2 * 1 + 4 * 0) / 6, and 6^2 / (4 + 16)
    assert found.value == pytest.approx(1 / 3)
    assert found.effective_sample_size == pytest.approx(1.8)
    assert found.cases == 4
    values, target = np.full(4, 0.5), np.array([0.5, 0.5, 0.2, 0.2])
    # (0.5 + 2 * 0.5) + (0.5 - 4 * 0.5) + 0.2 + 0.2, by 4
    assert doubly_robust(rewards, propensities, agrees, values, target).value == pytest.approx(0.1)


def test_without_exploration_only_agreement_counts_and_the_sample_says_so() -> None:
    agrees = np.arange(100) < 7
    found = snips(np.ones(100), np.ones(100), agrees)
    assert (found.value, found.effective_sample_size) == (1.0, pytest.approx(7.0))
    nowhere = snips(np.ones(100), np.ones(100), np.zeros(100, bool))
    assert np.isnan(nowhere.value)
    assert nowhere.effective_sample_size == 0.0


def logged(n: int, epsilon: float, seed: int):
    """Cases of three actions; the log shows action 0, with `epsilon` another one; action 1 is the better one."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, size=n, p=[0.3, 0.5, 0.2])  # which would have been taken
    shown = np.where(rng.random(n) < epsilon, rng.integers(1, 3, n), 0)
    propensity = np.where(shown == 0, 1 - epsilon, epsilon / 2)
    return truth, shown, propensity, (shown == truth).astype(float)


def test_both_find_the_value_of_the_other_order() -> None:
    truth, shown, propensity, reward = logged(20_000, 0.2, seed=2)
    found = snips(reward, propensity, shown == 1)
    assert found.value == pytest.approx(0.5, abs=0.03)
    assert found.low < 0.5 < found.high
    assert found.effective_sample_size == pytest.approx((shown == 1).sum())
    values = values_by_position(truth, shown), values_by_position(truth, np.ones(len(truth), int))
    robust = doubly_robust(reward, propensity, shown == 1, *values)
    assert robust.value == pytest.approx(0.5, abs=0.03)
    assert robust.low < 0.5 < robust.high


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_a_wrong_model_of_the_reward_does_not_bias_the_robust_one(known: float) -> None:
    estimates = []
    for seed in range(30):
        _, shown, propensity, reward = logged(3000, 0.3, seed)
        model = np.full(len(shown), known)
        estimates.append(doubly_robust(reward, propensity, shown == 1, model, model).value)
    assert np.mean(estimates) == pytest.approx(0.5, abs=0.015)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    inside = 0
    for seed in range(200):
        _, shown, propensity, reward = logged(1500, 0.3, seed)
        found = snips(reward, propensity, shown == 1)
        inside += found.low <= 0.5 <= found.high
    assert inside >= 180


def test_values_by_position_never_see_their_own_case() -> None:
    rewarded = np.array([0, 0, 0, 0, 1])
    values = values_by_position(rewarded, np.ones(5, int), folds=5)
    assert values[4] == 0.0
    assert values[0] == pytest.approx(1 / 4)
    assert values_by_position(np.array([-1, -1]), np.array([0, -1])).tolist() == [0.0, 0.0]
