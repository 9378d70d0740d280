"""The mirror in Redis: whole or not at all, and the same through the embedded and a shared one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis

from pipeline import settings
from pipeline.errors import StateUnavailable
from pipeline.stores.mirror import Mirror, identity

pytestmark = pytest.mark.redis

ONE, TWO = "one " * 200_000, "two " * 400_000
WHO_ONE, WHO_TWO = identity("1", "aa", ONE), identity("2", "aa", TWO)


@pytest.fixture
async def mirror(redis_url: str, server: redis.Redis, limits: settings.State) -> AsyncIterator[Mirror]:
    made = Mirror(limits, redis_url)
    yield made
    await made.close()


async def test_nothing_is_there_at_first(mirror: Mirror) -> None:
    look = await mirror.look()
    assert (look.champion, look.challenger, look.beat) == (None, None, 0)
    assert await mirror.read("champion") is None


async def test_what_is_written_is_read(mirror: Mirror) -> None:
    await mirror.write("champion", WHO_ONE, ONE)
    await mirror.write("challenger", WHO_TWO, TWO)
    await mirror.beat()
    look = await mirror.look()
    assert (look.champion, look.challenger, look.beat) == (WHO_ONE, WHO_TWO, 1)
    assert await mirror.read("champion") == (WHO_ONE, ONE)
    await mirror.clear("challenger")
    assert (await mirror.look()).challenger is None


async def test_nobody_reads_half_of_one(mirror: Mirror) -> None:
    await mirror.write("champion", WHO_ONE, ONE)

    async def swap() -> None:
        for _ in range(20):
            await mirror.write("champion", WHO_TWO, TWO)
            await mirror.write("champion", WHO_ONE, ONE)

    async def look() -> None:
        for _ in range(40):
            found = await mirror.read("champion")
            assert found in ((WHO_ONE, ONE), (WHO_TWO, TWO))

    await asyncio.gather(swap(), look(), look())


async def test_what_is_no_text_or_lacks_a_field_is_no_model(mirror: Mirror, server: redis.Redis) -> None:
    server.hset("model:champion", mapping={"version": "1", "text": "x"})
    assert await mirror.read("champion") is None
    server.hset("model:champion", mapping={"sha256": b"\xff", "fingerprint": "aa", "text": b"\xff\xfe"})
    assert (await mirror.read("champion")) is not None  # refused by who checks its hash


async def test_without_redis_it_says_so(limits: settings.State) -> None:
    away = Mirror(limits, "unix:///nowhere.sock")
    with pytest.raises(StateUnavailable):
        await away.look()
