"""The middleware in a real FastAPI application: it records and foretells, and the application never notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import fastapi
import httpx2
import pytest

from opensesame_client import Answer, AsyncClient, Client
from opensesame_client.asgi import NextCall


def application(slow: asyncio.Event | None = None) -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.get("/v1/charges/{charge}")
    async def charge(charge: str) -> dict[str, str]:
        if slow is not None:
            await slow.wait()
        return {"id": charge}

    @app.get("/v1/broken")
    async def broken() -> None:
        raise ValueError("of the application")

    return app


def browser(app: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://app")


@pytest.fixture
async def service(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url) as client:
        yield client


async def test_calls_are_recorded_and_the_next_stands_in_the_header(service: AsyncClient, url: str) -> None:
    release, told = asyncio.Event(), list[tuple[str, Answer]]()

    def on_next(user: str, answer: Answer) -> None:
        told.append((user, answer))
        release.set()  # the application has worked for as long as the service needed

    app = NextCall(application(release), client=service, catalog="billing", on_next=on_next)
    async with browser(app) as client:
        answer = await client.get("/v1/charges/ch_9?expand=a&api_key=hidden", headers={"x-user-id": "mia"})
    assert answer.json() == {"id": "ch_9"}
    ((user, foretold),) = told
    assert user == "mia"
    assert foretold.top is not None
    assert answer.headers["x-next-call"] == foretold.top.endpoint
    assert app.latest("mia") is foretold
    await app.aclose()
    assert app.counts == {"predicted": 1, "recorded": 1}
    endpoint = app._history["mia"][0]["endpoint"]
    assert endpoint == "GET /v1/charges/ch_9?expand=a&api_key="
    with Client(url) as other:  # the service knows the call
        again = other.events(list(app._history["mia"]), user_id="mia", catalog="billing")
    assert (again.recorded, again.duplicates) == (0, 1)


async def test_whoever_is_unknown_is_not_followed(service: AsyncClient) -> None:
    app = NextCall(application(), client=service, catalog="billing")
    async with browser(app) as client:
        answer = await client.get("/v1/charges/ch_9")
    assert "x-next-call" not in answer.headers
    assert not app.counts


async def test_a_service_that_is_away_changes_nothing_for_the_application() -> None:
    async with AsyncClient("http://127.0.0.1:1", attempts=1) as away:
        app = NextCall(application(), client=away, catalog="billing")
        async with browser(app) as client:
            answers = [await client.get("/v1/charges/ch_9", headers={"x-user-id": "mia"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        await app.aclose()
    assert app.counts == {"failed": 6}


async def test_a_full_queue_drops_and_counts() -> None:
    class Never(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            await asyncio.Event().wait()
            raise AssertionError

    async with AsyncClient("http://never", transport=Never()) as client:
        app = NextCall(application(), client=client, catalog="billing", queue=2, workers=1)
        async with browser(app) as web:
            for _ in range(5):
                assert (await web.get("/v1/charges/ch_9", headers={"x-user-id": "mia"})).status_code == 200
        assert app.counts["dropped"] >= 7  # ten were to be told: one is under way, two wait
        await app.aclose()


async def test_errors_of_the_application_and_of_its_functions_stay_its_own(service: AsyncClient) -> None:
    def user(scope: Any) -> str:
        raise KeyError("session")

    app = NextCall(application(), client=service, catalog="billing", user=user)
    async with browser(app) as client:
        assert (await client.get("/v1/charges/ch_9")).status_code == 200
    assert app.counts == {"failed": 1}
    app = NextCall(application(), client=service, catalog="billing")
    async with browser(app) as client:
        with pytest.raises(ValueError, match="of the application"):
            await client.get("/v1/broken", headers={"x-user-id": "mia"})
    await app.aclose()


async def test_it_is_added_like_any_middleware_and_ends_with_the_application(service: AsyncClient) -> None:
    app = application()
    seen = list[NextCall]()

    class Kept(NextCall):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            seen.append(self)

    app.add_middleware(Kept, client=service, catalog="billing")
    sent = list[str]()
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def send(message: Any) -> None:
        sent.append(message["type"])

    lifespan = asyncio.create_task(app({"type": "lifespan", "state": {}}, inbox.get, send))
    await inbox.put({"type": "lifespan.startup"})
    async with browser(app) as client:
        await client.get("/v1/charges/ch_9", headers={"x-user-id": "lif"})
    await inbox.put({"type": "lifespan.shutdown"})
    await lifespan
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert seen[0].counts["recorded"] == 1
    assert not seen[0]._tasks
