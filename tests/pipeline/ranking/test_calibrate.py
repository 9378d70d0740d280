"""Confidence: a probability, in the order of the scores, honest on groups like those it was fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.ranking import calibrate, measures


def _groups(n: int, seed: int, missing: float = 0.0) -> list[tuple[np.ndarray, int]]:
    """Groups whose answers are drawn from the softmax of half their score: overconfident by a factor of two."""
    rng = np.random.default_rng(seed)
    groups = []
    for _ in range(n):
        raw = rng.normal(size=rng.integers(5, 60)) * 4.0
        answer = -1 if rng.random() < missing else int(rng.choice(len(raw), p=calibrate.softmax(raw, 2.0)))
        groups.append((raw, answer))
    return groups


def test_temperature_is_recovered() -> None:
    assert calibrate.fit(_groups(3000, 1)).temperature == pytest.approx(2.0, rel=0.1)


def test_confidence_of_the_first_place_is_honest_on_unseen_groups() -> None:
    fitted = calibrate.fit(_groups(3000, 1, missing=0.2))
    confidence, correct = [], []
    for raw, answer in _groups(3000, 2, missing=0.2):
        p = fitted.confidence(raw)
        confidence.append(p.max())
        correct.append(float(p.argmax() == answer))
    assert measures.expected_calibration_error(np.array(confidence), np.array(correct)) < 0.04


def test_missing_answers_leave_a_mass_for_none_of_these() -> None:
    fitted = calibrate.fit(_groups(2000, 1, missing=0.4))
    left = [1.0 - fitted.confidence(raw).sum() for raw, _ in _groups(200, 3)]
    assert fitted.missing > 0.2
    assert min(left) >= -1e-6
    assert np.mean(left) > 0.05


_scores = st.lists(st.floats(-50, 50, width=32) | st.just(float("nan")), min_size=1, max_size=40)
_fitted = calibrate.fit(_groups(600, 5, missing=0.1))


@given(_scores)
@example([-2.6624670822171524e-44, 0.0])  # two scores, one softmax
def test_confidence_keeps_the_order_and_sums_to_at_most_one(raw: list[float]) -> None:
    values = np.array(raw, dtype=np.float32)
    confidence = _fitted.confidence(values)
    assert np.isfinite(confidence).all()
    assert (confidence >= 0).all()
    assert confidence.sum() <= 1 + 1e-5
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
    assert (np.diff(confidence[order]) <= 1e-6).all()


def test_nothing_to_score_gives_nothing() -> None:
    assert calibrate.Calibration().confidence(np.zeros(0)).shape == (0,)
    assert calibrate.fit([]).temperature == 1.0
