"""Who may ask for what: no key, a wrong one, one without the scope, one revoked; limits, and what is told of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi
import msgspec
import pydantic
import pytest
import redis
import yaml

from pipeline import settings
from pipeline.errors import SettingsError, StateUnavailable
from pipeline.stores.apikeys import SCOPES, ApiKey, mint
from serve.identity import ACCESS
from tests.serve.conftest import App, make_app


def changed(maker: make_app, **sections: dict[str, Any]) -> make_app:
    """The same application with other settings, users' ids under a secret, and patience for a busy machine."""
    secret = pydantic.SecretStr("s" * 64)
    sections = {"privacy": {"secret": secret}, "server": {"auth": "keys"}, "state": {"timeout_s": 10.0}, **sections}
    for name, values in sections.items():
        section = getattr(maker.settings, name).model_copy(update=values)
        maker.settings = maker.settings.model_copy(update={name: section})
    return maker


@contextlib.asynccontextmanager
async def guarded(redis_url: str, **sections: dict[str, Any]) -> AsyncIterator[App]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    async with changed(make_app(redis_url), **sections) as app:
        yield app


async def key(app: App, *scopes: str, tenant: str = "acme", lives_s: float = 0.0) -> tuple[dict[str, str], ApiKey]:
    """The header of a new key, and its record."""
    presented, record = mint(tenant, scopes, lives_s=lives_s)
    await app.state.apikeys.put(record)
    return {"Authorization": f"Bearer {presented}"}, record


def inner(app: App) -> fastapi.FastAPI:
    return app.asgi._app


def routes(app: App) -> list[tuple[str, str]]:
    return [(m, r.path) for r in inner(app).routes if isinstance(r, fastapi.routing.APIRoute) for m in r.methods]


def place(path: str) -> str:
    return path.format(name="billing", version="1", job_id="x")


async def test_every_route_is_classified_and_stands_twice(app: App):
    found = routes(app)
    assert sorted(found) == sorted([*ACCESS, *((m, f"/v1{p}") for m, p in ACCESS)])
    assert {scope for scopes in ACCESS.values() for scope in scopes} == set(SCOPES)


async def test_every_route_wants_a_key_with_its_scope(redis_url: str):
    async with guarded(redis_url) as app:
        headers = {scope: (await key(app, scope))[0] for scope in SCOPES}
        for method, path in routes(app):
            wanted = ACCESS[method, path.removeprefix("/v1")]
            answer = await app.client.request(method, place(path))
            if not wanted:
                assert answer.status_code not in (401, 403), path
                continue
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "X-API-Key" in answer.json()["detail"]
            for scope in SCOPES:
                if path.endswith("/metrics") and scope in wanted:
                    continue  # asks Ray's nodes: the end-to-end test has them
                told = (await app.client.request(method, place(path), headers=headers[scope])).status_code
                assert (told not in (401, 403)) if scope in wanted else (told == 403), (path, scope, told)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer os_nonsense"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "os_nonsense"},
        {"X-API-Key": "\xff" * 40},
        {"X-API-Key": mint("acme", SCOPES)[0]},
        {"Authorization": "Bearer " + mint("acme", SCOPES)[0], "X-API-Key": "x"},
        {"Authorization": "Bearer " + "a" * 60_000},
    ],
    ids=["mistyped", "empty", "basic", "bare", "bytes", "unknown", "two", "endless"],
)
async def test_what_is_no_good_key_is_a_401_that_says_what_to_send(redis_url: str, headers: dict[str, str]):
    async with guarded(redis_url) as app:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = await app.client.get("/catalogs", headers=raw)
        assert (answer.status_code, answer.json()["slug"]) == (401, "unauthorized")
        assert "key" in answer.json()["detail"].lower()


async def test_an_unknown_an_expired_and_a_revoked_key_are_told_alike(redis_url: str):
    async with guarded(redis_url, auth={"cache_s": 0.05}) as app:
        expired, _ = await key(app, "predict", lives_s=1e-6)
        revoked, record = await key(app, "predict")
        assert (await app.client.get("/catalogs", headers=revoked)).status_code == 200
        await app.state.apikeys.remove(record.id)
        await asyncio.sleep(0.1)
        unknown = {"X-API-Key": mint("acme", ["predict"])[0]}
        told = [(await app.client.get("/catalogs", headers=h)) for h in (expired, revoked, unknown)]
        assert {a.status_code for a in told} == {401}
        assert len({a.json()["detail"] for a in told}) == 1


async def test_a_known_key_goes_on_while_the_state_is_away_and_an_unknown_one_waits(redis_url: str, monkeypatch):
    async with guarded(redis_url, auth={"cache_s": 0.01}) as app:
        headers, _ = await key(app, "predict")
        assert (await app.client.post("/predict", json={}, headers=headers)).status_code == 200

        async def away(*_: object) -> None:
            raise StateUnavailable("The state does not answer.")

        monkeypatch.setattr(app.state.apikeys, "get", away)
        await asyncio.sleep(0.05)
        assert (await app.client.post("/predict", json={}, headers=headers)).status_code == 200
        unknown = await app.client.post("/predict", json={}, headers={"X-API-Key": mint("acme", ["predict"])[0]})
        assert (unknown.status_code, unknown.json()["slug"]) == (503, "state_unavailable")


async def test_keys_of_a_file_open_and_go_with_their_line(redis_url: str, tmp_path: Path):
    file, (presented, record) = tmp_path / "keys.yaml", mint("acme", ["catalogs"])
    file.write_text(yaml.safe_dump([msgspec.to_builtins(record)]))
    async with guarded(redis_url, auth={"keys_file": str(file), "cache_s": 0.01}) as app:
        ask = {"headers": {"X-API-Key": presented}}
        assert (await app.client.get("/catalogs", **ask)).status_code == 200
        file.write_text("[]")
        await asyncio.sleep(0.05)
        assert (await app.client.get("/catalogs", **ask)).status_code == 401


async def test_a_user_who_asks_too_often_is_told_when_to_come_back_and_nobody_else_is(redis_url: str):
    async with guarded(redis_url, limits={"user_burst": 2, "user_per_minute": 0.06, "block_after": 3}) as app:
        headers, _ = await key(app, "predict")

        async def ask(user: str) -> Any:
            return await app.client.post("/predict", json={"user_id": user}, headers=headers)

        first, second, third = [await ask("ana") for _ in range(3)]
        assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
        assert first.headers["ratelimit-policy"] == '"user";q=0.06;w=60, "key";q=6000;w=60'
        assert first.headers["ratelimit"].startswith('"user";r=1;t=')
        assert third.json()["slug"] == "rate_limited"
        assert 500 < int(third.headers["retry-after"]) <= 1000  # since the first one, whatever this machine does
        assert (await ask("bo")).status_code == 200
        await ask("ana")
        blocked = await ask("ana")
        assert blocked.status_code == 429
        assert 0 < int(blocked.headers["retry-after"]) <= 300
        assert "for a while" in blocked.json()["detail"]


async def test_requests_that_cannot_be_read_count_too(redis_url: str):
    async with guarded(redis_url, limits={"key_burst": 3, "key_per_minute": 1.0}) as app:
        headers, _ = await key(app, "predict")
        told = [(await app.client.post("/predict", json={"k": 0}, headers=headers)).status_code for _ in range(4)]
        assert told == [400, 400, 400, 429]


async def test_the_limit_holds_while_the_state_is_away(redis_url: str, monkeypatch):
    async with guarded(redis_url, limits={"key_burst": 2, "key_per_minute": 1.0}) as app:
        headers, _ = await key(app, "predict")
        assert (await app.client.get("/catalogs", headers=headers)).status_code == 200

        async def away(*_: object) -> None:
            raise StateUnavailable("The state does not answer.")

        monkeypatch.setattr(app.state._quick, "script", away)
        told = [(await app.client.get("/catalogs", headers=headers)).status_code for _ in range(3)]
        assert told == [200, 200, 429]  # a bucket of its own: what Redis had counted it cannot know


async def test_without_authentication_nobody_is_counted(app: App):
    told = [(await app.client.post("/predict", json={"user_id": "ana", "k": 1})) for _ in range(25)]
    assert {a.status_code for a in told} == {200}
    assert "ratelimit" not in told[0].headers


async def test_health_tells_details_only_to_those_it_knows(redis_url: str):
    async with guarded(redis_url) as app:
        headers, _ = await key(app, "predict")
        bare = (await app.client.get("/health")).json()["components"]
        whole = (await app.client.get("/health", headers=headers)).json()["components"]
        assert set(bare["catalogs"]) == {"status"}
        assert "hits" in whole["catalogs"]


async def test_the_document_says_which_scope_opens_what(redis_url: str):
    async with guarded(redis_url) as app:
        document = (await app.client.get("/openapi.json")).json()
        assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
        for (method, path), scopes in ACCESS.items():
            operation = document["paths"][path][method.lower()]
            assert {s for told in operation.get("security", ()) for s in (*told.values(),)[0]} == set(scopes), path
            assert ("401" in operation["responses"]) == bool(scopes)


async def test_metrics_may_be_open(redis_url: str):
    async with guarded(redis_url, auth={"metrics": "open"}) as app:
        document = (await app.client.get("/openapi.json")).json()
        assert (
            "security" not in document["paths"]["/metrics"]["get"]
            or not document["paths"]["/metrics"]["get"]["security"]
        )


async def test_keys_without_a_secret_for_users_do_not_start(redis_url: str):
    maker = changed(make_app(redis_url), privacy={"secret": pydantic.SecretStr("")})
    with pytest.raises(SettingsError, match=r"privacy\.secret"):
        await maker.__aenter__()
    maker.ranker.close()
    await maker.catalogs.library.close()


@pytest.mark.parametrize(
    ("overlay", "says"),
    [
        ("server: {host: 0.0.0.0}", "auth is none"),
        ("server: {auth: jwt}", "auth.jwks, auth.issuer, auth.audience"),
        ("auth: {jwks: 'http://id.example/keys'}", "must come by https://"),
        ("server: {auth: basic}", "server.auth"),
    ],
)
def test_settings_that_would_leave_the_door_open_are_refused(tmp_path: Path, overlay: str, says: str):
    file = tmp_path / "open.yaml"
    file.write_text(overlay)
    with pytest.raises(SettingsError) as refused:
        settings.load(file)
    assert says in refused.value.detail
