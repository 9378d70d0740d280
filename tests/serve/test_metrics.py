"""Metrics: their tags are closed sets, whatever is asked of the service; what is followed is told again and again."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from ray.util import metrics as ray_metrics

from pipeline import settings
from pipeline.ranking import drift
from pipeline.ranking.table import FEATURES
from serve import metrics
from serve.metrics import METRICS, TAGS, Metrics
from serve.ranker import RankerDeployment
from tests.fakes import SilentMetrics
from tests.serve.conftest import App

HOSTILE = ["x" * 100, "'; drop table", "é\u202e", "../../etc", "{user}", "a-b.c_d"]


class Recorded:
    """What Ray was told: (name, value, tags)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[str, float, dict[str, str]]] = []
        monkeypatch.setattr(
            ray_metrics.Metric, "_record", lambda metric, value, tags=None: self.take(metric, value, tags)
        )

    def take(self, metric: ray_metrics.Metric, value: float, tags: dict[str, str] | None) -> None:
        self.told.append((metric._name, value, dict(tags or {})))

    def values(self, name: str) -> list[float]:
        return [value for told, value, _ in self.told if told == name]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(monkeypatch)


def test_every_metric_says_what_it_is_and_every_tag_what_it_can_say():
    for name, (kind, what, tags) in METRICS.items():
        assert name.startswith("opensesame_")
        assert kind in ("counter", "gauge", "histogram")
        assert what.endswith(".")
        assert set(tags) <= set(TAGS), name
    assert {tag for _, _, tags in METRICS.values() for tag in tags} == set(TAGS)


def test_a_value_that_a_tag_cannot_say_is_told_as_other(recorded: Recorded):
    made = Metrics()
    for hostile in HOSTILE:
        made.count("opensesame_feedback", outcome=hostile)
        made.observe("opensesame_predict_ms", 1.0, stage=hostile)
    made.count("opensesame_feedback", outcome="accept")
    assert {tags.get("outcome", tags.get("stage")) for _, _, tags in recorded.told} == {"other", "accept"}


def test_a_counter_begins_at_nothing_for_all_that_its_tags_can_say(recorded: Recorded):
    Metrics().begin("opensesame_degraded")
    assert recorded.told == [("opensesame_degraded", 0.0, {"part": part}) for part in TAGS["part"]]


def test_what_is_followed_is_told_at_every_look(recorded: Recorded, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics, "_LOOK_S", 0.01)
    made, total, enough = Metrics(), iter([3.0, 5.0, 5.0]), threading.Event()

    def fails() -> float:
        if recorded.values("opensesame_catalogs"):
            raise LookupError
        return 7.0

    def grows() -> float:
        if len(recorded.values("opensesame_catalog_work")) > 3:
            enough.set()
        return next(total, 6.0)

    made.follow("opensesame_catalogs", fails)
    made.follow("opensesame_catalog_work", grows, work="parse")
    assert enough.wait(10)
    assert recorded.values("opensesame_catalogs") == [7.0]
    assert recorded.values("opensesame_catalog_work")[:4] == [3.0, 2.0, 0.0, 1.0]


async def test_nothing_that_a_client_says_becomes_a_tag(app: App):
    for hostile in HOSTILE:
        await app.predict(user_id=hostile, prompt=hostile, catalog=hostile, events=[{"endpoint": f"GET /{hostile}"}])
        await app.predict(user_id=hostile, prompt=f"{hostile} a@b.example", catalog="billing")
        await app.client.get(f"/{hostile}", headers={"X-Request-ID": "é".encode(), "X-User-ID": hostile.encode()})
        await app.client.put(f"/catalogs/{hostile}", content=hostile.encode())
        await app.client.get(f"/train/{hostile}")
        await app.client.post("/suggest", json={"device": hostile, "catalog": hostile, "context": hostile})
        await app.client.post("/feedback", json={"feedback": hostile, "prediction_id": hostile, "user_id": hostile})
        await app.client.request("HACK" + str(len(hostile)), "/predict")
    paths = ("/predict", "/catalogs/{name}", "/train/{job_id}", "/suggest", "/feedback")
    known = {"none", *paths, *(f"/v1{path}" for path in paths)}
    for counted in app.metrics.counted:
        name, *tags = counted.split(" ")
        for tag, value in (told.split("=", 1) for told in tags):
            if tag == "route":
                assert value in known
            elif tag == "status":
                assert value.isdecimal()
                assert len(value) == 3
            else:
                assert value in TAGS[tag], (name, tag, value)


async def test_the_ranker_serves_without_a_reference_of_the_features(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    told = SilentMetrics()
    monkeypatch.setattr(drift, "packaged_path", lambda: tmp_path / "none.json")
    ranker = RankerDeployment.func_or_class(settings.load("local"), told)
    try:
        scores = await ranker.score(np.zeros((3, len(FEATURES)), dtype=np.float32), "prompt_only")
        assert len(scores.raw) == 3
        assert not [name for name in told.followed if name.startswith("opensesame_feature_drift")]
    finally:
        ranker.close()
