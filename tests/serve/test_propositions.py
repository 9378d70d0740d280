"""Propositions over HTTP: uploaded as a list, asked for, answered and accepted by their ids."""

from __future__ import annotations

import pytest

OFFERS = [
    {"id": "home", "title": "Home insurance", "category": "insurance"},
    {"id": "car", "title": "Car insurance", "category": "insurance"},
    {"id": "saver", "title": "Savings account", "category": "savings"},
    {"id": "bye", "title": "Cancel your contract", "category": "service"},
]


@pytest.fixture
async def offers(app):
    answer = await app.client.put("/catalogs/our-offers", json=OFFERS)
    assert answer.status_code == 200, answer.text
    assert answer.json()["operations"] == 4
    return app


async def test_a_list_is_uploaded_shown_and_ranked(offers):
    shown = (await offers.client.get("/catalogs/our-offers")).json()["endpoints"]
    assert [(row["endpoint"], row["summary"]) for row in shown][:2] == [
        ("home", "Home insurance"),
        ("car", "Car insurance"),
    ]
    body = (await offers.predict(catalog="our-offers", prompt="car insurance", k=1)).json()
    (best,) = body["predictions"]
    assert (best["id"], best["title"], best["endpoint"]) == ("car", "Car insurance", "car")
    assert (best["method"], best["path"], best["operation_id"], best["params"]) == (None, None, None, {})
    assert "'car' and 'insurance' are in its title" in best["reason"]
    assert not best["is_destructive"]


async def test_events_and_feedback_name_them_by_id(offers):
    ask = {"catalog": "our-offers", "events": [{"endpoint": "home"}], "user_id": "ana", "k": 4}
    body = (await offers.predict(**ask)).json()
    assert body["metadata"]["unmatched"] == []
    assert body["metadata"]["cold_start"] is False
    assert body["predictions"][0]["id"] == "car"
    chosen = {"prediction_id": body["prediction_id"], "user_id": "ana", "feedback": "override"}
    receipt = await offers.client.post("/feedback", json={**chosen, "chosen": {"endpoint": "saver"}})
    assert receipt.status_code == 202, receipt.text
    unknown = (await offers.predict(**ask, prompt="car")).json()["prediction_id"]
    refused = await offers.client.post(
        "/feedback", json={**chosen, "prediction_id": unknown, "chosen": {"endpoint": "nothing"}}
    )
    assert refused.status_code == 400


async def test_with_nothing_known_the_start_is_cold(offers):
    metadata = (await offers.predict(catalog="our-offers")).json()["metadata"]
    assert (metadata["cold_start"], metadata["model_version"]) == (True, "cold-start")


async def test_an_inline_list_will_do(app):
    body = (await app.predict(spec=OFFERS, prompt="savings account", k=1)).json()
    assert body["predictions"][0]["id"] == "saver"
    assert (await app.predict(spec={"propositions": OFFERS}, k=1)).json()["predictions"][0]["id"] == "home"


@pytest.mark.parametrize("spec", [[], [1], 5])
async def test_an_inline_spec_of_another_kind_is_400(app, spec):
    assert (await app.predict(spec=spec)).status_code == 400


async def test_a_malformed_list_is_422_with_its_place(app):
    answer = await app.client.put("/catalogs/bad", json=[*OFFERS, {"id": "x y", "title": "T"}])
    assert (answer.status_code, answer.json()["slug"]) == (422, "spec_invalid")
    assert "#/4: `id` must have" in answer.json()["detail"]


async def test_an_id_as_an_event_of_an_api_is_400(app):
    answer = await app.predict(catalog="billing", events=[{"endpoint": "home"}])
    assert (answer.status_code, answer.json()["slug"]) == (400, "bad_request")
    assert "METHOD /path" in answer.json()["detail"]
