"""Two tenants with the same names, users and ids: no route tells one of the other, not even that something exists.

Every route that handles a tenant's data has a probe here; a route without one fails the first test.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
import redis

from pipeline.stores.encoding import unpack_group, unpack_impression
from pipeline.stores.pseudonym import pseudonym
from pipeline.stores.spend import of_reason, today
from pipeline.stores.state import new_id
from pipeline.types import Impression
from serve.identity import ACCESS
from tests.serve.conftest import App
from tests.serve.test_identity import guarded, key

ONLY_A = "only-of-a"
OFFERS = [{"id": "card", "title": "Gold credit card"}, {"id": "loan", "title": "Car loan"}]
CHARGE = {"endpoint": "GET /v1/charges/ch_1", "ts": "2026-01-31T12:00:00Z"}
REFUND = {"endpoint": "POST /v1/refunds", "ts": "2026-01-31T12:00:02Z"}
USER = "ana@example.com"


def spec(title: str, path: str) -> dict[str, Any]:
    return {"openapi": "3.0.0", "info": {"title": title, "version": "1"}, "paths": {path: {"get": {"responses": {}}}}}


@dataclasses.dataclass
class Two:
    """The application and a client of each tenant; both have a catalog `shop`, `a` has more."""

    app: App
    a: Callable[..., Awaitable[httpx2.Response]]
    b: Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def two(redis_url: str) -> AsyncIterator[Two]:
    async with guarded(redis_url, limits={"enabled": False}) as app:

        async def client(tenant: str) -> Callable[..., Awaitable[httpx2.Response]]:
            headers, _ = await key(app, "predict", "feedback", "catalogs", "operator", tenant=tenant)

            async def ask(method: str, path: str, body: Any = None, **more: str) -> httpx2.Response:
                return await app.client.request(method, path, json=body, headers=headers | more)

            return ask

        made = Two(app, await client("a"), await client("b"))
        for ask, title in ((made.a, "Shop of A"), (made.b, "Shop of B")):
            assert (await ask("PUT", "/catalogs/shop", spec(title, f"/{title[-1].lower()}"))).status_code == 200
        assert (await made.a("PUT", f"/catalogs/{ONLY_A}", spec("Secret of A", "/zebra"))).status_code == 200
        assert (await made.a("PUT", "/catalogs/offers-of-a", OFFERS)).status_code == 200
        yield made


def same_refusal(one: httpx2.Response, other: httpx2.Response, *names: str) -> None:
    """Both are the same refusal, but for the request's id and what was asked for."""
    told = []
    for answer in (one, other):
        body = {k: v for k, v in answer.json().items() if k != "request_id"}
        for name in names:
            body["detail"] = body["detail"].replace(name, "NAME")
        told.append((answer.status_code, body))
    assert told[0] == told[1]
    assert told[0][0] in (404, 410)


async def predict(two: Two) -> None:
    ask = {"user_id": USER, "events": [CHARGE], "prompt": "refund the charge", "k": 5}
    async with asyncio.timeout(60):  # until the vectors are there, which are everybody's
        while (await two.b("POST", "/predict", ask)).json()["metadata"]["degraded"]:
            await asyncio.sleep(0.05)
    before = (await two.b("POST", "/predict", ask)).json()["predictions"]
    for _ in range(4):
        id_ = (await two.a("POST", "/predict", ask)).json()["prediction_id"]
        told = {
            "prediction_id": id_,
            "user_id": USER,
            "feedback": "override",
            "chosen": {"endpoint": "GET /v1/invoices"},
        }
        assert (await two.a("POST", "/feedback", told)).status_code == 202
    learnt = (await two.a("POST", "/predict", ask)).json()["predictions"]
    after = (await two.b("POST", "/predict", ask)).json()["predictions"]
    assert [(p["endpoint"], p["confidence"]) for p in after] == [(p["endpoint"], p["confidence"]) for p in before]
    assert [p["confidence"] for p in learnt] != [p["confidence"] for p in before]  # it learnt, where it should
    mine = [(await ask_("POST", "/predict", {"catalog": "shop"})).json() for ask_ in (two.a, two.b)]
    assert [[p["endpoint"] for p in m["predictions"]] for m in mine] == [["GET /a"], ["GET /b"]]
    unknown = [await two.b("POST", "/predict", {"catalog": name}) for name in (ONLY_A, "never-was")]
    same_refusal(*unknown, ONLY_A, "never-was")


async def suggest(two: Two) -> None:
    assert (await two.a("POST", "/suggest", {"catalog": "offers-of-a"})).status_code == 200
    unknown = [await two.b("POST", "/suggest", {"catalog": name}) for name in ("offers-of-a", "never-was")]
    same_refusal(*unknown, "offers-of-a", "never-was")


async def feedback(two: Two) -> None:
    id_ = (await two.a("POST", "/predict", {"user_id": USER})).json()["prediction_id"]
    told = {"user_id": USER, "feedback": "accept"}
    same_refusal(*[await two.b("POST", "/feedback", told | {"prediction_id": p}) for p in (id_, new_id())])
    assert (await two.b("POST", "/feedback", {"prediction_id": id_, "feedback": "accept"})).status_code == 404
    assert (await two.b("POST", "/feedback", told)).status_code == 404  # this user of b has no last prediction
    mine = (await two.b("POST", "/predict", {"user_id": USER})).json()["prediction_id"]
    once = {"idempotency-key": "the-same"}
    assert (await two.a("POST", "/feedback", told | {"prediction_id": id_}, **once)).status_code == 202
    answer = await two.b("POST", "/feedback", {**told, "feedback": "reject", "prediction_id": mine}, **once)
    assert answer.json() == {"prediction_id": mine, "status": "recorded"}


async def events(two: Two) -> None:
    id_ = (await two.a("POST", "/predict", {"user_id": USER, "events": [CHARGE]})).json()["prediction_id"]
    told = {"user_id": USER, "catalog": "billing", "events": [REFUND]}
    assert (await two.b("POST", "/events", told)).json()["closed"] == []
    mine = (await two.a("POST", "/events", told)).json()
    assert (mine["closed"], mine["duplicates"]) == ([id_], 0)
    unknown = [await two.b("POST", "/events", told | {"catalog": name}) for name in (ONLY_A, "never-was")]
    same_refusal(*unknown, ONLY_A, "never-was")


async def log_event(two: Two) -> None:
    shown = (await two.a("POST", "/suggest", {"catalog": "offers-of-a", "user_id": USER})).json()["suggestion_id"]
    told = {"event_type": "click", "proposition_id": "card", "user_id": USER}
    same_refusal(*[await two.b("POST", "/log_event", told | {"suggestion_id": s}) for s in (shown, new_id())])
    assert (await two.b("POST", "/log_event", told)).status_code == 404
    assert (await two.a("POST", "/log_event", told)).status_code == 202


async def list_catalogs(two: Two) -> None:
    names = [{c["name"] for c in (await ask("GET", "/catalogs")).json()["catalogs"]} for ask in (two.a, two.b)]
    assert names == [{"shop", ONLY_A, "offers-of-a"}, {"shop"}]


async def get_catalog(two: Two) -> None:
    titles = [(await ask("GET", "/catalogs/shop")).json()["title"] for ask in (two.a, two.b)]
    assert titles == ["Shop of A", "Shop of B"]
    same_refusal(*[await two.b("GET", f"/catalogs/{n}") for n in (ONLY_A, "never-was")], ONLY_A, "never-was")


async def put_catalog(two: Two) -> None:
    assert (await two.b("PUT", f"/catalogs/{ONLY_A}", spec("B's own", "/yak"))).status_code == 200
    assert (await two.a("GET", f"/catalogs/{ONLY_A}")).json()["title"] == "Secret of A"
    # The very same content under b's name, then gone again: a's stays.
    assert (await two.b("PUT", "/catalogs/copy", spec("Secret of A", "/zebra"))).status_code == 200
    assert (await two.b("DELETE", "/catalogs/copy")).status_code == 204
    assert (await two.a("POST", "/predict", {"catalog": ONLY_A})).json()["predictions"][0]["endpoint"] == "GET /zebra"


async def delete_catalog(two: Two) -> None:
    same_refusal(*[await two.b("DELETE", f"/catalogs/{n}") for n in (ONLY_A, "never-was")], ONLY_A, "never-was")
    assert (await two.b("DELETE", "/catalogs/shop")).status_code == 204
    assert (await two.a("GET", "/catalogs/shop")).json()["title"] == "Shop of A"


async def compare_models(two: Two) -> None:
    who = pseudonym("s" * 64, "a", USER)
    shown = Impression(new_id(), "a", who, "shop", "sha256:1", time.time(), ("GET /a",), experiment="trial v1 v2")
    await two.app.state.remember(shown)
    assert (await two.a("GET", "/models/compare")).json()["experiment"] == "trial v1 v2"
    assert (await two.b("GET", "/models/compare")).json()["experiments"] == []
    asked = [await two.b("GET", f"/models/compare?experiment={name}") for name in ("trial v1 v2", "never was it")]
    same_refusal(*asked)


async def cost_analytics(two: Two) -> None:
    await two.app.state.spend.settle("a", today(), 0, 5_000_000_000, {of_reason("worth"): 3})
    assert (await two.a("GET", "/cost-analytics")).json()["predictions"] == 3
    told = (await two.b("GET", "/cost-analytics")).json()
    assert (told["predictions"], told["cost_usd"], told["budget"]["used"]) == (0, 0, 0)


PROBES: dict[tuple[str, str], Callable[[Two], Awaitable[None]]] = {
    ("POST", "/predict"): predict,
    ("POST", "/suggest"): suggest,
    ("POST", "/feedback"): feedback,
    ("POST", "/events"): events,
    ("POST", "/log_event"): log_event,
    ("GET", "/catalogs"): list_catalogs,
    ("PUT", "/catalogs/{name}"): put_catalog,
    ("GET", "/catalogs/{name}"): get_catalog,
    ("DELETE", "/catalogs/{name}"): delete_catalog,
    ("GET", "/models/compare"): compare_models,
    ("GET", "/cost-analytics"): cost_analytics,
}
# These act on the service as a whole and handle no tenant's data; what they answer is the same for every operator.
OF_THE_SERVICE = {
    ("GET", "/models"),
    ("GET", "/models/{version}"),
    ("POST", "/models/rollback"),
    ("POST", "/models/{version}/promote"),
    ("POST", "/models/{version}/challenge"),
    ("DELETE", "/models/challenger"),
    ("POST", "/train"),
    ("GET", "/train/{job_id}"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
}


def test_every_route_is_either_probed_or_of_the_service():
    assert {*PROBES, *OF_THE_SERVICE} == set(ACCESS)
    assert not PROBES.keys() & OF_THE_SERVICE
    assert all(ACCESS[route] in ((), ("operator",)) for route in OF_THE_SERVICE)


@pytest.mark.parametrize("route", PROBES, ids=" ".join)
async def test_nothing_of_one_tenant_reaches_the_other(two: Two, route: tuple[str, str]):
    await PROBES[route](two)


async def test_everything_kept_is_under_its_tenant_and_names_nobody(two: Two, redis_url: str, caplog):
    with caplog.at_level("DEBUG"):
        for probe in (events, feedback, log_event, suggest, get_catalog, compare_models, predict):
            await probe(two)
    with redis.Redis.from_url(redis_url) as client:
        names = list(client.scan_iter("*"))
        values = [client.dump(name) or b"" for name in names]
    assert any(name.startswith(b"t:a:user:") for name in names)
    alone = (b"apikeys", b"inboxes", b"catalog:", b"vectors:", b"lease:")  # by content, or by no tenant
    assert not [n for n in names if not n.startswith((b"t:a:", b"t:b:", *alone))]
    assert not [n for n, v in zip(names, values, strict=True) if USER.encode() in n + v or b"example.com" in n]
    assert USER not in caplog.text
    with redis.Redis.from_url(redis_url) as client:  # these are compressed
        kept = [unpack_impression(client.get(name)).user for name in client.scan_iter("t:a:impression:*")]
        kept += [unpack_group(entry[b"group"]).impression.user for _, entry in client.xrange("t:a:inbox")]
    own = [pseudonym("s" * 64, tenant, USER).encode() for tenant in ("a", "b")]
    assert own[0] != own[1]
    assert own[0].decode() in kept
    assert set(kept) <= {own[0].decode(), "anonymous"}
    assert not [n for n in names if (n.startswith(b"t:a:") and own[1] in n) or (n.startswith(b"t:b:") and own[0] in n)]
