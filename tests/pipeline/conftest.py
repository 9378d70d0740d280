"""Two real servers, started once: the embedded one, and a shared one that is reached by TCP."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from pipeline import settings
from pipeline.stores.embedded import EmbeddedRedis, redis_server
from pipeline.stores.state import State


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def _shared_redis(folder: Path) -> Iterator[str]:
    port = _free_port()
    server = subprocess.Popen(
        [redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with contextlib.suppress(redis.ConnectionError), redis.Redis(port=port) as client:
                client.ping()
                break
            time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="session", params=["embedded", "shared"])
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a running Redis, first the embedded one, then a shared one."""
    if request.param == "embedded":
        with EmbeddedRedis.throwaway() as embedded:
            yield embedded.url
    else:
        with _shared_redis(tmp_path_factory.mktemp("redis")) as url:
            yield url


@pytest.fixture(scope="session")
def limits() -> settings.State:
    """The settings of the state, with time enough for a busy machine, and counts that do not age."""
    changes = {"timeout_s": 5.0, "connect_timeout_s": 5.0, "habit_decay": 1.0}
    return settings.load("local").state.model_copy(update=changes)


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client of the same, emptied, Redis: to look at what lies there."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
async def state(redis_url: str, server: redis.Redis, limits: settings.State) -> AsyncIterator[State]:
    state = State(limits, redis_url)
    yield state
    await state.close()
