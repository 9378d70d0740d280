"""A tier is chosen, paid and asked: in every order of failures the prediction goes on, and the count is exact."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline import generate, settings
from pipeline.candidates.route import Outlook, nano, usd
from pipeline.errors import GeneratorError, StateUnavailable
from pipeline.generate import Tier, Tiers
from pipeline.prices import Price
from pipeline.stores.spend import today
from pipeline.stores.state import State
from pipeline.types import Candidate, GroundedQuery, Proposal, Query, Source
from tests.fakes import ScriptedServer

DOUBT = Outlook(0.2, 0.1, 0.9)
QUERY = Query(Source(name="billing"), prompt="give her the money back", deadline_s=1.0)
GROUNDED = GroundedQuery(
    digest="sha256:0",
    lineage="billing",
    title="Billing",
    operations=1,
    previous=(),
    unmatched=(),
    candidates=(Candidate("GET /refunds"),),
    block=np.zeros((1, 1), np.float16),
)
PRICED = Price(usd_per_million_in=1.0, usd_per_million_cached=0.1, usd_per_million_out=4.0, usd_per_hour=0.0)
FREE = Price(usd_per_million_in=0, usd_per_million_cached=0, usd_per_million_out=0, usd_per_hour=0)
REPLY = Proposal(((0, {}, ""),), "m", tokens_in=800, tokens_cached=500, tokens_out=50)
COST = (300 + 50 + 200) / 1e6
BOUND = (1000 + 400) / 1e6


def scripted(*lines: Any) -> Callable[..., Any]:
    """A tier's ask: each line is a proposal, an error, or seconds that its reply takes; the last one for ever."""
    script = iter(lines)
    last: list[Any] = []

    async def ask(query: Query, grounded: GroundedQuery, budget_s: float) -> Proposal:
        line = next(script, None) if not last else last[0]
        if line is None:
            line = lines[-1]
            last.append(line)
        if isinstance(line, Exception):
            raise line
        if isinstance(line, float):
            try:
                async with asyncio.timeout(budget_s):
                    await asyncio.sleep(line)
            except TimeoutError:
                raise GeneratorError("late", asked=True) from None
        return REPLY

    return ask


def tier(name: str, *lines: Any, price: Price = PRICED, lift: float = 0.5, **more: Any) -> Tier:
    limits = {"tokens_in_max": 1000, "tokens_out_max": 100, "max_ongoing": 8}
    return Tier(name, scripted(*(lines or (REPLY,))), price, lift, **limits | more)


def router(**changes: Any) -> settings.Settings:
    return settings.load("local", router={"min_gain": 0.0, "breaker_open_s": 0.2} | changes)


async def ask(tiers: Tiers, query: Query = QUERY, outlook: Outlook = DOUBT, budget_s: float = 1.0) -> Any:
    return await tiers.propose(query, GROUNDED, outlook, budget_s)


@pytest.fixture
def spend(state: State) -> Any:
    return state.spend


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided is counted after ten milliseconds instead of a second."""
    monkeypatch.setattr(generate, "_FLUSH_S", 0.01)


async def counted(tiers: Tiers, spend: Any, tenant: str = "local") -> Any:
    while tiers._tasks:
        await asyncio.gather(*tiers._tasks)
    return await spend.read(tenant, today())


async def test_the_proposal_says_its_tier_and_cost_and_the_day_counts_the_same(spend):
    tiers = Tiers(router(), [tier("small")], spend)
    for _ in range(3):
        proposal, route = await ask(tiers)
    assert (proposal.tier, route.tier, route.reason, route.is_degraded) == ("small", "small", "worth", False)
    assert proposal.cost_usd == route.cost_usd == pytest.approx(COST)
    day = await counted(tiers, spend)
    assert usd(day.spent.service) == pytest.approx(3 * COST)
    assert day.tiers["small"] == {
        "asked": 3, "answered": 3, "in": 2400, "cached": 1500, "out": 150, "ms": 0, "cost": day.spent.service,
    }  # fmt: skip
    assert day.reasons == {"worth": 3}


async def test_without_a_prompt_none_is_asked_nor_where_the_query_may_cost_nothing(spend):
    tiers = Tiers(router(), [tier("small", AssertionError())], spend)
    for query, reason in (
        (msgspec.structs.replace(QUERY, prompt="  "), "history_only"),
        (msgspec.structs.replace(QUERY, max_cost_usd=0), "max_cost"),
        (msgspec.structs.replace(QUERY, max_cost_usd=BOUND * 0.99), "max_cost"),
    ):
        proposal, route = await ask(tiers, query)
        assert proposal is None
        assert (route.tier, route.reason, route.is_degraded) == ("none", reason, False)
    _, route = await ask(tiers, outlook=Outlook(1.0, 1.0, 0.0))
    assert route.reason == "not_worth"
    assert (await counted(tiers, spend)).spent.service == 0


async def test_a_service_without_tiers_decides_and_counts_nothing(spend):
    tiers = Tiers(router(), [], spend)
    assert (await ask(tiers))[1].reason == "off"
    assert not tiers._tasks


async def test_when_one_tier_fails_the_other_is_asked_in_the_time_that_is_left(spend):
    broken = tier("small", GeneratorError("the engine is not up"), lift=0.9)
    tiers = Tiers(router(), [broken, tier("large")], spend)
    proposal, route = await ask(tiers)
    assert proposal.tier == route.tier == "large"
    assert not route.is_degraded
    day = await counted(tiers, spend)
    assert usd(day.spent.service) == pytest.approx(COST)  # who was not at work is not paid
    assert (day.tiers["small"]["asked"], day.tiers["small"]["cost"]) == (1, 0)


async def test_a_late_reply_ends_at_the_deadline_and_is_counted_at_its_most(spend):
    tiers = Tiers(router(), [tier("small", 30.0)], spend)
    began = time.monotonic()
    proposal, route = await ask(tiers, budget_s=0.1)
    assert proposal is None
    assert time.monotonic() - began < 5
    assert (route.tier, route.reason, route.is_degraded) == ("none", "late", True)
    assert route.cost_usd == pytest.approx(BOUND)
    assert usd((await counted(tiers, spend)).spent.service) == pytest.approx(BOUND)


async def test_a_caller_who_goes_away_leaves_a_count_at_its_most_and_no_request(spend):
    tiers = Tiers(router(), [tier("small", 30.0)], spend)
    task = asyncio.create_task(ask(tiers, budget_s=60.0))
    while tiers.states()["small"]["ongoing"] == 0:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tiers.states()["small"] == {"breaker": "closed", "ongoing": 0, "usual_ms": 0.0}
    assert usd((await counted(tiers, spend)).spent.service) == pytest.approx(BOUND)


async def test_concurrent_predictions_never_spend_more_than_the_budget(spend):
    budget = 20 * BOUND
    replicas = [Tiers(router(daily_budget_usd=budget), [tier("small", max_ongoing=500)], spend) for _ in range(3)]
    outcomes = await asyncio.gather(*(ask(replicas[i % 3], budget_s=30.0) for i in range(150)))
    for tiers in replicas:
        day = await counted(tiers, spend)
    proposals = [proposal for proposal, _ in outcomes if proposal is not None]
    assert day.spent.service == len(proposals) * nano(COST)
    assert day.spent.service <= nano(budget)
    assert 20 <= len(proposals) < 150
    refused = {route.reason for proposal, route in outcomes if proposal is None}
    assert refused == {"budget"}
    assert day.reasons == {"worth": len(proposals), "budget": 150 - len(proposals)}


async def test_the_budget_gives_way_to_the_cheaper_tier_then_to_none_and_says_so_once(spend, caplog):
    dear = tier("large", price=Price(**PRICED.model_dump() | {"usd_per_million_in": 20.0}), lift=0.9)
    tiers = Tiers(router(daily_budget_usd=0.1, usd_per_hit=1.0), [tier("small"), dear], spend)
    asked = []
    for _ in range(100):
        proposal, route = await ask(tiers)
        asked.append(route.tier)
        await counted(tiers, spend)
        if proposal is None:
            break
    day = await counted(tiers, spend)
    changes = [one for one, before in zip(asked, [None, *asked], strict=False) if one != before]
    assert changes == ["large", "small"] or changes == ["large", "small", "none"]
    assert day.tiers["large"]["cost"] <= nano(0.09)
    assert len([record for record in caplog.records if "budget" in record.message]) == 1


async def test_without_the_state_what_has_a_price_is_not_asked_and_what_has_none_is(limits):
    away = State(limits.model_copy(update={"connect_timeout_s": 0.2, "timeout_s": 0.2}), "redis://127.0.0.1:1/0")
    assert (await ask(Tiers(router(), [tier("small")], away.spend)))[1].reason == "budget"
    assert (await ask(Tiers(router(), [tier("small", price=FREE)], away.spend)))[1].reason == "worth"
    await away.close()


async def test_a_broken_tier_is_left_alone_until_one_request_finds_it_well():
    failure = GeneratorError("broken")
    tiers = Tiers(router(), [tier("small", failure, failure, failure, failure, REPLY)])
    assert [(await ask(tiers))[1].reason for _ in range(5)] == ["failed"] * 3 + ["breaker"] * 2
    assert tiers.states()["small"]["breaker"] == "open"
    await asyncio.sleep(0.25)
    assert (await ask(tiers))[1].reason == "failed"  # one tries
    assert (await ask(tiers))[1].reason == "breaker"
    await asyncio.sleep(0.25)
    assert [(await ask(tiers))[1].reason for _ in range(3)] == ["worth"] * 3


async def test_requests_that_had_too_little_time_leave_the_breaker_closed_and_are_not_repeated():
    tiers = Tiers(router(), [tier("small", 0.2)])
    hurried = [(await ask(tiers, budget_s=0.08))[1] for _ in range(3)]
    assert [route.reason for route in hurried] == ["late", "deadline", "deadline"]  # once waited for in vain is enough
    together = await asyncio.gather(*(ask(tiers, budget_s=0.1 + n / 100) for n in range(5)))
    assert {route.reason for _, route in together} == {"late"}
    assert tiers.states()["small"]["breaker"] == "closed"
    assert (await ask(tiers))[1].reason == "worth"


async def test_a_tier_that_hangs_is_left_alone_also_where_all_have_less_time_than_usual():
    tiers = Tiers(router(), [tier("small", 0.01, 0.01, 30.0)])
    for _ in range(2):
        assert (await ask(tiers))[1].reason == "worth"
    # They have more time than any of its replies took.
    assert [(await ask(tiers, budget_s=0.15))[1].reason for _ in range(4)] == ["late"] * 3 + ["breaker"]


async def test_a_tier_that_never_answered_is_left_alone_after_requests_with_time_enough():
    tiers = Tiers(router(), [tier("small", 30.0)])
    assert [(await ask(tiers, budget_s=0.6))[1].reason for _ in range(4)] == ["late"] * 3 + ["breaker"]


async def test_a_hurried_request_that_tries_for_all_leaves_it_to_the_next():
    failure = GeneratorError("broken")
    tiers = Tiers(router(), [tier("small", failure, failure, failure, 0.2)])
    for _ in range(3):
        await ask(tiers)
    await asyncio.sleep(0.25)
    assert (await ask(tiers, budget_s=0.08))[1].reason == "late"
    assert (await ask(tiers))[1].reason == "worth"


class Forgetful:
    """A ledger whose replies to every other settlement are lost, after it is done."""

    def __init__(self, spend: Any) -> None:
        self.reserve = spend.reserve
        self._settle, self._asked = spend.settle, 0

    async def settle(self, *arguments: Any) -> Any:
        told = await self._settle(*arguments)
        self._asked += 1
        if self._asked % 2:
            raise StateUnavailable("The state does not answer.")
        return told


async def test_decisions_are_counted_once_though_the_state_did_not_say_that_they_are(spend):
    tiers = Tiers(router(), [tier("small", price=FREE)], Forgetful(spend))
    for _ in range(3):
        await ask(tiers, msgspec.structs.replace(QUERY, prompt=""))
    day = await counted(tiers, spend)
    assert day.reasons == {"history_only": 3}


async def test_a_reply_that_names_nothing_is_paid_though_the_endpoint_then_refuses(spend):
    """The tier as it is: a server that talks garbage, and has too much to do when it is asked again."""
    with ScriptedServer("I would refund it.", 429) as server:
        changes = {"url": server.url, "model": "m", "price": PRICED.model_dump()}
        loaded = settings.load("local", endpoint=changes, router={"min_gain": 0.0, "usd_per_hit": 10.0})
        made = generate.large(loaded.generator, loaded.endpoint)
        tiers = Tiers(loaded, [made], spend)
        query = msgspec.structs.replace(QUERY, max_cost_usd=1.5 * made.bound_usd(0.0))
        proposal, route = await ask(tiers, query, budget_s=10.0)
        assert len(server.asked) == 2
    assert proposal is None
    assert route.reason == "failed"
    assert route.cost_usd == pytest.approx(made.bound_usd(0.0))
    assert usd((await counted(tiers, spend)).spent.service) == pytest.approx(made.bound_usd(0.0))


async def test_above_its_requests_in_hand_a_tier_is_spared_and_the_answer_waits_for_nothing():
    tiers = Tiers(router(), [tier("small", 30.0, max_ongoing=4)])
    waiting = [asyncio.create_task(ask(tiers, budget_s=30.0)) for _ in range(4)]
    while tiers.states()["small"]["ongoing"] < 4:
        await asyncio.sleep(0.001)
    began = time.monotonic()
    _, route = await ask(tiers)
    assert (route.reason, route.is_degraded) == ("overload", True)
    assert time.monotonic() - began < 0.5
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_usually_takes_longer_than_there_is_time_is_not_asked():
    tiers = Tiers(router(), [tier("small", 0.15)])
    assert (await ask(tiers))[0] is not None
    assert [(await ask(tiers, budget_s=seconds))[1].reason for seconds in (0.1, 0.01)] == ["deadline"] * 2
    assert (await ask(tiers))[0] is not None


def test_the_tiers_of_the_settings_bound_what_a_request_can_cost():
    loaded = settings.load("local", endpoint={"url": "http://h/v1", "model": "m", "price": PRICED.model_dump()})
    made = generate.large(loaded.generator, loaded.endpoint)
    once = (loaded.endpoint.tokens_in_max + 4 * loaded.endpoint.max_tokens) / 1e6
    assert made.bound_usd(10.0) == pytest.approx(2 * once)
    hourly = loaded.generator.model_copy(update={"price": FREE.model_copy(update={"usd_per_hour": 3.6})})
    assert generate.small(hourly, scripted(REPLY)).bound_usd(0.5) == pytest.approx(0.0005)
