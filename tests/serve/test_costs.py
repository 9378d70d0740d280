"""GET /cost-analytics and the cost of a prediction: what the router decided, and what was spent."""

from __future__ import annotations

import asyncio
import datetime

import pytest

from pipeline.prices import Price
from pipeline.stores.spend import KEPT_DAYS, Day, Spent, of_reason, today
from pipeline.types import Proposal
from serve.costs import CostsResponse, report
from tests.serve.conftest import App, make_app

REFUND = {"events": [{"endpoint": "GET /v1/charges/ch_123"}], "prompt": "refund the charge", "catalog": "billing"}
PRICE = {"usd_per_million_in": 1.0, "usd_per_million_cached": 0.1, "usd_per_million_out": 4.0, "usd_per_hour": 3600.0}
COST = (300 + 60 + 200) / 1e6 + 0.002


async def proposes(*_: object) -> Proposal:
    return Proposal(((0, {}, ""),), "tiny", tokens_in=900, tokens_cached=600, tokens_out=50, engine_s=0.002)


def priced(redis_url: str, **router: float) -> make_app:
    """The application with a generator that has a price."""
    made = make_app(redis_url, generator=True)
    part = made.settings.generator.model_copy(update={"price": Price(**PRICE)})
    limits = made.settings.router.model_copy(update={"min_gain": 0.0, "usd_per_hit": 1000.0, **router})
    made.settings = made.settings.model_copy(update={"generator": part, "router": limits})
    return made


async def costs(app: App) -> dict:
    """The day as it is told, once everything is counted."""
    async with asyncio.timeout(30):
        while True:
            told = (await app.client.get("/v1/cost-analytics")).json()
            if told.get("predictions"):
                return told
            await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def empty(redis_url: str) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.flushall()


async def test_a_prediction_tells_its_cost_and_the_day_adds_it_up(redis_url: str):
    async with priced(redis_url) as app:
        app.generator.propose = proposes
        metadata = (await app.predict(**REFUND)).json()["metadata"]
        assert metadata["route"]["tier"] == metadata["generator"]["tier"] == "small"
        assert metadata["route"]["cost_usd"] == metadata["generator"]["cost_usd"] == pytest.approx(COST)
        await app.predict(events=REFUND["events"], catalog="billing")
        told = await costs(app)
        assert set(told) == set(CostsResponse.model_fields)
        assert told["cost_usd"] == pytest.approx(COST)
        assert told["cost_per_prediction_usd"] == pytest.approx(COST / 2, abs=1e-9)
        assert told["decisions"] == {"worth": 1, "history_only": 1}
        assert told["tiers"]["small"] == {
            "asked": 1, "answered": 1, "tokens_in": 900, "tokens_cached": 600, "tokens_out": 50, "engine_s": 0.002,
            "cost_usd": pytest.approx(COST), "cost_per_request_usd": pytest.approx(COST),
        }  # fmt: skip
        assert told["budget"]["used"] == pytest.approx(COST / 100, abs=1e-6)
        assert app.metrics.counted["opensesame_route decision=worth tier=small"] == 1
        assert app.metrics.counted["opensesame_cost_usd"] == pytest.approx(COST)
        assert app.metrics.followed["opensesame_tier_up tier=small"]() == 1


async def test_a_budget_that_is_used_up_asks_nobody_and_degrades_nothing(redis_url: str):
    async with priced(redis_url, daily_budget_usd=0.0) as app:
        metadata = (await app.predict(**REFUND)).json()["metadata"]
        assert metadata["route"] == {
            "tier": "none",
            "reason": "budget",
            "gain": pytest.approx(0.1, abs=0.1),
            "cost_usd": 0,
        }
        assert metadata["degraded"] in ([], ["embedding"])
        assert (await costs(app))["budget"]["state"] == "exhausted"


async def test_another_day_is_told_as_long_as_it_is_kept(redis_url: str):
    now = datetime.date.fromisoformat(today())
    before = str(now - datetime.timedelta(days=30))
    async with priced(redis_url) as app:
        await app.state.spend.settle("local", before, 0, 2_000_000_000, {of_reason("worth"): 4})
        told = (await app.client.get("/cost-analytics", params={"day": before})).json()
        assert (told["day"], told["cost_usd"], told["cost_per_prediction_usd"]) == (before, 2.0, 0.5)
        assert told["decisions"] == {"worth": 4}
        for same in ({}, {"day": str(now)}):
            told = (await app.client.get("/v1/cost-analytics", params=same)).json()
            assert (told["day"], told["cost_usd"]) == (str(now), 0.0)


@pytest.mark.parametrize("day", ["", "yesterday", "20260131", "2026-02-30", "2026-W05-6", "0001-01-01", "9999-12-31"])
async def test_a_day_that_is_none_or_is_not_kept_is_refused_with_those_that_are(redis_url: str, day: str):
    async with priced(redis_url) as app:
        answer = await app.client.get("/cost-analytics", params={"day": day})
    assert answer.status_code == 400
    first = datetime.date.fromisoformat(today()) - datetime.timedelta(days=KEPT_DAYS - 1)
    assert f"from {first} to {today()} (UTC), as YYYY-MM-DD" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("service", "tenant", "state", "used"),
    [
        (0, 0, "ok", 0.0),
        (7, 1, "ok", 0.2),
        (7.5, 1, "warning", 0.2),
        (3, 4.5, "saving", 0.9),
        (10, 0, "exhausted", 0.0),
    ],
)
def test_the_budget_is_told_as_the_tenants_own_share_and_what_all_of_it_leads_to(service, tenant, state, used):
    settings = make_app("unix:///none").settings.router.model_copy(
        update={"daily_budget_usd": 10.0, "tenant_share": 0.5}
    )
    told = report(Day(Spent("2026-01-31", int(service * 1e9), int(tenant * 1e9)), {}, {}), settings)
    assert (told["budget"]["state"], told["budget"]["used"]) == (state, used)
    assert told["budget"]["resets_at"] == "2026-02-01T00:00:00+00:00"
    assert CostsResponse.model_validate(told)
