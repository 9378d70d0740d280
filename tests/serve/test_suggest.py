"""POST /suggest over HTTP, from the words of a context to what is learnt of a click; and the comparison of arms."""

from __future__ import annotations

import pytest

from pipeline.stores.state import new_id
from serve.suggest import prompt_of

OFFERS = [
    {"id": "home", "title": "Home insurance", "category": "insurance"},
    {"id": "car", "title": "Car insurance", "category": "insurance"},
    {"id": "saver", "title": "Savings account", "category": "savings"},
]


async def suggest(app, **body):
    return await app.client.post("/suggest", json=body)


async def test_an_answer_has_the_promised_form(app):
    answer = await suggest(app, user_id="ana", context="a mortgage for my first home", limit=3, device="mobile")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert len(body["propositions"]) == 3
    assert all(set(p) == {"id", "title", "confidence", "reason"} for p in body["propositions"])
    assert "mortgage-first" in [p["id"] for p in body["propositions"]]
    assert (body["served_by"], len(body["suggestion_id"])) == ("ranker", 26)
    assert body["latency_ms"] > 0
    assert body["metadata"]["experiment"] == {"arm": "champion"}


async def test_nothing_needs_to_be_said(app):
    body = (await suggest(app)).json()
    assert len(body["propositions"]) == 5
    assert all(p["reason"] for p in body["propositions"])


async def test_an_uploaded_list_is_suggested_from_by_the_words_of_an_object(app):
    await app.client.put("/catalogs/our-offers", json=OFFERS)
    context = {"page": {"title": "Insurance", "id": "p-77"}, "user_email": "saver@home.example", "car": True}
    body = (await suggest(app, catalog="our-offers", context=context, context_type="detail", limit=10)).json()
    assert body["propositions"][0]["id"] == "car"
    assert (len(body["propositions"]), body["metadata"]["propositions"]) == (3, 3)
    counted = app.metrics.counted
    assert counted["opensesame_suggestions context_type=detail device=web filled=full"] == 1
    assert counted["opensesame_propositions_shown"] == 3


async def test_clicks_and_conversions_are_learnt_and_counted(app):
    name, user = f"offers-{new_id()}", f"user-{new_id()}"
    await app.client.put(f"/catalogs/{name}", json=OFFERS)
    ask = {"user_id": user, "catalog": name, "limit": 3}
    before = (await suggest(app, **ask)).json()
    last = before["propositions"][-1]["id"]
    for _ in range(4):
        id_ = (await suggest(app, **ask)).json()["suggestion_id"]
        for event in ("impression", "click", "conversion"):
            told = {"event_type": event, "user_id": user, "proposition_id": last, "suggestion_id": id_}
            assert (await app.client.post("/log_event", json=told)).status_code == 202
    after = (await suggest(app, **ask)).json()
    assert after["propositions"][0]["id"] == last
    counted = app.metrics.counted
    assert [counted[f"opensesame_feedback outcome={event}"] for event in ("impression", "click", "conversion")] == [
        4
    ] * 3
    tally = await app.state.observed.tally("local", name)
    assert tally["click", f"SHOW /{last}"] == 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"limit": 0}, "limit must be between 1 and 100"),
        ({"limit": 101}, "limit must be between 1 and 100"),
        ({"limit": "3"}, "limit"),
        ({"device": "d" * 65}, "device"),
        ({"device": None}, "device"),
        ({"context_type": "c" * 65}, "context_type"),
        ({"context_type": "a\u0000b"}, "context"),
        ({"context": 5}, "context"),
        ({"context": "x" * 5000}, "at most 4096"),
        ({"k": 3}, "k: there is no such field"),
        ({"user_id": ""}, "user_id"),
        ({"catalog": "billing"}, "holds operations"),
    ],
)
async def test_what_cannot_be_answered_is_400_and_says_why(app, body, says):
    answer = await suggest(app, **body)
    assert (answer.status_code, answer.json()["slug"]) == (400, "bad_request"), answer.text
    assert says in answer.json()["detail"]


async def test_an_unknown_catalog_is_404_and_two_users_are_400(app):
    assert (await suggest(app, catalog="nobody-has-it")).status_code == 404
    answer = await app.client.post("/suggest", json={"user_id": "a"}, headers={"X-User-ID": "b"})
    assert answer.status_code == 400


async def test_the_same_is_answered_under_v1(app):
    assert (await app.client.post("/v1/suggest", json={"limit": 1})).status_code == 200


async def test_no_answer_has_more_than_a_prediction_may_have(app):
    await app.client.put("/catalogs/many", json=[{"id": f"o{i}", "title": f"Offer {i}"} for i in range(120)])
    body = (await suggest(app, catalog="many", limit=100)).json()
    assert (len(body["propositions"]), body["metadata"]["propositions"]) == (50, 120)


@pytest.mark.parametrize(
    ("context", "prompt"),
    [
        (None, ""),
        ("car loan", "car loan"),
        ({"query": "car loan", "page": 2, "session_id": "abc", "userId": "zed"}, "car loan"),
        ({"interests": ["travel", "travel", "ski"], "newCustomer": True, "vip": False}, "travel. ski. new customer"),
        ({"url": "https://x.example/loans", "text": "see https://x.example/a now"}, "see now"),
        ({"a": {"b": {"c": "deep words"}}, "ref": "9f86d081884c7d659a2feaa0c55ad015"}, "deep words"),
        ({"x": "word " * 20, "y": "no more"}, "word " * 10),
    ],
)
def test_the_words_of_a_context(context, prompt):
    assert prompt_of(context, 50) == prompt


async def test_arms_are_compared_from_the_state_alone(app):
    nothing = (await app.client.get("/models/compare?experiment=none 1 2")).json()
    assert nothing["slug"] == "not_found"
    await app.state.connection.run(
        lambda redis: redis.hset(
            "t:local:arms:ranker 1 2",
            mapping={
                f"{arm}\x1f{what}": n
                for arm, good in (("champion", 30), ("challenger", 75))
                for what, n in (("answered", 200), ("accepted", good))
            },
        )
    )
    await app.state.connection.run(lambda redis: redis.zadd("t:local:experiments", {"ranker 1 2": 1e9}))
    answer = await app.client.get("/models/compare", params={"experiment": "ranker 1 2"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["champion"], body["challenger"]) == ("1", "2")
    acceptance = body["differences"][0]
    assert (acceptance["measure"], acceptance["verdict"]) == ("acceptance", "challenger")
    assert acceptance["difference"] == pytest.approx(0.225)
