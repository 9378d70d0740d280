"""The inbox and the trainings of the whole service, read from a real Redis."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pipeline.stores.state import new_id
from serve import vitals
from tests.fakes import SilentMetrics
from tests.serve.conftest import App, make_app


async def test_what_waits_and_how_trainings_ended_is_told(
    app: App, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "_LOOK_S", 0.02)
    metrics: Any = SilentMetrics()
    watched = vitals.Vitals(make_app(redis_url).settings, metrics)
    read = metrics.followed
    try:
        assert {name: value() for name, value in read.items() if "trainings" in name} == {
            f"opensesame_trainings ending={ending}": 0 for ending in ("promoted", "refused", "waiting", "failed")
        }
        user = f"user-{new_id()}"
        id_ = (await app.predict(user_id=user)).json()["prediction_id"]
        await app.client.post("/feedback", json={"prediction_id": id_, "user_id": user, "feedback": "reject"})
        for ending in ("failed", "promoted", "failed"):
            await app.state.trainings.count(ending)  # type: ignore[arg-type]
        until = time.monotonic() + 20
        while read["opensesame_trainings ending=failed"]() < 2 or not read["opensesame_inbox"]():
            assert time.monotonic() < until
            time.sleep(0.02)
        assert read["opensesame_inbox"]() == 1
        assert 0 <= read["opensesame_inbox_age_s"]() < 60
        assert read["opensesame_trainings ending=promoted"]() == 1
        assert 0 <= read["opensesame_training_age_s"]() < 60
        (claim,) = [await app.state.inbox.claim("local", 10)]
        assert claim is not None
        await app.state.inbox.acknowledge(claim)
        while read["opensesame_inbox"]():
            assert time.monotonic() < until
            time.sleep(0.02)
        assert read["opensesame_inbox_age_s"]() == 0
    finally:
        watched.close()
