"""The gate: each condition lets through what is better and stops what would do harm, and says why."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from pipeline.ranking.ranker import Logit, Ranker, uncalibrated
from pipeline.ranking.table import COLUMN, FEATURES, HEADS
from train import gate
from train.gate import Condition, Limits, Report, Trial

_RIGHT, _WRONG = "last_prefix", "document_order"


def _ranker(name: str, feature: str, scale: float = 12.0) -> Ranker:
    head = Logit(features=(feature,), center=(0.5,), scale=(0.3,), weights=(scale,))
    return uncalibrated(name, dict.fromkeys(HEADS, head))


def _trials(
    count: int, feature: str = _RIGHT, seed: int = 1, tenant: str = "local", suite: str = "", destructive: str = ""
) -> Iterator[Trial]:
    """Groups whose answer a feature tells in nine of ten cases."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        x = rng.random((10, len(FEATURES))).astype(np.float32)
        best = int(x[:, COLUMN[feature]].argmax())
        answer = best if rng.random() < 0.9 else int(rng.integers(10))
        destroys = x[:, COLUMN[destructive]] > 0.9 if destructive else np.zeros(10, dtype=bool)
        yield Trial("prompt_history", x, answer, True, destroys, tenant, f"api-{tenant}", f"user-{i % 25}", suite)


def _judge(
    champion: Ranker, challenger: Ranker, later: list[Trial], golden: list[Trial], limits: Limits | None = None
) -> Report:
    both = [champion, challenger]
    return gate.judge(champion, challenger, gate.answer(both, later), gate.answer(both, golden), limits or Limits())


def _named(report: Report, name: str) -> Condition:
    return next(condition for condition in report.conditions if condition.name == name)


def _golden() -> list[Trial]:
    return list(_trials(400, seed=9, suite="synthetic"))


def test_a_better_one_passes_and_the_report_survives_json() -> None:
    report = _judge(_ranker("old", _WRONG), _ranker("new", _RIGHT), list(_trials(300)), _golden())
    assert report.passed, report.text()
    assert "promoted" in report.text()
    later = report.conditions[0]
    assert later.low is not None
    assert later.low > 0.5
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(report)), Report) == report


@pytest.mark.parametrize(
    ("old", "new", "count", "said"),
    [
        (_RIGHT, _WRONG, 300, "must be better"),
        (_RIGHT, _RIGHT, 300, "must be better"),
        (_WRONG, _RIGHT, 10, "only 10 later groups"),
    ],
    ids=["worse", "the same", "too few"],
)
def test_later_data_stops(old: str, new: str, count: int, said: str) -> None:
    report = _judge(_ranker("old", old), _ranker("new", new), list(_trials(count)), _golden())
    assert not report.conditions[0].passed
    assert said in report.why


def test_a_lucky_answer_or_two_are_no_evidence() -> None:
    champion, challenger = _ranker("old", _WRONG), _ranker("new", _RIGHT)
    same = [t for t in _trials(400) if t.x[:, COLUMN[_RIGHT]].argmax() == t.x[:, COLUMN[_WRONG]].argmax()]
    other = next(
        t
        for t in _trials(400, seed=3)
        if t.answer == t.x[:, COLUMN[_RIGHT]].argmax() != t.x[:, COLUMN[_WRONG]].argmax()
    )
    report = _judge(champion, challenger, [*same, other], _golden(), Limits(changed_min=5))
    assert not report.passed
    assert "answered otherwise" in report.why


def test_a_tenant_that_loses_stops_what_others_gain() -> None:
    later = [*_trials(900), *_trials(250, _WRONG, seed=2, tenant="small")]
    report = _judge(_ranker("old", _WRONG), _ranker("new", _RIGHT), later, _golden())
    assert report.conditions[0].passed
    assert not _named(report, "tenant small").passed
    assert not _named(report, "spec api-small").passed
    few = [*_trials(900), *_trials(150, _WRONG, seed=2, tenant="small")]
    assert _judge(_ranker("old", _WRONG), _ranker("new", _RIGHT), few, _golden()).passed


def test_what_forgets_the_golden_suites_is_stopped() -> None:
    golden = list(_trials(400, _WRONG, seed=9, suite="examples"))
    report = _judge(_ranker("old", _WRONG), _ranker("new", _RIGHT), list(_trials(300)), golden)
    assert not _named(report, "golden suites").passed
    assert "examples" in _named(report, "golden suites").why
    assert not _judge(_ranker("old", _WRONG), _ranker("new", _RIGHT), list(_trials(300)), []).passed


def test_confidence_that_no_longer_keeps_its_word_is_stopped() -> None:
    later = list(_trials(1500))
    report = _judge(_ranker("old", _RIGHT), _ranker("new", _RIGHT, 0.5), later, _golden())
    assert not _named(report, "calibration").passed


def test_more_destructive_operations_in_front_are_stopped() -> None:
    later = list(_trials(400, destructive=_RIGHT))
    report = _judge(_ranker("old", _WRONG), _ranker("new", _RIGHT), later, _golden())
    exposure = _named(report, "destructive exposure")
    assert not exposure.passed
    assert exposure.challenger is not None
    assert exposure.champion is not None
    assert exposure.challenger > exposure.champion


def test_a_slow_one_is_stopped() -> None:
    report = _judge(_ranker("old", _WRONG), _ranker("new", _RIGHT), list(_trials(100)), _golden(), Limits(score_s=1e-9))
    assert not _named(report, "scoring time").passed


def test_labels_that_contradict_every_ranker_promote_nothing() -> None:
    flipped = [
        Trial(t.head, t.x, int(t.x[:, COLUMN[_RIGHT]].argmin()), True, t.destructive, "local", "api", t.cluster)
        for t in _trials(300)
    ]
    report = _judge(_ranker("old", _RIGHT), _ranker("new", _RIGHT, 11.0), flipped, _golden())
    assert not report.passed


def test_rejections_tell_nothing_of_what_came_next() -> None:
    later = [Trial(t.head, t.x, -1, False, t.destructive) for t in _trials(50)]
    answers = gate.answer([_ranker("old", _RIGHT), _ranker("new", _RIGHT)], later)
    assert not answers.known.any()
    assert "only 0 later groups" in _judge(_ranker("a", _RIGHT), _ranker("b", _WRONG), later, _golden()).why
