"""POST /events and POST /log_event over the application in this process."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from pipeline.stores.pseudonym import pseudonym
from pipeline.stores.state import new_id
from pipeline.types import Call, Query, Source

CHARGE = {"ts": "2026-01-31T12:00:00Z", "endpoint": "GET /v1/charges/ch_123"}
REFUND = {"ts": "2026-01-31T12:00:05Z", "endpoint": "POST /v1/refunds"}
OFFERS = [
    {"id": "insurance", "title": "Travel insurance"},
    {"id": "upgrade", "title": "Seat upgrade"},
    {"id": 7, "title": "Lounge access"},
]


def user() -> str:
    """A user that no other test knows."""
    return "user-" + new_id()


async def report(
    app: Any, events: list[dict[str, Any]], name: str, headers: Any = None, **more: Any
) -> httpx2.Response:
    body = {"user_id": name, "catalog": "billing", "events": events} | more
    return await app.client.post("/events", json=body, headers=headers or {})


async def habit(app: Any, name: str) -> dict[str, float]:
    who = pseudonym("", "local", name)
    query = Query(Source(name="billing"), calls=(Call("GET", "/v1/charges/ch_9"),), user=who)
    return dict((await app.state.recall(query)).own_followed.after("GET /v1/charges/{charge}"))


async def test_the_observed_next_call_answers_the_open_prediction_and_moves_the_counts(app):
    ana = user()
    id_ = (await app.predict(user_id=ana, catalog="billing", events=[CHARGE])).json()["prediction_id"]
    answer = await report(app, [CHARGE, {"endpoint": "GET /nowhere", "ts": "2026-01-31T12:00:01Z"}, REFUND], ana)
    assert answer.status_code == 202
    assert answer.json() == {"recorded": 3, "duplicates": 0, "unmatched": [1], "closed": [id_]}
    assert await habit(app, ana) == {"POST /v1/refunds": 1.0}
    again = await report(app, [CHARGE, REFUND], ana)
    assert again.json() == {"recorded": 0, "duplicates": 2, "unmatched": [], "closed": []}
    assert await habit(app, ana) == {"POST /v1/refunds": 1.0}
    rejected = {"prediction_id": id_, "user_id": ana, "feedback": "reject"}
    assert (await app.client.post("/feedback", json=rejected)).status_code == 409
    named = {"endpoint": "POST /v1/refunds"}
    agreed = await app.client.post("/feedback", json={**rejected, "feedback": "override", "chosen": named})
    assert agreed.json() == {"prediction_id": id_, "status": "duplicate"}


async def test_calls_of_one_instant_are_told_apart_by_what_they_ask_and_not_by_how_it_is_written(app):
    ana, ts = user(), "2026-01-31T12:00:00Z"

    async def recorded(endpoint: str, ts: str = ts, **more: Any) -> int:
        return (await report(app, [{"ts": ts, "endpoint": endpoint} | more], ana)).json()["recorded"]

    assert await recorded("GET /v1/charges?limit=5&x=1") == 1
    assert await recorded("  get   /v1/charges?x=1&limit=5 ", "2026-01-31T13:00:00+01:00") == 0
    assert await recorded("GET /v1/charges", params={"limit": 5, "x": "1"}) == 0
    assert await recorded("GET /v1/charges?limit=6&x=1") == 1
    assert await recorded("Get /v1/charges#top") == 1
    assert await recorded("GET /v1/charges") == 0
    assert await recorded("POST /v1/refunds", params={"amount": 5, "metadata": {"a": 1, "b": 2}}) == 1
    assert await recorded("POST /v1/refunds", params={"metadata": {"b": 2, "a": 1}, "amount": 5}) == 0
    assert await recorded("POST /v1/refunds", params={"amount": 6}) == 1


async def test_events_without_times_need_a_key_and_are_known_again_by_it(app):
    ana, events = user(), [{"endpoint": CHARGE["endpoint"]}, {"endpoint": REFUND["endpoint"]}]
    refused = await report(app, events, ana)
    assert (refused.status_code, "events.0.ts" in refused.json()["detail"]) == (400, True)
    headers = {"Idempotency-Key": new_id()}
    assert (await report(app, events, ana, headers)).json()["recorded"] == 2
    assert (await report(app, events, ana, headers)).json()["duplicates"] == 2
    assert (await report(app, events, ana, {"Idempotency-Key": new_id()})).json()["recorded"] == 2


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"user_id": None}, 400, "user_id"),
        ({"user_id": "anonymous"}, 400, "user_id"),
        ({"events": []}, 400, "events"),
        ({"events": [CHARGE] * 1001}, 400, "1000"),
        ({"events": [{"ts": "yesterday", "endpoint": "GET /x"}]}, 400, "events.0.ts"),
        ({"events": [{"ts": "2026-01-31", "endpoint": "FETCH /x"}]}, 400, "events.0.endpoint"),
        ({"events": "GET /x"}, 400, "events"),
        ({"spec_url": "https://example.com/a.json"}, 400, "exclude"),
        ({"catalog": "nobody-has-it"}, 404, "nobody-has-it"),
        ({"spec": {}}, 400, "spec"),
    ],
)
async def test_what_cannot_be_understood_says_what_to_mend(app, change, status, says):
    body = {"user_id": user(), "catalog": "billing", "events": [CHARGE]} | change
    answer = await app.client.post("/events", json={k: v for k, v in body.items() if v is not None})
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]


async def test_what_happened_to_a_suggestion_is_logged_once(app):
    ana = user()
    await app.client.put("/catalogs/offers-" + ana, json=OFFERS)
    shown = (await app.predict(user_id=ana, catalog="offers-" + ana, prompt="insurance")).json()
    id_ = shown["prediction_id"]

    async def log(event: str, proposition: str, headers: Any = None, **more: Any) -> httpx2.Response:
        body = {"event_type": event, "user_id": ana, "proposition_id": proposition} | more
        return await app.client.post("/log_event", json=body, headers=headers or {})

    said = [
        await log("impression", "insurance", suggestion_id=id_),
        await log("click", "insurance"),
        await log("click", "insurance", suggestion_id=id_, timestamp="2026-01-31T12:00:00Z"),
        await log("conversion", "7"),
        await log("click", "upgrade", {"Idempotency-Key": ana}),
        await log("click", "upgrade", {"Idempotency-Key": ana}),
    ]
    assert [answer.status_code for answer in said] == [202] * 6
    assert [answer.json()["status"] for answer in said] == [
        "recorded", "recorded", "duplicate", "recorded", "recorded", "duplicate"
    ]  # fmt: skip
    assert {answer.json()["suggestion_id"] for answer in said} == {id_}
    assert (await log("click", "insurance", {"Idempotency-Key": ana})).status_code == 409
    assert (await log("click", "lounge")).status_code == 400
    assert (await log("click", "insurance", suggestion_id=new_id())).status_code == 404
    assert (await log("click", "insurance", suggestion_id="nonsense")).status_code == 404
    assert (await log("stare", "insurance")).status_code == 400
    assert (await log("click", "insurance", timestamp="soon")).status_code == 400
    foreign = {"event_type": "click", "user_id": user(), "proposition_id": "7", "suggestion_id": id_}
    assert (await app.client.post("/log_event", json=foreign)).status_code == 404
    nobodys = {"event_type": "click", "proposition_id": "7"}
    assert (await app.client.post("/log_event", json=nobodys)).status_code == 400
    tally = await app.state.observed.tally("local", "offers-" + ana)
    assert tally == {
        ("impression", "SHOW /insurance"): 1,
        ("click", "SHOW /insurance"): 1,
        ("conversion", "SHOW /7"): 1,
        ("click", "SHOW /upgrade"): 1,
    }
