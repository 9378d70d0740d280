"""The one way to Redis: what becomes of a command that is given up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ResponseError

from pipeline import settings
from pipeline.errors import StateUnavailable
from pipeline.stores.connection import Connection


async def forgets(_: Any) -> str:
    """Answers although it was cancelled, as asyncio.wait_for of Python 3.11 may."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        return "written"
    raise AssertionError


async def test_a_cancellation_that_a_command_forgets_holds() -> None:
    connection = Connection("redis://127.0.0.1:1", settings.load("local").state, 1.0)
    task = asyncio.create_task(connection.run(forgets))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await connection.close()


async def test_a_timeout_around_a_command_that_forgets_is_one() -> None:
    connection = Connection("redis://127.0.0.1:1", settings.load("local").state, 1.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await connection.run(forgets)
    await connection.close()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("DENIED Redis is running in protected mode because no password is set.", "The state refuses: DENIED."),
        ("unknown command 'secret'", "The state refuses: ResponseError."),
    ],
)
async def test_a_refusal_is_told_by_redis_s_word_and_not_by_what_it_says_of_the_command(said: str, told: str) -> None:
    async def refused(_: Any) -> None:
        raise ResponseError(said)

    connection = Connection("redis://127.0.0.1:1", settings.load("local").state, 1.0)
    with pytest.raises(StateUnavailable) as error:
        await connection.run(refused)
    assert str(error.value) == told
    await connection.close()
