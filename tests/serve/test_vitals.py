"""The inbox and the trainings of the whole service, read from a real Redis."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
import redis

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


async def test_a_redis_that_is_not_fit_for_the_state_is_told_in_the_log(
    app: App, redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vitals, "_LOOK_S", 0.02)
    caplog.set_level(logging.ERROR, "opensesame.vitals")
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        watched = vitals.Vitals(make_app(redis_url).settings, SilentMetrics())  # type: ignore[arg-type]
        try:
            until = time.monotonic() + 20
            while not caplog.records:
                assert time.monotonic() < until
                time.sleep(0.02)
            time.sleep(0.1)
        finally:
            watched.close()
            client.config_set("maxmemory-policy", "noeviction")
    (record,) = [record for record in caplog.records if record.name == "opensesame.vitals"]
    assert "allkeys-lru" in record.getMessage()
