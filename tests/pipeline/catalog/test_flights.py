"""Work done once for all who wait."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.catalog.flights import Flights
from pipeline.errors import SpecInvalid


class Work:
    def __init__(self, answer: object = "done") -> None:
        self.answer = answer
        self.runs = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> object:
        self.runs += 1
        await self.may_end.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_many_share_one_run() -> None:
    flights, work = Flights(5.0, 5.0), Work()
    waiters = [asyncio.create_task(flights.join("a", work)) for _ in range(100)]
    await asyncio.sleep(0)
    work.may_end.set()
    assert await asyncio.gather(*waiters) == ["done"] * 100
    assert work.runs == 1


async def test_keys_do_not_share() -> None:
    flights, one, other = Flights(5.0, 5.0), Work(1), Work(2)
    one.may_end.set()
    other.may_end.set()
    assert await asyncio.gather(flights.join("a", one), flights.join("b", other)) == [1, 2]


async def test_cancelled_waiter_leaves_the_flight_in_the_air() -> None:
    flights, work = Flights(5.0, 5.0), Work()
    first, second = (asyncio.create_task(flights.join("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.may_end.set()
    assert await second == "done"
    assert work.runs == 1


async def test_impatient_waiter_leaves_the_flight_in_the_air() -> None:
    flights, work = Flights(5.0, 5.0), Work()
    with pytest.raises(TimeoutError):
        await flights.join("a", work, wait_s=0.01)
    work.may_end.set()
    assert await flights.join("a", work) == "done"
    assert work.runs == 1


async def test_failure_is_shared_and_forgotten() -> None:
    flights, work = Flights(5.0, 5.0), Work(SpecInvalid("bad", "#/paths"))
    waiters = [asyncio.create_task(flights.join("a", work)) for _ in range(3)]
    await asyncio.sleep(0)
    work.may_end.set()
    for failure in await asyncio.gather(*waiters, return_exceptions=True):
        assert isinstance(failure, SpecInvalid)
    work.answer = "mended"
    assert await flights.join("a", work) == "mended"
    assert work.runs == 2


async def test_failure_is_kept_for_a_while_where_asked() -> None:
    flights, work = Flights(0.2, 5.0), Work(SpecInvalid("bad"))
    work.may_end.set()
    for _ in range(3):
        with pytest.raises(SpecInvalid, match="bad"):
            await flights.join("a", work, keep_failure=True)
    assert work.runs == 1
    await asyncio.sleep(0.25)
    work.answer = "mended"
    assert await flights.join("a", work, keep_failure=True) == "mended"


async def test_failure_that_outlived_its_waiters_is_told_to_who_comes_back() -> None:
    flights, work = Flights(5.0, slow_s=0.05), Work(SpecInvalid("bad"))
    with pytest.raises(TimeoutError):
        await flights.join("a", work, wait_s=0.06)
    work.may_end.set()
    await asyncio.sleep(0.01)
    with pytest.raises(SpecInvalid):
        await flights.join("a", work)
    assert work.runs == 1


async def test_close_ends_what_is_in_the_air() -> None:
    flights, work = Flights(5.0, 5.0), Work()
    waiter = asyncio.create_task(flights.join("a", work))
    await asyncio.sleep(0)
    await flights.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_closing_ends_a_flight_that_lost_its_cancellation() -> None:
    flights, deaf = Flights(failure_kept_s=10, slow_s=10), True

    async def work() -> None:
        nonlocal deaf
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if not deaf:
                    raise
                deaf = False

    task = flights.start("key", work)
    await asyncio.sleep(0)
    await flights.close()
    assert task.cancelled()
    assert not deaf
