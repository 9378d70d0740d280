"""Deployment Models over a real registry and a real Redis: what moves there is mirrored and served."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from pipeline import settings
from pipeline.ranking.ranker import packaged
from pipeline.settings import Settings
from pipeline.stores.mirror import Mirror
from pipeline.stores.registry import Registry
from serve import models
from serve.jobs import entrypoint, last_progress, variables
from serve.models import ModelsDeployment
from tests import api_examples
from tests.artefacts import saved_ranker
from tests.documented import every
from tests.fakes import SilentMetrics
from tests.serve.conftest import make_app

ONE, TWO = saved_ranker("made-1", 1.0), saved_ranker("made-2", -1.0)
GATE = {"verdict": "refused", "why": "hit@1 -2.0 points", "suites": [{"suite": "own"}]}
PACKAGED = packaged().version


class ScriptedJobs:
    """Ray's job API, played."""

    def submit(self, force: bool) -> dict[str, Any]:
        return {"job_id": "raysubmit_1", "status": "pending", "started": True}

    def read(self, job_id: str) -> dict[str, Any]:
        return {"job_id": job_id, "status": "running", "started": 1.0, "ended": None, "progress": None}


@pytest.fixture(scope="module")
def loaded(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    base = settings.load("local")
    state = base.state.model_copy(update={"url": redis_url, "timeout_s": 5.0})
    registry = base.registry.model_copy(update={"poll_s": 0.1})
    models = base.models.model_copy(update={"schedule_s": 0})  # its own test: test_schedule.py
    ranker = base.ranker.model_copy(update={"score_limit_s": 10.0})
    changed = base.model_copy(update={"state": state, "registry": registry, "ranker": ranker, "models": models})
    return settings.under(changed, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def deployment(loaded: Settings, redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    made = ModelsDeployment.func_or_class(loaded, ScriptedJobs(), SilentMetrics())
    until = time.monotonic() + 120
    while made._watch.status != "ok":
        assert time.monotonic() < until, made._watch.detail
        time.sleep(0.1)
    yield made
    made.close()


@pytest.fixture
async def mirror(loaded: Settings) -> AsyncIterator[Mirror]:
    made = Mirror(loaded.state, loaded.state.url)
    yield made
    await made.close()


@pytest.fixture
async def client(deployment: Any, redis_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with make_app(redis_url, models=deployment) as app:
        yield app.client


@pytest.fixture
def registry(loaded: Settings, deployment: Any) -> Registry:
    """The same registry, as another process would have it."""
    made = Registry(loaded.registry)
    made.register(ONE, metrics={"hit@1": 0.5}, gate=GATE)
    made.register(TWO)
    return made


async def mirrored(mirror: Mirror, version: str) -> None:
    until = time.monotonic() + 20
    while True:
        champion = (await mirror.look()).champion
        if champion is not None and champion.version == version:
            return
        assert time.monotonic() < until, champion
        await asyncio.sleep(0.02)


async def ready(client: httpx2.AsyncClient) -> None:
    until = time.monotonic() + 20
    while (answer := await client.get("/ready")).status_code != 200:
        assert time.monotonic() < until, answer.text
        await asyncio.sleep(0.05)


def _versions(registry: Registry) -> tuple[str, str]:
    named = {model.name: model.version for model in registry.overview().models}
    return named["made-1"], named["made-2"]


@pytest.mark.slow
@pytest.mark.redis
async def test_the_installed_ranker_is_the_first_champion(deployment: Any, mirror: Mirror) -> None:
    await mirrored(mirror, PACKAGED)
    beat = (await mirror.look()).beat
    await asyncio.sleep(0.5)
    assert (await mirror.look()).beat > beat
    assert await deployment.state() == {"status": "ok", "inbox": 0}


@pytest.mark.slow
@pytest.mark.redis
async def test_an_alias_moved_by_another_process_is_mirrored(registry: Registry, mirror: Mirror) -> None:
    one, two = _versions(registry)
    registry.promote(one)
    registry.challenge(two)
    await mirrored(mirror, one)
    assert await mirror.read("champion") == ((await mirror.look()).champion, ONE)
    until = time.monotonic() + 20
    while (await mirror.look()).challenger is None:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    registry.challenge("")
    while (await mirror.look()).challenger is not None:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.redis
async def test_the_operator_promotes_and_rolls_back_over_http(
    client: httpx2.AsyncClient, registry: Registry, mirror: Mirror
) -> None:
    one, two = _versions(registry)
    listed = (await client.get("/models")).json()
    assert {model["version"] for model in listed["models"]} >= {PACKAGED, one, two}
    row = next(model for model in listed["models"] if model["version"] == one)
    assert row["metrics"] == {"hit@1": 0.5}
    assert row["gate"] == {"verdict": "refused", "why": "hit@1 -2.0 points"}
    assert (await client.get(f"/models/{one}")).json()["gate"] == GATE

    await client.post(f"/models/{one}/promote", json={})
    answer = await client.post(f"/v1/models/{two}/promote", json={})
    assert (answer.status_code, answer.json()["champion"], answer.json()["previous"]) == (200, two, one)
    await mirrored(mirror, two)
    assert (await client.get("/models")).json()["champion"] == two
    (asked,) = every("docs/operations.md", "curl")
    back = await api_examples.ask(client, api_examples.example("operations", asked, 200, None))
    assert back["champion"] == one
    await mirrored(mirror, one)
    repeated = await client.post("/models/rollback", json={})  # as a proxy does whose ingress replica died
    assert repeated.json() == back
    assert (await client.get("/health")).json()["components"]["models"] == {"status": "ok", "inbox": 0}


@pytest.mark.slow
@pytest.mark.redis
async def test_a_rollback_soon_after_one_that_somebody_undid_is_a_new_one(
    client: httpx2.AsyncClient, registry: Registry, mirror: Mirror
) -> None:
    one, two = _versions(registry)
    registry.promote(one)
    registry.promote(two)
    assert (await client.post("/models/rollback", json={})).json()["champion"] == one
    registry.promote(two)  # by the gate or on the command line
    assert (await client.post("/models/rollback", json={})).json()["champion"] == one
    await mirrored(mirror, one)


@pytest.mark.slow
@pytest.mark.redis
async def test_the_operator_lets_a_version_challenge_and_ends_it(
    client: httpx2.AsyncClient, registry: Registry, mirror: Mirror
) -> None:
    one, two = _versions(registry)
    await client.post(f"/models/{one}/promote", json={})
    answer = await client.post(f"/models/{two}/challenge", json={})
    assert (answer.status_code, answer.json()["champion"], answer.json()["challenger"]) == (200, one, two)
    end = time.monotonic() + 20
    while (seen := (await mirror.look()).challenger) is None or seen.version != two:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    answer = await client.post(f"/models/{one}/challenge", json={})
    assert (answer.status_code, answer.json()["slug"]) == (409, "conflict")
    answer = await client.delete("/models/challenger")
    assert (answer.status_code, answer.json()["challenger"]) == (200, None)
    assert (await client.delete("/models/challenger")).status_code == 200


@pytest.mark.slow
@pytest.mark.redis
async def test_the_operator_is_told_what_is_wrong(client: httpx2.AsyncClient, registry: Registry) -> None:
    one, _ = _versions(registry)
    for method, path, options, status in (
        ("GET", "/models/99", {}, 404),
        ("POST", "/models/99/promote", {"json": {}}, 404),
        ("POST", "/models/99/challenge", {"json": {}}, 404),
        ("POST", f"/models/{one}/promote", {}, 415),
        ("POST", f"/models/{one}/promote", {"json": {"surprise": 1}}, 400),
        ("POST", "/models/rollback", {"content": "{}", "headers": {"content-type": "text/plain"}}, 415),
        ("POST", "/train", {"json": {"force": "yes"}}, 400),
    ):
        answer = await client.request(method, path, **options)
        assert answer.status_code == status, (path, answer.text)
    answer = await client.post("/train", json={"force": True})
    assert (answer.status_code, answer.json()["job_id"]) == (202, "raysubmit_1")
    assert (await client.get("/train/raysubmit_1")).json()["status"] == "running"
    answer = await client.post("/train")  # without a body, as the older services were asked
    assert (answer.status_code, answer.json()["job_id"]) == (202, "raysubmit_1")
    answer = await client.post("/train", headers={"Origin": "http://evil.example"})  # as any page could send it
    assert (answer.status_code, answer.json()["slug"]) == (415, "unsupported_media")


@pytest.mark.slow
@pytest.mark.redis
async def test_the_examples_of_the_documentation_are_answered_as_shown(
    client: httpx2.AsyncClient, registry: Registry
) -> None:
    numbers = dict(zip("23", _versions(registry), strict=True))  # as the page calls the two
    registry.challenge("")
    registry.promote(numbers["2"])
    asked = [one for one in api_examples.examples(api_examples.PAGE.read_text()) if one.section == "Models"]
    assert len(asked) == 9
    for example in asked:
        path = re.sub(r"(?<=/models/)\d", lambda found: numbers[found[0]], example.path)
        await api_examples.ask(client, dataclasses.replace(example, path=path))


@pytest.mark.slow
@pytest.mark.redis
async def test_a_spoilt_artefact_is_neither_promoted_nor_mirrored(
    client: httpx2.AsyncClient,
    deployment: Any,
    registry: Registry,
    mirror: Mirror,
    loaded: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "_REPEATED_S", 0.0)  # what is asked here is asked anew
    monkeypatch.setattr(models, "_AGAIN_S", 0.5)
    one, two = _versions(registry)
    registry.promote(one)
    await mirrored(mirror, one)
    run = registry.show(two).run
    (path,) = (p for p in Path(loaded.registry.folder).rglob("ranker.json") if run in str(p))
    try:
        path.unlink()
        answer = await client.post(f"/models/{two}/promote", json={})
        assert (answer.status_code, answer.json()["slug"]) == (409, "conflict")
        path.write_text(TWO[:-100])
        answer = await client.post(f"/models/{two}/promote", json={})
        assert (answer.status_code, answer.json()["slug"]) == (409, "conflict")
        registry.promote(two)  # by another hand
        until = time.monotonic() + 20
        while (await deployment.state())["status"] != "refused":
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        assert (await mirror.read("champion"))[0].version == one  # the last good one
        assert deployment._watch._metrics.counted["opensesame_ranker_refused reason=hash"] == 1
        health = (await client.get("/health")).json()
        assert (health["status"], health["components"]["models"]["status"]) == ("degraded", "refused")
        await ready(client)
        registry.rollback()
        assert registry.overview().previous == two
        answer = await client.post("/models/rollback", json={})
        assert (answer.status_code, answer.json()["slug"]) == (409, "conflict")
        registry.promote(two)
    finally:
        path.write_text(TWO)
    await mirrored(mirror, two)


async def test_without_a_registry_the_routes_say_so_and_the_service_is_ready(app: Any) -> None:
    answer = await app.client.get("/models")
    assert (answer.status_code, answer.json()["slug"]) == (503, "registry_unavailable")
    await ready(app.client)


def test_the_command_of_a_training_names_no_password() -> None:
    loaded = settings.under(settings.load("local"), Path("/somewhere/var"))
    open_state = loaded.state.model_copy(update={"url": "unix:///run/redis.sock"})
    line = entrypoint(loaded.model_copy(update={"state": open_state}), True, "10.0.0.1:6379")
    assert "-P -m train.retrain --ray 10.0.0.1:6379" in line  # Ray's own word may be another instance's
    assert "--state unix:///run/redis.sock --var /somewhere/var --force --json" in line
    secret = loaded.state.model_copy(update={"url": "redis://:hunter2@redis:6379/0"})
    closed = loaded.model_copy(update={"state": secret})
    assert "hunter2" not in entrypoint(closed, False, "10.0.0.1:6379")
    assert variables(closed)["OPENSESAME__STATE__URL"] == "redis://:hunter2@redis:6379/0"


def test_a_training_is_given_the_settings_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = settings.load(
        "local", registry={"url": "http://mlflow:5000"}, state={"join_window_s": 77}, journal={"batch": 9}
    )
    changed = settings.under(changed, Path("/somewhere/var"))
    for name, value in variables(changed).items():
        monkeypatch.setenv(name, value)
    read = settings.load("local")
    for section in ("registry", "state", "train", "ranker", "models", "journal"):
        assert getattr(read, section) == getattr(changed, section)


def test_progress_is_the_last_whole_json_line() -> None:
    assert last_progress(["noise", '{"step": "fit", "done": 3}', '{"step": "fi']) == {"step": "fit", "done": 3}
    assert last_progress(["noise"]) is None
