"""The guard over HTTP: what is refused, what is counted, what an answer says of its operations."""

from __future__ import annotations

import json

import redis

from pipeline.stores.encoding import unpack_impression
from tests.serve.conftest import App, make_app


def sql(app: App, prompt: str = "x'; DROP TABLE users; --"):
    return app.predict(catalog="billing", prompt=prompt)


async def test_attack_passes_by_default_and_is_counted(app: App):
    answer = await sql(app)
    assert answer.status_code == 200
    assert answer.json()["metadata"]["flags"] == ["sql"]
    assert app.metrics.counted["opensesame_guardrail action=passed kind=sql"] == 1


async def test_blocked_attack_is_a_400_that_says_why_and_is_counted(redis_url: str):
    maker = make_app(redis_url)
    attacks = maker.settings.guardrails.attacks.model_copy(update={"sql": "block"})
    guard = maker.settings.guardrails.model_copy(update={"attacks": attacks})
    maker.settings = maker.settings.model_copy(update={"guardrails": guard})
    async with maker as app:
        refused = await sql(app)
        assert refused.status_code == 400
        assert refused.json()["slug"] == "guardrail_refused"
        assert "SQL" in refused.json()["detail"]
        assert app.metrics.counted["opensesame_guardrail action=refused kind=sql"] == 1
        assert (await sql(app, "drop the draft from the list of invoices")).status_code == 200


async def test_operations_for_administrators_are_flagged(app: App):
    paths = {"/admin/users": {"get": {"summary": "List users"}}, "/users": {"get": {"summary": "List users"}}}
    spec = {"openapi": "3.0.0", "info": {"title": "T", "version": "1"}, "paths": paths}
    answer = (await app.predict(spec=spec, prompt="list users")).json()
    assert {p["path"]: p["flags"] for p in answer["predictions"]} == {"/admin/users": ["admin"], "/users": []}
    assert app.metrics.counted["opensesame_suspicious kind=admin"] == 1


async def test_personal_data_of_a_prompt_is_neither_stored_nor_logged(app: App, redis_url: str, caplog):
    mail, key = "ann.lee@example.com", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
    with caplog.at_level("DEBUG"):
        answer = await app.predict(catalog="billing", user_id="u-guard", prompt=f"create a customer {mail} {key}")
    assert mail in json.dumps(answer.json()["predictions"])
    with redis.Redis.from_url(redis_url) as client:
        stored = [name + (client.dump(name) or b"") for name in client.scan_iter("*")]
    assert stored
    for secret in (mail, key, "ann.lee"):
        assert secret not in caplog.text
        assert not [value for value in stored if secret.encode() in value]


async def test_nothing_of_a_prompt_is_kept_where_the_settings_say_none(redis_url: str):
    def terms() -> set[tuple[int, ...]]:
        with redis.Redis.from_url(redis_url) as client:
            return {unpack_impression(client.get(name)).terms for name in client.scan_iter("t:local:impression:*")}

    for kept in ("stems", "none"):
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        maker = make_app(redis_url)
        privacy = maker.settings.privacy.model_copy(update={"prompts": kept})
        maker.settings = maker.settings.model_copy(update={"privacy": privacy})
        async with maker as app:
            shown = (await app.predict(catalog="billing", user_id="u", prompt="refund the charge")).json()
            accepted = {"prediction_id": shown["prediction_id"], "user_id": "u", "feedback": "accept"}
            assert (await app.client.post("/feedback", json=accepted)).status_code == 202
        assert (terms() == {()}) == (kept == "none")
        with redis.Redis.from_url(redis_url) as client:
            assert bool(list(client.scan_iter("t:local:prompts:*"))) == (kept == "stems")
