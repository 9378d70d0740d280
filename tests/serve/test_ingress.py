"""The HTTP application in process: every route, every refusal, and parts that are away, late or broken."""

from __future__ import annotations

import asyncio

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError

from pipeline.errors import GeneratorError
from pipeline.stores.state import State
from pipeline.types import Proposal
from tests.serve.conftest import make_app

REFUND = {
    "events": [{"endpoint": "GET /v1/charges/ch_123"}],
    "prompt": "refund the duplicate charge",
    "catalog": "billing",
}


async def test_a_prediction_names_everything_the_wire_promises(app):
    body = (await app.predict(**REFUND, k=2)).json()
    assert set(body) == {"prediction_id", "predictions", "metadata"}
    assert set(body["predictions"][0]) == {
        "rank", "endpoint", "method", "path", "operation_id", "summary", "params", "missing_params", "confidence",
        "score", "reason", "sources", "is_destructive", "flags",
    }  # fmt: skip
    assert {"catalog", "operations", "model_version", "served_by", "cold_start", "degraded", "unmatched",
            "experiment", "timings_ms"} <= set(body["metadata"])  # fmt: skip
    assert len(body["predictions"]) == 2


async def test_calls_that_are_no_operation_are_named_by_their_place_among_all_that_were_sent(app):
    events = [{"endpoint": "GET /v1/charges"}] * 120 + [{"endpoint": "GET /nonsense"}]
    body = (await app.predict(events=events, catalog="billing")).json()
    assert body["metadata"]["unmatched"] == [120]


async def test_an_explanation_is_told_when_asked_for(app):
    body = (await app.predict(**REFUND, k=2, explain=True)).json()
    why = body["predictions"][0]["explanation"]
    assert set(why) == {"parts", "rest", "ranker_confidence"}
    assert set(why["parts"][0]) == {"feature", "group", "meaning", "value", "part"}
    assert 0 < why["ranker_confidence"] <= 1
    assert (await app.predict(**REFUND, explain="yes")).status_code == 400


async def test_confidence_orders_as_rank_does_and_never_exceeds_one(app):
    predictions = (await app.predict(**REFUND, k=20)).json()["predictions"]
    confidences = [p["confidence"] for p in predictions]
    assert confidences == sorted(confidences, reverse=True)
    assert 0 < sum(confidences) <= 1.001


async def test_the_answer_names_the_vectors_that_are_not_there_yet_and_heals(app):
    assert (await app.predict(**REFUND)).json()["metadata"]["degraded"] in (["embedding"], [])
    async with asyncio.timeout(60):
        while "embedding" in (await app.predict(**REFUND)).json()["metadata"]["degraded"]:
            await asyncio.sleep(0.05)


async def test_a_repeated_prompt_is_embedded_once(app):
    for _ in range(3):
        await app.predict(**{**REFUND, "prompt": "find the customer called Ana"})
    assert app.embedder.encoder.texts.count("find the customer called Ana") == 1


@pytest.mark.parametrize("death", [ActorDiedError(), RuntimeError("Unexpected error (UNAVAILABLE): Socket closed.")])
async def test_an_embedder_that_is_away_is_named(app, death):
    app.embedder.failing = death
    answer = (await app.predict(**{**REFUND, "prompt": "a prompt of its own"})).json()
    assert "embedding" in answer["metadata"]["degraded"]
    assert answer["predictions"]


def _hangs():
    async def propose(*_):
        await asyncio.sleep(3600)

    return propose


def _raises(error: Exception):
    async def propose(*_):
        raise error

    return propose


def _returns(value):
    async def propose(*_):
        return value

    return propose


@pytest.mark.parametrize(
    "propose",
    [
        _hangs(),
        _raises(ActorDiedError()),
        _raises(BackPressureError(1, 1)),
        _returns(GeneratorError("garbage")),
    ],
    ids=["hung", "killed", "overloaded", "garbage"],
)
async def test_a_generator_that_fails_degrades_the_answer_and_never_fails_it(redis_url, propose):
    async with make_app(redis_url, generator=True) as app:
        app.generator.propose = propose
        answer = await app.predict(**REFUND, deadline_ms=300)
        assert answer.status_code == 200
        body = answer.json()
        assert "generator" in body["metadata"]["degraded"]
        assert body["metadata"]["served_by"] == "ranker"
        assert body["predictions"]


async def test_what_the_generator_chose_is_told_and_paid(redis_url):
    async with make_app(redis_url, generator=True) as app:
        app.generator.propose = _returns(
            Proposal(picks=((0, {"amount": 5}, "because"),), model="tiny", tokens_in=9, tokens_cached=6, tokens_out=3)
        )
        metadata = (await app.predict(**REFUND, k=50)).json()["metadata"]
        assert metadata["served_by"] == "generator+ranker"
        assert metadata["generator"]["tokens_in"] == 9
        directions = ("in", "cached", "out")
        assert [app.metrics.counted[f"opensesame_generator_tokens direction={d} tier=small"] for d in directions] == [
            9,
            6,
            3,
        ]


async def test_history_alone_never_asks_the_generator(redis_url):
    async with make_app(redis_url, generator=True) as app:
        app.generator.propose = _raises(AssertionError())
        body = (await app.predict(events=REFUND["events"])).json()
        assert "generator" not in body["metadata"]["degraded"]


async def test_users_headers_agree_or_are_refused(app):
    ask = {"json": {"user_id": "ana"}, "headers": {"X-User-ID": "bo"}}
    assert (await app.client.post("/predict", **ask)).status_code == 400
    assert (await app.client.post("/predict", json={}, headers={"X-User-ID": "bo"})).status_code == 200


async def test_feedback_by_header_and_idempotency_key(app):
    id_ = (await app.predict(**REFUND, user_id="ana")).json()["prediction_id"]
    ask = {"prediction_id": id_, "user_id": "ana", "feedback": "accept"}
    headers = {"Idempotency-Key": "k-" + id_}
    first = await app.client.post("/feedback", json=ask, headers=headers)
    again = await app.client.post("/feedback", json=ask, headers=headers)
    other = await app.client.post("/feedback", json={**ask, "feedback": "reject"}, headers=headers)
    assert [a.status_code for a in (first, again, other)] == [202, 202, 409]


async def test_feedback_of_another_users_prediction_is_not_found(app):
    id_ = (await app.predict(**REFUND, user_id="ana")).json()["prediction_id"]
    answer = await app.client.post("/feedback", json={"prediction_id": id_, "user_id": "bo", "feedback": "accept"})
    assert answer.status_code == 404


async def test_an_accepted_destructive_operation_may_come_back_without_its_word(app):
    ask = {"user_id": "eve", "events": REFUND["events"], "k": 35}

    async def destructive(user: str) -> set[str]:
        predictions = (await app.predict(**{**ask, "user_id": user})).json()["predictions"]
        return {p["endpoint"] for p in predictions if p["is_destructive"]}

    assert await destructive("eve") == set()
    shown = (await app.predict(**REFUND, user_id="eve", k=1)).json()
    assert shown["predictions"][0]["endpoint"] == "POST /v1/refunds"
    accept = {"prediction_id": shown["prediction_id"], "user_id": "eve", "feedback": "accept"}
    assert (await app.client.post("/feedback", json=accept)).status_code == 202
    assert await destructive("eve") == {"POST /v1/refunds"}
    assert await destructive("somebody else") == set()


async def test_upload_replaces_and_every_state_of_a_catalog_is_told(app):
    spec = {"openapi": "3.0.0", "info": {"title": "A", "version": "1"}, "paths": {"/a": {"get": {"responses": {}}}}}
    put = await app.client.put("/catalogs/mine", json=spec)
    assert (put.status_code, put.json()["operations"]) == (200, 1)
    spec["paths"]["/b"] = {"get": {"responses": {}}}
    assert (await app.client.put("/catalogs/mine", json=spec)).json()["operations"] == 2
    assert (await app.predict(catalog="mine")).json()["metadata"]["operations"] == 2
    assert (await app.client.put("/catalogs/mine", content=b"[]")).status_code == 422
    assert (await app.client.delete("/catalogs/mine")).status_code == 204
    assert (await app.client.delete("/catalogs/mine")).status_code == 404
    assert (await app.client.get("/catalogs/mine")).status_code == 404
    assert (await app.client.put("/catalogs/x", files={"f": b"{}"})).status_code == 415


async def test_a_body_over_its_limit_is_refused_before_it_is_read(app):
    async def endless():
        for _ in range(10_000):
            yield b" " * 65536

    headers = {"content-type": "application/json"}
    answer = await app.client.post("/predict", content=endless(), headers=headers)
    assert answer.status_code == 413


async def test_too_many_requests_at_once_are_shed_with_retry_after(app):
    app.asgi._shed_at = 0
    answer = await app.predict(**REFUND)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_replica_starts_with_its_connections_open_or_without(app, monkeypatch):
    async def start() -> list[str]:
        messages = iter(("lifespan.startup", "lifespan.shutdown"))
        sent: list[str] = []

        async def receive() -> dict[str, str]:
            return {"type": next(messages)}

        async def send(message: dict[str, str]) -> None:
            sent.append(message["type"])

        await app.asgi({"type": "lifespan", "state": {}}, receive, send)
        return sent

    asked = []
    monkeypatch.setattr(State, "ping", lambda _: asked.append("state") or asyncio.sleep(0))
    assert await start() == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert asked == ["state"]
    monkeypatch.setattr(State, "ping", None)  # a fault of ours, whatever it is
    assert (await start())[0] == "lifespan.startup.complete"


async def test_only_loopback_names_are_answered_without_authentication(app):
    for host, status in (
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("", 403),
    ):
        assert (await app.client.get("/health", headers={"host": host})).status_code == status, host


async def test_every_problem_carries_slug_detail_and_request_id(app):
    headers = {"X-Request-ID": "abc"}
    for answer in (
        await app.client.post("/predict", content=b"{", headers={**headers, "content-type": "application/json"}),
        await app.client.get("/nothing", headers=headers),
        await app.client.put("/predict", headers=headers),
    ):
        body = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "slug", "request_id"} <= set(body)
        assert (body["request_id"], body["status"]) == ("abc", answer.status_code)


async def test_a_bug_answers_500_without_its_text(app):
    async def broken(*_):
        raise RuntimeError("secret of the user")

    app.embedder.prompt = broken
    answer = await app.predict(**{**REFUND, "prompt": "never asked before, for the bug"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["slug"], answer.json()["request_id"]) == ("error", answer.headers["x-request-id"])
    assert "secret" not in answer.text


@pytest.mark.redis
async def test_a_wrong_method_is_told_which_ones_there_are(app):
    for path, methods in (("/catalogs/billing", "DELETE, GET, PUT"), ("/v1/predict", "POST")):
        answer = await app.client.patch(path, json={})
        assert (answer.status_code, answer.json()["slug"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == methods
