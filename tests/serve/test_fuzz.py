"""Whatever a client sends, no route answers 5xx: schemathesis over our own OpenAPI document."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import httpx2
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given
from hypothesis import settings as limits

from tests.e2e.conftest import free_port
from tests.serve.conftest import make_app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    """The application behind a real HTTP server."""
    port, started, box = free_port(), threading.Event(), {}

    async def main() -> None:
        async with make_app(redis_url) as app:
            config = uvicorn.Config(app.asgi, port=port, log_level="error", lifespan="off")
            box["server"] = uvicorn.Server(config)
            started.set()
            await box["server"].serve()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    started.wait(30)
    address = f"http://127.0.0.1:{port}"
    while not box["server"].started or httpx2.get(f"{address}/ready", trust_env=False).status_code != 200:
        threading.Event().wait(0.05)
    yield address
    box["server"].should_exit = True
    thread.join(30)


def test_no_request_makes_the_service_fail(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    asked = dict.fromkeys(("2xx", "4xx"), 0)
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == "/metrics":  # asks Ray's nodes: the end-to-end test has them
            continue

        @given(case=operation.as_strategy())
        @limits(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def ask(case) -> None:
            answer = case.call(timeout=60)
            if answer.status_code == 503 and answer.json()["slug"] == "registry_unavailable":
                return  # there is none here
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            asked[f"{answer.status_code // 100}xx"] += 1
            if answer.status_code >= 400:
                assert answer.json()["detail"]

        ask()
    assert asked["2xx"] > 20, asked  # not everything is refused at the door
    assert asked["4xx"] > 20, asked
