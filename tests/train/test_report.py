"""Sums of cases: ties and misses count against us, the guard is measured apart, suites weigh the same."""

from __future__ import annotations

import numpy as np
import pytest

from train.cases import Case
from train.predictors import Ranking
from train.report import GUARDED, RANKER, Report, Tally, columns, tables, width

KEYS = ("GET /a", "POST /a", "DELETE /a")
ALL = (True, True, True)


def _case(number: int, answer: str, variant: str = "prompt_only", suite: str = "s") -> Case:
    name = f"{suite}/{number}"
    return Case(suite, name, variant, "x.json", answer, group=f"g{number % 3}", accept=(answer, "GET /a"))


def _ranking(*scores: float, allowed: tuple[bool, ...] = ALL, confidence: float = 0.4) -> Ranking:
    """Three of twenty operations are in the shortlist."""
    return Ranking(KEYS, np.array(scores), np.full(3, confidence), np.array(allowed), 20, KEYS)


def _report(*rows: tuple[Case, Ranking], guarded_only: bool = False) -> Report:
    tally = Tally()
    for case, ranking in rows:
        tally.add_ranking(case, ranking, guarded_only)
    return tally.report("tested")


def test_hits_ties_and_misses() -> None:
    answers = ("GET /a", "POST /a", "PUT /missing")
    report = _report(*((_case(i, answer), _ranking(3.0, 1.0, 1.0)) for i, answer in enumerate(answers)))
    cell = report.cells[RANKER]["prompt_only"]["s"]
    assert cell.cases == 3
    assert cell.values["hit@1"] == pytest.approx(1 / 3)
    assert cell.values["hit@3"] == pytest.approx(2 / 3)  # POST /a ties with DELETE /a: rank 3
    assert cell.values["mrr"] == pytest.approx((1 + 1 / 3 + 1 / 20) / 3)
    assert cell.values["ndcg@10"] == pytest.approx((1 + 1 / 2) / 3)
    assert cell.values["accept@1"] == 1.0
    assert cell.values["recall"] == pytest.approx(2 / 3)
    low, high = cell.intervals["hit@1"]
    assert 0.0 <= low <= 1 / 3 <= high <= 1.0


def test_an_answer_that_ties_for_the_first_place_is_not_counted_right() -> None:
    values = _report((_case(0, "GET /a"), _ranking(1.0, 1.0, 0.0))).cells[RANKER]["prompt_only"]["s"].values
    assert values["hit@1"] == 0.0
    assert values["ece"] == pytest.approx(0.4)  # sure by 0.4, and wrong


def test_the_guard_is_measured_apart() -> None:
    hidden = _ranking(1.0, 2.0, 3.0, allowed=(True, True, False))
    report = _report((_case(0, "POST /a"), hidden), (_case(1, "DELETE /a"), hidden))
    assert report.value(RANKER, "prompt_only", "hit@1") == 0.5  # DELETE first
    assert report.value(GUARDED, "prompt_only", "hit@1") == 0.5  # POST first, DELETE held back
    assert report.value(RANKER, "prompt_only", "mrr") == pytest.approx((1 / 2 + 1) / 2)
    assert report.value(GUARDED, "prompt_only", "mrr") == pytest.approx((1 + 1 / 20) / 2)
    assert report.value(RANKER, "prompt_only", "recall") == 1.0


def test_a_server_is_measured_as_it_answers() -> None:
    report = _report((_case(0, "GET /a"), _ranking(3.0, 1.0, 0.0)), guarded_only=True)
    assert list(report.cells) == [GUARDED] == [report.ours]
    assert report.value(GUARDED, "prompt_only", "recall") == 1.0


def test_macro_weighs_suites_not_cases_and_skips_who_lacks_a_measure() -> None:
    tally = Tally()
    for i in range(9):
        tally.add_ranking(_case(i, "GET /a", suite="many"), _ranking(3.0, 1.0, 0.0), False)
    few = _case(0, "PUT /missing", suite="few")
    tally.add_ranking(few, _ranking(3.0, 1.0, 0.0), False)
    tally.add_slots(few, np.array([1, 2, 2, 1, 0, 0, 0, 1.0]), False)
    report = tally.report("tested")
    assert report.value(RANKER, "prompt_only", "hit@1") == 0.5
    assert report.value(RANKER, "prompt_only", "hit@1", "many") == 1.0
    assert report.cells[RANKER]["prompt_only"]["macro"].intervals["hit@1"] == (0.5, 0.5)
    assert report.value(RANKER, "prompt_only", "slot F1") == 0.5
    assert report.value(RANKER, "prompt_only", "hallucinated") == 0.5
    assert np.isnan(report.value(RANKER, "prompt_only", "path exact"))
    assert "slot F1" not in report.cells[RANKER]["prompt_only"]["many"].values


def test_variants_are_counted_apart_and_shown_in_their_order() -> None:
    sure = _ranking(3.0, 1.0, 0.0)
    report = _report((_case(0, "GET /a", "history_only"), sure), (_case(1, "PUT /missing", "prompt_history"), sure))
    assert report.value(RANKER, "history_only", "hit@1") == 1.0
    assert report.value(RANKER, "prompt_history", "hit@1") == 0.0
    assert report.variants == ["prompt_history", "history_only"]
    assert len(tables(report)) == 3
    assert width(report) >= 120


def test_reliability_has_the_bins_of_the_calibration_error() -> None:
    rows = []
    for i in range(100):
        answer = "GET /a" if i % 2 else "POST /a"
        rows.append((_case(i, answer), _ranking(3.0, 1.0, 0.0, confidence=i / 100)))
    report = _report(*rows)
    bins = report.reliability["prompt_only"]["s"]
    assert [n for _, _, n in bins] == [10] * 10
    gap = sum(n * abs(said - was) for said, was, n in bins) / 100
    assert gap == pytest.approx(report.value(RANKER, "prompt_only", "ece", "s"))


def test_the_ranks_measures_are_of_one_right_answer() -> None:
    assert columns(1.0).tolist() == [1, 1, 1, 1, 1, 1]
    assert columns(4.0).tolist() == pytest.approx([0, 0, 1, 1, 0.25, 1 / np.log2(5)])
    assert columns(11.0).tolist() == pytest.approx([0, 0, 0, 0, 1 / 11, 0])
