"""The one way to Redis: what becomes of a command that is given up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeline import settings
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
