"""A service on a port, shared by the tests of clients; each finds its state empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests import live


@pytest.fixture(scope="session")
def running() -> Iterator[tuple[str, str]]:
    with live.service() as found:
        yield found


@pytest.fixture
def url(running: tuple[str, str]) -> str:
    base, state = running
    with redis.Redis.from_url(state) as client:
        client.flushall()  # what another test taught orders nothing here
    return base
