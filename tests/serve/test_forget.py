"""A user who did everything a user can do is forgotten: nothing in Redis or the journal stands for them any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis

from pipeline import settings
from pipeline.stores.counts import owner_hash
from pipeline.stores.encoding import unpack_group, unpack_impression
from pipeline.stores.journal import Journal
from pipeline.stores.pseudonym import pseudonym
from tests.serve.conftest import App
from tests.serve.test_identity import guarded, key
from tests.serve.test_tenants import CHARGE, OFFERS, REFUND

USERS = ("ann@example.com", "bob@example.com")


async def live(app: App, headers: dict[str, str], user: str) -> None:
    """Predictions with and without a prompt, feedback, observed calls, a suggestion clicked, and too many requests."""

    async def ask(path: str, status: int, **body: Any) -> dict[str, Any]:
        named = {"user_id": user, **body}
        answer = await app.client.post(path, json=named, headers=headers | {"Idempotency-Key": f"{path}-{len(body)}"})
        assert answer.status_code == status, answer.text
        return answer.json()

    await ask("/predict", 200, prompt="refund the charge", events=[{"endpoint": CHARGE["endpoint"]}])
    await ask("/feedback", 202, feedback="accept")
    await ask("/predict", 200, events=[{"endpoint": CHARGE["endpoint"]}])
    await ask("/events", 202, catalog="billing", events=[CHARGE, REFUND])
    await ask("/predict", 200, prompt="list customers")
    shown = await ask("/suggest", 200, catalog="offers", context="a loan for a car")
    await ask("/log_event", 202, event_type="click", proposition_id="loan", suggestion_id=shown["suggestion_id"])
    await ask("/predict", 429)


def traces(redis_url: str, journal: Journal, user: str) -> list[str]:
    """Where something stands for the user."""
    known = pseudonym("s" * 64, "acme", user)
    signs = [user.encode(), known.encode(), owner_hash("acme", known).encode()]
    found = []
    with redis.Redis.from_url(redis_url) as client:
        for name in client.scan_iter("*"):
            data = name + (client.dump(name) or b"")
            if b":impression:" in name:
                data += unpack_impression(client.get(name)).user.encode()
            if name.endswith(b":inbox"):
                data += b"".join(unpack_group(e[b"group"]).impression.user.encode() for _, e in client.xrange(name))
            found += [name.decode()] * any(sign in data for sign in signs)
    for batch in journal.groups():
        found += ["journal"] * any(sign.decode() in str(batch.to_pylist()) for sign in signs)
    return found


async def test_nothing_of_a_forgotten_user_is_left_and_of_others_everything(redis_url: str, tmp_path: Path):
    async with guarded(redis_url, limits={"user_burst": 7, "user_per_minute": 0.01}) as app:
        headers, _ = await key(app, "predict", "feedback", "catalogs")
        assert (await app.client.put("/catalogs/offers", json=OFFERS, headers=headers)).status_code == 200
        journal = Journal.at(settings.load().journal, tmp_path)
        for user in USERS:
            await live(app, headers, user)
        await journal.drain(app.state)
        await app.client.post("/predict", json={"user_id": "carl"}, headers=headers)
        ann, bob = (traces(redis_url, journal, user) for user in USERS)
        kinds = {name.split(":")[2] for name in ann if ":" in name}
        assert {"impression", "last", "suggested", "once", "user", "prompts", "rate"} <= kinds
        assert "journal" in ann
        known = pseudonym("s" * 64, "acme", USERS[0])
        told = await journal.forget(app.state, "acme", known)
        assert told["rows"] > 0
        assert traces(redis_url, journal, USERS[0]) == []
        assert sorted(traces(redis_url, journal, USERS[1])) == sorted(bob)
