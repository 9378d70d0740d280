"""Whatever a client sends, no route answers 5xx, and each answers as our own OpenAPI document tells: schemathesis over
that document, with and without a key."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator

import httpx2
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.stores.apikeys import SCOPES, ApiKey, mint
from tests.e2e.conftest import free_port
from tests.serve.conftest import make_app
from tests.serve.test_identity import changed
from tests.told import UNTOLD

TOLD = [status_code_conformance, content_type_conformance, response_schema_conformance, response_headers_conformance]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def key() -> tuple[str, ApiKey]:
    return mint("acme", SCOPES)


@pytest.fixture(scope="module")
def url(redis_url: str, key: tuple[str, ApiKey]) -> Iterator[str]:
    """The application behind a real HTTP server; it knows the key, and counts without ever refusing."""
    port, started, box = free_port(), threading.Event(), {}

    async def main() -> None:
        many = {"user_per_minute": 1e9, "user_burst": 10**6, "key_per_minute": 1e9, "key_burst": 10**6}
        async with changed(make_app(redis_url), limits=many) as app:
            await app.state.apikeys.put(key[1])
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


def test_no_request_makes_the_service_fail(url: str, key: tuple[str, ApiKey], request: pytest.FixtureRequest) -> None:
    times = request.config.getoption("--fuzz")
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    asked, ways = dict.fromkeys(("2xx", "4xx", "401"), 0), itertools.count()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == "/metrics":  # asks Ray's nodes: the end-to-end test has them
            continue

        @given(case=operation.as_strategy())
        @limits(
            max_examples=100 * times,
            deadline=None,
            derandomize=times == 1,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case) -> None:
            if next(ways) % 10:  # a tenth comes with whatever credential was made up
                case.headers = {**(case.headers or {}), "X-API-Key": key[0]}
                case.headers.pop("Authorization", None)
            answer = case.call(timeout=60)
            if answer.status_code == 503 and answer.json()["slug"] == "registry_unavailable":
                return  # there is none here
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            if answer.status_code < 400 or answer.json()["slug"] not in UNTOLD:
                case.validate_response(answer, checks=TOLD)
            asked["401" if answer.status_code == 401 else f"{answer.status_code // 100}xx"] += 1
            if answer.status_code >= 400:
                assert answer.json()["detail"]

        ask()
    assert asked["2xx"] > 20, asked  # not everything is refused at the door
    assert asked["4xx"] > 20, asked
    assert asked["401"] > 20, asked
    print(asked)
