"""Measures against ir-measures, and against what their names promise."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, Success, nDCG

from pipeline.ranking import measures


def _runs(seed: int) -> list[tuple[np.ndarray, int]]:
    rng = np.random.default_rng(seed)
    return [(rng.permutation(n).astype(float), int(rng.integers(n))) for n in rng.integers(2, 60, size=80)]


def test_hit_mrr_and_ndcg_agree_with_ir_measures() -> None:
    runs = _runs(1)
    scored = [
        ir_measures.ScoredDoc(f"q{q}", f"d{d}", float(score))
        for q, (row, _) in enumerate(runs)
        for d, score in enumerate(row)
    ]
    judged = [ir_measures.Qrel(f"q{q}", f"d{answer}", 1) for q, (_, answer) in enumerate(runs)]
    theirs = ir_measures.calc_aggregate(
        [Success @ 1, Success @ 3, Success @ 5, Success @ 10, RR, nDCG @ 10, nDCG], judged, scored
    )

    ranks = [measures.rank_of(row, answer) for row, answer in runs]
    for k in (1, 3, 5, 10):
        assert measures.hit_at(ranks, k) == pytest.approx(theirs[Success @ k])
    assert measures.mrr(ranks) == pytest.approx(theirs[RR])
    labels = [np.arange(len(row)) == answer for row, answer in runs]
    assert np.mean([measures.ndcg(row, y, 10) for (row, _), y in zip(runs, labels, strict=True)]) == pytest.approx(
        theirs[nDCG @ 10]
    )
    assert np.mean([measures.ndcg(row, y) for (row, _), y in zip(runs, labels, strict=True)]) == pytest.approx(
        theirs[nDCG]
    )


def test_graded_ndcg_agrees_with_ir_measures() -> None:
    rng = np.random.default_rng(2)
    rows = [(rng.permutation(12).astype(float), rng.integers(0, 4, size=12)) for _ in range(30)]
    scored = [
        ir_measures.ScoredDoc(f"q{q}", f"d{d}", float(s)) for q, (row, _) in enumerate(rows) for d, s in enumerate(row)
    ]
    judged = [
        ir_measures.Qrel(f"q{q}", f"d{d}", int(y)) for q, (_, labels) in enumerate(rows) for d, y in enumerate(labels)
    ]
    exponential = nDCG(gains={0: 0, 1: 1, 2: 3, 3: 7}) @ 5
    theirs = ir_measures.calc_aggregate([exponential], judged, scored)[exponential]
    assert np.mean([measures.ndcg(row, labels, 5) for row, labels in rows]) == pytest.approx(theirs)


def test_ties_count_against_the_ranker() -> None:
    assert measures.rank_of(np.zeros(10), 3) == 10
    assert measures.rank_of(np.array([2.0, 1.0, 1.0, 0.0]), 1) == 3
    assert measures.ndcg(np.zeros(4), np.array([1, 0, 0, 0])) == pytest.approx(1 / np.log2(5))


def test_the_best_of_several_accepted_answers_counts() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.9])
    assert measures.rank_of(scores, [0, 2]) == 3
    assert measures.rank_of(scores, [1, 3]) == 1


def test_nan_scores_stand_last_and_nothing_relevant_is_infinitely_far() -> None:
    assert measures.rank_of(np.array([np.nan, 0.0, 1.0]), 0) == 3
    assert measures.rank_of(np.array([np.nan, -np.inf]), 1) == 2
    assert measures.rank_of(np.array([1.0]), []) == float("inf")
    assert measures.mrr([float("inf"), 2.0]) == 0.25


def test_calibration_error_is_zero_for_honest_confidence_and_large_for_boasting() -> None:
    rng = np.random.default_rng(3)
    p = rng.random(20_000)
    y = (rng.random(20_000) < p).astype(float)
    assert measures.expected_calibration_error(p, y) < 0.02
    assert measures.expected_calibration_error(np.ones(1000), np.zeros(1000)) == pytest.approx(1.0)
    assert measures.brier_skill(p, y) > 0.3
    assert measures.brier_skill(np.full(20_000, y.mean()), y) == pytest.approx(0.0)


def test_accuracy_at_coverage_looks_at_the_surest_cases_and_splits_ties_evenly() -> None:
    assert measures.accuracy_at_coverage(np.array([0.9, 0.8, 0.1, 0.2]), np.array([1, 1, 0, 0]), 0.5) == 1.0
    assert measures.accuracy_at_coverage(np.ones(10), np.arange(10) < 4, 0.3) == pytest.approx(0.4)


def test_interval_widens_when_cases_hang_together() -> None:
    rng = np.random.default_rng(4)
    values = np.repeat(rng.random(40) < 0.5, 25).astype(float)
    low, high = measures.interval(values, range(len(values)))
    wide_low, wide_high = measures.interval(values, np.repeat(np.arange(40), 25).tolist())
    assert low <= values.mean() <= high
    assert wide_high - wide_low > 3 * (high - low)


def test_macro_interval_weighs_suites_equally_and_is_deterministic() -> None:
    suites = [(np.ones(1000), list(range(1000))), (np.zeros(10), list(range(10)))]
    assert measures.macro_interval(suites) == (0.5, 0.5)
    mixed = [(np.arange(50) % 2 * 1.0, list(range(50)))]
    assert measures.macro_interval(mixed, seed=5) == measures.macro_interval(mixed, seed=5)
