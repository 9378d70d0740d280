"""The service's own OpenAPI document: valid, whole, and what the routes answer.

That every other test's answers are as told is seen in `conftest.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
import schemathesis
from fastapi.routing import APIRoute

from pipeline import errors
from pipeline.ranking.experiments import MEASURES
from pipeline.stores.registry import Overview, Version
from serve import ingress
from serve.compare import ArmRates
from serve.identity import ACCESS
from serve.jobs import Training, TrainResponse
from serve.openapi import HEADERS, PARAMETERS, TOLD
from serve.registered import aliases_json, overview_json, version_json
from tests.serve.conftest import App, make_app
from tests.serve.test_identity import guarded, inner, key
from tests.told import Document

NEWS = Version(
    version="2", number="2", name="made-2", aliases=("champion",), created="2026-11-20T18:12:02+00:00",
    origin="trained", sha256="9c1f", fingerprint="0b7e", run="4d2a", metrics={"hit@1": 0.5}, params={"leaves": "31"},
    gate={"passed": True, "why": "better", "conditions": [{"name": "later groups"}]},
)  # fmt: skip


class PlayedModels:
    """Deployment Models over one version, with trainings that are played."""

    found = Overview("2", "", "", (NEWS,))

    async def overview(self) -> Any:
        return overview_json(self.found)

    async def show(self, version: str) -> Any:
        return version_json(NEWS) if version == "2" else errors.UnknownModel(f"There is no model version '{version}'.")

    async def promote(self, version: str) -> Any:
        return aliases_json(self.found)

    async def rollback(self) -> Any:
        return errors.Conflict("There is no previous model to roll back to.")

    async def challenge(self, version: str) -> Any:
        return aliases_json(self.found)

    async def train(self, force: bool) -> TrainResponse:
        return {"job_id": "job-1", "status": "pending", "started": force}

    async def job(self, job_id: str) -> Training:
        told: Training = {"job_id": job_id, "status": "failed", "started": 1.0, "ended": None, "progress": None}
        return {**told, "detail": "the last line"}

    async def state(self) -> dict[str, Any]:
        return {"status": "ok", "inbox": 0}


async def told(app: App) -> dict[str, Any]:
    return (await app.client.get("/openapi.json")).json()


def references(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own.union(*map(references, node.values()))


async def test_the_document_is_valid_with_and_without_keys(app: App, redis_url: str) -> None:
    documents = [await told(app)]
    async with guarded(redis_url) as closed:
        documents.append(await told(closed))
    for document in documents:
        schemathesis.openapi.from_dict(document).validate()
        for reference in references(document):
            _, components, kind, name = reference.split("/")
            assert name in document[components][kind], reference


async def test_every_route_is_told_with_its_parameters_and_what_it_answers(app: App) -> None:
    assert set(TOLD) == set(ACCESS)
    routes = {
        (method, route.path)
        for route in inner(app).routes
        if isinstance(route, APIRoute) and not route.path.startswith("/v1/")
        for method in route.methods
    }
    document = await told(app)
    read = Document(document)
    assert set(read.operations) == routes == set(ACCESS)
    named = [operation["operationId"] for operation in read.operations.values()]
    assert len(set(named)) == len(named)
    for (method, path), operation in read.operations.items():
        parameters = [read.resolve(parameter) for parameter in operation["parameters"]]
        in_path = [parameter["name"] for parameter in parameters if parameter["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", path)
        assert all(parameter["required"] for parameter in parameters if parameter["in"] == "path")
        assert "X-Request-ID" in [parameter["name"] for parameter in parameters]
        (well,) = (status for status in operation["responses"] if status < "300")
        content = operation["responses"][well].get("content", {})
        assert list(content) == (
            [] if well == "204" else ["text/plain"] if path == "/metrics" else ["application/json"]
        )
        assert all(media["schema"] for media in content.values()), path
        assert (method in ("POST", "PUT")) == ("requestBody" in operation), path
        for status, answer in operation["responses"].items():
            assert answer["description"]
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"]
            assert ("Retry-After" in answer["headers"]) == (status in ("429", "503"))


async def test_nothing_is_defined_that_no_route_has(app: App) -> None:
    document = await told(app)
    used = references(document)
    for kind in ("schemas", "parameters"):
        assert {f"#/components/{kind}/{name}" for name in document["components"][kind]} <= used
    assert set(document["components"]["parameters"]) == set(PARAMETERS)
    assert set(document["components"]["headers"]) == set(HEADERS)


async def test_every_example_is_as_its_schema_tells(app: App) -> None:
    document = await told(app)
    read, seen = Document(document), 0
    for name, schema in document["components"]["schemas"].items():
        if "example" in schema:
            assert not read.wrong({"$ref": f"#/components/schemas/{name}"}, schema["example"]), name
            seen += 1
    for name, example in document["components"]["examples"].items():
        assert not read.wrong({"$ref": "#/components/schemas/Problem"}, example["value"]), name
        assert example["value"]["slug"] == name
    assert seen > 10


async def test_keys_add_who_may_ask_and_how_often(redis_url: str) -> None:
    async with guarded(redis_url) as app:
        read = Document(await told(app))
        for (_, path), operation in read.operations.items():
            closed = path not in ("/health", "/ready")
            assert {"401", "403", "429"} <= set(operation["responses"]) or not closed
            assert bool(operation["security"]) == closed
            (well,) = (answer for status, answer in operation["responses"].items() if status < "300")
            assert ("RateLimit" in well["headers"]) == closed
        headers, _ = await key(app, "predict")
        for path, sent, status in (
            ("/catalogs", headers, 200),
            ("/catalogs", {}, 401),
            ("/models", headers, 403),
            ("/catalogs/nowhere", headers, 404),
        ):
            assert (await app.client.get(path, headers=sent)).status_code == status


async def test_every_route_answers_as_told(redis_url: str, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scrape() -> bytes:
        return b"# TYPE a counter\na_total 1\n"

    monkeypatch.setattr(ingress, "scrape", scrape)
    answered = set()
    async with make_app(redis_url, models=PlayedModels()) as made:

        async def ask(method: str, path: str, status: int, of: str = "", **options: Any) -> Any:
            answer = await made.client.request(method, path, **options)  # the fixture holds it against the document
            assert answer.status_code == status, answer.text
            answered.add((method, of or path))
            return answer.json() if answer.content and path != "/metrics" else None

        call = {"endpoint": "GET /v1/charges/ch_123", "response": {"status": 200, "body": {"id": "ch_123"}}}
        asked = {"user_id": "ana", "catalog": "billing", "events": [call], "prompt": "refund it", "explain": True}
        prediction = await ask("POST", "/predict", 200, json=asked)
        assert prediction["predictions"][0]["explanation"]["parts"]
        await ask("POST", "/predict", 200, json={"catalog": "offers", "user_id": "eve"})
        await ask("POST", "/feedback", 202, json={"feedback": "accept", "user_id": "ana"})
        events = [{"endpoint": "POST /v1/refunds"}, {"endpoint": "GET /v1/nothing"}]
        body = {"user_id": "ana", "catalog": "billing", "events": events}
        await ask("POST", "/events", 202, json=body, headers={"Idempotency-Key": "k-1"})
        shown = await ask("POST", "/suggest", 200, json={"user_id": "ana"})
        click = {"event_type": "click", "user_id": "ana", "proposition_id": shown["propositions"][0]["id"]}
        await ask("POST", "/log_event", 202, json=click)
        offers = json.dumps([{"id": "a", "title": "An offer"}]).encode()
        await ask("PUT", "/catalogs/billing", 200, "/catalogs/{name}", content=offers)
        await ask("GET", "/catalogs/billing", 200, "/catalogs/{name}")
        listed = await ask("GET", "/catalogs", 200)
        assert [upload["name"] for upload in listed["catalogs"]] == ["billing"]
        assert listed["packaged"] == ["deployments", "issue-tracker", "media-player", "offers"]
        await ask("DELETE", "/catalogs/billing", 204, "/catalogs/{name}")
        assert "billing" in (await ask("GET", "/catalogs", 200))["packaged"]
        await ask("DELETE", "/catalogs/billing", 404, "/catalogs/{name}")
        await ask("GET", "/models", 200)
        await ask("GET", "/models/2", 200, "/models/{version}")
        await ask("GET", "/models/3", 404, "/models/{version}")
        await ask("POST", "/models/2/promote", 200, "/models/{version}/promote", json={})
        await ask("POST", "/models/2/challenge", 200, "/models/{version}/challenge", json={})
        await ask("POST", "/models/rollback", 409, json={})
        await ask("DELETE", "/models/challenger", 200)
        await ask("GET", "/models/compare", 200)
        assert (await ask("POST", "/train", 202))["started"] is False
        await ask("POST", "/train", 202, json={"force": True})
        await ask("GET", "/train/job-1", 200, "/train/{job_id}")
        await ask("GET", "/cost-analytics", 200)
        await ask("GET", "/health", 200)
        await ask("GET", "/metrics", 200)
        while (await made.client.get("/ready")).status_code != 200:
            await asyncio.sleep(0.05)
        await ask("GET", "/ready", 200)
    assert answered == set(ACCESS)


def test_the_rates_of_an_arm_are_what_is_measured() -> None:
    assert set(ArmRates.__annotations__) == {"arm", "counts", *MEASURES, "intervals"}


def test_an_answer_that_is_not_told_is_seen(app: App) -> None:
    read = Document(inner(app).openapi())
    ready = read.operations["GET", "/ready"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert not read.wrong(ready, {"status": "ready"})
    assert read.wrong(ready, {"status": "ready", "since": 1})
    assert read.wrong(ready, {"status": "steady"})
