"""Intervals that hold however often one looks: by hand, by their duality, and in simulated experiments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ranking.sequential import (
    Proportion,
    difference_interval,
    difference_p_value,
    rate_interval,
    rate_p_value,
)

ALPHA = 0.05


def test_martingales_worked_out_by_hand() -> None:
    # One success: B(3/2, 1/2) / B(1/2, 1/2) = (pi / 2) / pi, so M(p) = 1 / (2 p), and is 1 / alpha at alpha / 2.
    assert rate_p_value(Proportion(1, 1), 0.5) == 1.0
    assert rate_interval(Proportion(1, 1), ALPHA) == pytest.approx((ALPHA / 2, 1.0))
    # Two of two against none of two: B(5/2, 1/2) / pi = 3/8 each, so at p = q = 1/2 the product is (3/8)^2 * 16.
    assert difference_p_value(Proportion(0, 2), Proportion(2, 2)) == pytest.approx(1 / 2.25)
    assert difference_p_value(Proportion(0, 1), Proportion(1, 1)) == pytest.approx(1.0)


def test_nothing_seen_excludes_nothing() -> None:
    nothing = Proportion(0, 0)
    assert difference_interval(nothing, nothing, ALPHA) == (-1.0, 1.0)
    assert difference_p_value(nothing, Proportion(9, 9)) == 1.0
    assert rate_interval(nothing, ALPHA) == (0.0, 1.0)
    assert nothing.rate is None


def test_a_large_difference_is_found_and_a_small_one_needs_more() -> None:
    low, high = difference_interval(Proportion(300, 1000), Proportion(400, 1000), ALPHA)
    assert 0.0 < low < 0.1 < high < 0.2
    assert difference_p_value(Proportion(300, 1000), Proportion(400, 1000)) < 0.03
    low, high = difference_interval(Proportion(300, 1000), Proportion(320, 1000), ALPHA)
    assert low < 0.0 < high
    low, _ = difference_interval(Proportion(30_000, 100_000), Proportion(32_000, 100_000), ALPHA)
    assert low > 0.0


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_intervals_hold_what_was_found_mirror_and_agree_with_the_p_value(a: int, b: int, c: int, d: int) -> None:
    first, second = Proportion(min(a, b), max(a, b)), Proportion(min(c, d), max(c, d))
    low, high = difference_interval(first, second, ALPHA)
    assert -1.0 <= low <= high <= 1.0
    if first.rate is not None and second.rate is not None:
        assert low - 1e-6 <= second.rate - first.rate <= high + 1e-6
    assert difference_interval(second, first, ALPHA) == pytest.approx((-high, -low), abs=1e-6)
    p_value = difference_p_value(first, second)
    if abs(p_value - ALPHA) > 1e-6:
        assert (p_value < ALPHA) == (low > 0.0 or high < 0.0)


def simulate(rates: tuple[float, float], experiments: int, trials: int, looks: int, share: float, seed: int):
    """Successes and trials of both arms at each look: ints [experiments, looks, 2 arms, 2]."""
    rng = np.random.default_rng(seed)
    arm = rng.random((experiments, trials)) < share  # True: the second
    success = rng.random((experiments, trials)) < np.where(arm, rates[1], rates[0])
    at = np.linspace(trials / looks, trials, looks).astype(int) - 1
    seen = []
    for mask in (~arm, arm):
        seen.append(np.stack([np.cumsum(success & mask, 1)[:, at], np.cumsum(mask, 1)[:, at]], axis=-1))
    return np.stack(seen, axis=2)


@pytest.mark.parametrize(("rate", "share"), [(0.5, 0.5), (0.1, 0.5), (0.3, 0.1)])
def test_peeking_does_not_raise_the_errors(rate: float, share: float) -> None:
    # 200 experiments without any difference, each looked at 25 times and stopped at the first p-value below alpha.
    seen = simulate((rate, rate), 200, 2000, 25, share, seed=11)
    wrong = sum(
        any(difference_p_value(Proportion(*look[0]), Proportion(*look[1])) <= ALPHA for look in experiment)
        for experiment in seen.tolist()
    )
    assert wrong / 200 <= ALPHA

    # The same looks with the ordinary test: it is wrong several times as often, which is why this file exists.
    rates, trials = seen[..., 0] / np.maximum(seen[..., 1], 1), seen[..., 1]
    pooled = seen[..., 0].sum(-1) / trials.sum(-1)
    error = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(trials, 1)).sum(-1))
    z = np.abs(rates[..., 1] - rates[..., 0]) / np.where(error > 0, error, np.inf)
    assert (z > 1.96).any(1).mean() > 3 * ALPHA


def test_the_true_difference_stays_inside_at_every_look() -> None:
    seen = simulate((0.3, 0.4), 60, 1500, 3, 0.5, seed=5)
    missed = 0
    for experiment in seen.tolist():
        for look in experiment:
            low, high = difference_interval(Proportion(*look[0]), Proportion(*look[1]), ALPHA)
            if not low <= 0.1 <= high:
                missed += 1
                break
    assert missed / 60 <= ALPHA


def test_a_true_difference_is_found_in_most_experiments() -> None:
    seen = simulate((0.3, 0.4), 100, 3000, 20, 0.5, seed=7)
    found = sum(
        any(difference_p_value(Proportion(*look[0]), Proportion(*look[1])) <= ALPHA for look in experiment)
        for experiment in seen.tolist()
    )
    assert found >= 90


def test_a_share_of_wins_does_not_err_under_peeking_either() -> None:
    rng = np.random.default_rng(3)
    wins = np.cumsum(rng.random((500, 1000)) < 0.5, axis=1)
    looks = range(9, 1000, 20)
    wrong = sum(any(rate_p_value(Proportion(int(w[i]), i + 1)) <= ALPHA for i in looks) for w in wins)
    assert wrong / 500 <= ALPHA
