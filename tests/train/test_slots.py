"""Arguments: what counts as right, and what as a value from nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.types import Operation, Parameter
from train import slots
from train.cases import Case, Event, Response

OPERATION = Operation(
    method="POST",
    path="/repos/{owner}/{repo}/issues",
    parameters=(
        Parameter(name="owner", location="path", required=True, type="string"),
        Parameter(name="repo", location="path", required=True, type="string"),
        Parameter(name="title", location="body", required=True, type="string"),
        Parameter(name="state", location="body", type="string", enum=("open", "closed")),
        Parameter(name="page", location="query", type="integer", default=1),
        Parameter(name="draft", location="body", type="boolean"),
    ),
)


def _count(gold: dict[str, Any], params: dict[str, Any], prompt: str = "", *events: Event) -> dict[str, float]:
    case = Case("s", "c", "prompt_history", "x.json", OPERATION.key, prompt=prompt, events=events, next_params=gold)
    return dict(zip(slots.SUMS, slots.count(case, OPERATION, params).tolist(), strict=True))


def test_a_slot_is_right_when_name_and_value_are() -> None:
    gold = {"owner": "ana", "repo": "tools", "title": "Broken", "page": 1}
    seen = Event("GET /repos/ana/tools")
    sums = _count(gold, {"owner": "ana", "repo": "toolbox", "page": "1"}, "", seen)
    assert (sums["right"], sums["predicted"], sums["gold"]) == (2, 3, 4)
    assert (sums["paths right"], sums["paths"], sums["all right"]) == (0, 1, 0)
    sums = _count(gold, {**gold, "page": 1.0}, "Broken", seen)
    assert (sums["right"], sums["paths right"], sums["all right"], sums["hallucinated"]) == (4, 1, 1, 0)


def test_values_that_are_nowhere_are_hallucinated() -> None:
    past = Event("GET /users/ana%20b?x=9", {"labels": [{"name": "bug"}]}, response=Response(200, [{"id": 42}]))

    def made_up(value: Any, prompt: str = "") -> bool:
        return _count({}, {"title": value}, prompt, past)["hallucinated"] == 1

    assert not made_up("ana b")  # path, decoded
    assert not made_up("bug")  # argument, nested
    assert not made_up(42)  # answer
    assert not made_up("Red Door", 'rename it to "red door"')
    assert not made_up("ana", "I am ana_kim_12")
    assert not made_up(["bug", 42])
    assert made_up("4")  # part of a number is none
    assert made_up(["bug", "feature"])
    assert made_up("door", "the doors")


def test_literals_of_the_operation_and_readings_of_the_prompt_are_not_hallucinated() -> None:
    sums = _count({}, {"state": "closed", "page": 1, "draft": True})
    assert sums["hallucinated"] == 0
    assert _count({}, {"page": 2})["hallucinated"] == 1
    prompt = "three tickets since April 5, 2020 at 29 euros"
    for value in (3, "2020-04-05", 2900):
        assert _count({}, {"title": value}, prompt)["hallucinated"] == 0


def test_ratios_of_sums_are_micro_averages() -> None:
    sums = np.array([[2, 3, 4, 1, 0, 1, 0, 1], [1, 1, 1, 0, 0, 0, 1, 1]], dtype=float)
    values = slots.ratios(sums.mean(axis=0))
    assert values["slot F1"] == pytest.approx(2 * 3 / (4 + 5))
    assert values["path exact"] == 0.0
    assert values["all exact"] == 0.5
    assert values["hallucinated"] == 0.25
    assert np.isnan(slots.ratios(np.zeros(len(slots.SUMS)))["slot F1"])


def test_a_literal_within_a_list_or_an_object_is_none_from_nowhere() -> None:
    kinds = Parameter(name="kinds", location="body", type="array", items="string", enum=("bug", "task"))
    draft = Parameter(name="draft", location="body", type="boolean")
    issue = Parameter(name="issue", location="body", type="object", parts=(kinds, draft))
    create = Operation(method="POST", path="/issues", parameters=(kinds, issue))
    case = Case("s", "c", "prompt_only", "x.json", create.key, prompt="file it", events=(), next_params={})

    def made_up(**params: Any) -> float:
        return float(slots.count(case, create, params)[slots.SUMS.index("hallucinated")])

    assert made_up(kinds=["bug"], issue={"kinds": ["task", "bug"], "draft": True}) == 0
    assert made_up(kinds=["bug", "epic"], issue={"draft": True, "title": "Crash"}) == 2
