"""What is spent: whole numbers, exact whoever counts at the same time, never over a budget."""

from __future__ import annotations

import asyncio
import random
import urllib.parse

import pytest

from pipeline.errors import StateUnavailable
from pipeline.stores.spend import Spend, of_reason, of_tier, today
from pipeline.stores.state import State

CENT = 10_000_000  # billionths of a dollar


async def test_a_reservation_counts_until_its_cost_is_known(state: State):
    granted, spent = await state.spend.reserve("ana", 3 * CENT, 10 * CENT, 10 * CENT)
    assert granted
    assert (spent.service, spent.tenant) == (3 * CENT, 3 * CENT)
    counted = {of_tier("small", "asked"): 1, of_tier("small", "cost"): CENT}
    spent = await state.spend.settle("ana", spent.day, 3 * CENT, CENT, counted)
    assert (spent.service, spent.tenant) == (CENT, CENT)
    day = await state.spend.read("ana", spent.day)
    assert day.tiers == {"small": {"asked": 1, "cost": CENT}}
    assert day.spent == spent


async def test_concurrent_requests_of_many_replicas_never_overrun_the_budget(
    redis_url: str, server: object, limits: object
):
    """200 requests at once through four replicas, each of which costs less than it reserved."""
    replicas = [State(limits, redis_url) for _ in range(4)]  # type: ignore[arg-type]
    budget, amount = 10 * CENT, CENT
    chance, highest, refused = random.Random(5), 0, 0
    costs: list[int] = []

    async def request(spend: Spend, tenant: str) -> None:
        nonlocal highest, refused
        await asyncio.sleep(chance.random() / 20)
        granted, spent = await spend.reserve(tenant, amount, budget, budget)
        highest = max(highest, spent.service)
        if not granted:
            refused += 1
            return
        await asyncio.sleep(chance.random() / 50)
        cost = chance.randrange(amount // 2, amount + 1)
        costs.append(cost)
        after = await spend.settle(tenant, spent.day, amount, cost, {of_tier("small", "asked"): 1})
        highest = max(highest, after.service)

    await asyncio.gather(*(request(replicas[i % 4].spend, f"tenant-{i % 3}") for i in range(200)))
    days = [await replicas[0].spend.read(f"tenant-{i}", today()) for i in range(3)]
    for replica in replicas:
        await replica.close()
    assert highest <= budget
    assert refused > 0
    assert refused + len(costs) == 200
    assert days[0].spent.service == sum(costs) == sum(day.spent.tenant for day in days)
    assert sum(day.tiers["small"]["asked"] for day in days) == len(costs)


async def test_a_tenant_has_a_limit_of_its_own(state: State):
    assert (await state.spend.reserve("ana", 3 * CENT, 10 * CENT, 4 * CENT))[0]
    assert not (await state.spend.reserve("ana", 3 * CENT, 10 * CENT, 4 * CENT))[0]
    assert (await state.spend.reserve("bo", 3 * CENT, 10 * CENT, 4 * CENT))[0]


async def test_decisions_are_counted_by_reason_and_the_day_is_kept_for_a_while(state: State, server):
    await state.spend.settle("ana", "2026-01-31", 0, 0, {of_reason("not_worth"): 7})
    await state.spend.settle("ana", "2026-01-31", 0, 0, {of_reason("not_worth"): 1, of_reason("worth"): 2})
    day = await state.spend.read("ana", "2026-01-31")
    assert day.reasons == {"not_worth": 8, "worth": 2}
    assert day.tiers == {}
    assert 30 * 86_400 < server.ttl("t:ana:cost:2026-01-31") <= 40 * 86_400
    assert (await state.spend.read("ana", "2026-02-01")).spent.tenant == 0


class Lossy:
    """A way to Redis that loses the reply of a script, once it is done, when told to; the next one is answered."""

    def __init__(self, url: str) -> None:
        self._url = urllib.parse.urlsplit(url)
        self.loses = False
        self.lost = 0

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._url.scheme == "unix":
            answers, commands = await asyncio.open_unix_connection(self._url.path)
        else:
            answers, commands = await asyncio.open_connection(self._url.hostname, self._url.port)
        while command := await reader.read(1 << 16):
            commands.write(command)
            answer = await answers.read(1 << 16)  # one command at a time is in hand, and what it answers is short
            if self.loses and b"EVALSHA" in command:
                self.loses, self.lost = False, self.lost + 1
                break
            writer.write(answer)
        writer.close()
        commands.close()


async def test_what_the_connection_sends_twice_moves_the_count_once(redis_url, server, limits):
    lossy = Lossy(redis_url)
    async with lossy as url:
        state = State(limits, url)
        counted = {of_tier("small", "asked"): 1, of_tier("small", "cost"): CENT, of_reason("worth"): 1}
        for _ in range(2):  # the first round has the scripts loaded
            granted, spent = await state.spend.reserve("ana", 6 * CENT, 8 * CENT, 8 * CENT)
            assert (granted, lossy.lost) == (True, 0)
            await state.spend.settle("ana", spent.day, 6 * CENT, CENT, counted)
        lossy.loses = True
        granted, spent = await state.spend.reserve("ana", 6 * CENT, 8 * CENT, 8 * CENT)
        assert (granted, spent.service, lossy.lost) == (True, 8 * CENT, 1)
        lossy.loses = True
        spent = await state.spend.settle("ana", spent.day, 6 * CENT, CENT, counted)
        assert (spent.service, spent.tenant, lossy.lost) == (3 * CENT, 3 * CENT, 2)
        day = await state.spend.read("ana", spent.day)
        await state.close()
    assert day.tiers == {"small": {"asked": 3, "cost": 3 * CENT}}
    assert day.reasons == {"worth": 3}


async def test_a_settlement_is_done_once_under_its_token(state: State, server):
    for _ in range(3):
        await state.spend.settle("ana", "2026-01-31", 0, CENT, {of_reason("worth"): 2}, "once")
    day = await state.spend.read("ana", "2026-01-31")
    assert (day.spent.service, day.reasons) == (CENT, {"worth": 2})
    assert 0 < server.ttl("t:ana:cost:2026-01-31:once") <= 600


async def test_without_redis_nothing_is_granted(limits):
    away = State(limits.model_copy(update={"connect_timeout_s": 0.2, "timeout_s": 0.2}), "redis://127.0.0.1:1/0")
    with pytest.raises(StateUnavailable):
        await away.spend.reserve("ana", CENT, 10 * CENT, 10 * CENT)
    await away.close()
