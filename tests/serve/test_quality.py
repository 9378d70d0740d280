"""What users did with predictions, counted by rank and by the confidence that was told."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.types import Impression, QueryGroup
from serve.quality import count_answers
from tests.fakes import SilentMetrics
from tests.serve.conftest import App

CHARGE = {"endpoint": "GET /v1/charges/ch_123", "ts": "2026-01-31T12:00:00Z"}


def counted(app: App) -> dict[str, float]:
    return {name: value for name, value in app.metrics.counted.items() if name.startswith("opensesame_answers")}


async def test_a_prediction_counts_by_what_was_known(app: App):
    unknown = {"endpoint": "GET /no/such/path"}
    for events, prompt in (
        ([CHARGE], "refund it"),
        ([CHARGE], ""),
        ([unknown], "refund it"),
        ([], ""),
        ([unknown], " "),
    ):
        await app.predict(events=events, prompt=prompt)
    told = {
        name.split("=")[1]: n for name, n in app.metrics.counted.items() if name.startswith("opensesame_predictions")
    }
    assert told == {"prompt_history": 1, "history_only": 1, "prompt_only": 1, "nothing": 2}


async def test_an_accepted_prediction_counts_by_the_confidence_it_was_told_with(app: App):
    body = (await app.predict(user_id="ana", events=[CHARGE], prompt="refund the charge")).json()
    told = body["predictions"][0]["confidence"]
    accept = {"prediction_id": body["prediction_id"], "user_id": "ana", "feedback": "accept"}
    for _ in range(2):
        await app.client.post("/feedback", json=accept)
    tenth = f"0.{int(told * 10)}"
    assert counted(app) == {f"opensesame_answers confidence={tenth} rank=1": 1.0}
    sums = app.metrics.counted[f"opensesame_told_confidence confidence={tenth}"]
    assert sums == pytest.approx(told, abs=1e-4)


async def test_an_override_and_an_observed_call_count_by_the_rank_they_had(app: App):
    body = (await app.predict(user_id="bo", events=[CHARGE], k=5)).json()
    third = body["predictions"][2]["endpoint"]
    override = {"prediction_id": body["prediction_id"], "user_id": "bo", "feedback": "override"}
    await app.client.post("/feedback", json=override | {"chosen": {"endpoint": third}})
    body = (await app.predict(user_id="cy", events=[CHARGE], k=2)).json()
    unseen = "POST /v1/products"
    assert unseen not in {prediction["endpoint"] for prediction in body["predictions"]}
    observed = {"user_id": "cy", "catalog": "billing", "events": [{"endpoint": unseen, "ts": "2026-01-31T12:01:00Z"}]}
    assert (await app.client.post("/events", json=observed)).json()["closed"] == [body["prediction_id"]]
    assert sorted(name.split("rank=")[1] for name in counted(app)) == ["3", "none"]


async def test_a_rejected_prediction_tells_no_next_call(app: App):
    id_ = (await app.predict(user_id="dee", events=[CHARGE])).json()["prediction_id"]
    await app.client.post("/feedback", json={"prediction_id": id_, "user_id": "dee", "feedback": "reject"})
    assert counted(app) == {}


def test_ranks_are_told_in_classes_and_explored_ones_not_at_all():
    shown = tuple(f"GET /{i}" for i in range(8))
    impression = Impression("id", "local", "ana", "l", "d", 0.0, shown, confidence=1.0)
    metrics = SilentMetrics()
    groups = [QueryGroup(impression, (), "accept", operation) for operation in (*shown, "GET /other")]
    explored = msgspec.structs.replace(impression, explored=True)
    count_answers(metrics, [*groups, None, QueryGroup(explored, (), "accept", shown[0])])  # type: ignore[arg-type]
    ranks = {name.split("rank=")[1]: n for name, n in metrics.counted.items() if "rank=" in name}
    assert ranks == {"1": 1, "2": 1, "3": 1, "4-5": 2, "6-": 3, "none": 1}
    assert metrics.counted["opensesame_told_confidence confidence=0.9"] == 9.0
