"""GET /cost-analytics: what language models cost on a day, and how far the day's budget goes.

Read from the state alone: every replica counts there (`pipeline/stores/spend.py`), costs at once, decisions within a
second. What the numbers decide is `pipeline/candidates/route.py`'s. Registered by `serve.ingress`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from pipeline.candidates.route import SAVE_AT, WARN_AT, usd
from pipeline.errors import BadRequest
from pipeline.prices import Router
from pipeline.stores.spend import KEPT_DAYS, Day, today
from serve import schemas
from serve.identity import tenant_of


class Ledger(Protocol):
    """The counts, as `pipeline.stores.spend.Spend` keeps them."""

    async def read(self, tenant: str, day: str) -> Day: ...


class TierCosts(pydantic.BaseModel):
    asked: int = pydantic.Field(description="Requests sent to it.")
    answered: int = pydantic.Field(description="Of them those that brought a proposal in time.")
    tokens_in: int
    tokens_cached: int = pydantic.Field(description="Of those in, what its prefix cache held.")
    tokens_out: int
    engine_s: float = pydantic.Field(description="Time of an engine of one's own, shared among its requests.")
    cost_usd: float
    cost_per_request_usd: float


class BudgetUse(pydantic.BaseModel):
    daily_usd: float
    used: float = pydantic.Field(description="Share of this tenant's part of it that is spent or reserved.")
    state: Literal["ok", "warning", "saving", "exhausted"] = pydantic.Field(
        description="warning from 75 %; saving from 90 %, the cheapest tier only; exhausted: none that has a price."
    )
    resets_at: str


class CostsResponse(pydantic.BaseModel):
    """What a day (UTC) cost, today so far."""

    model_config = pydantic.ConfigDict(
        json_schema_extra={
            "example": {
                "day": "2026-01-31",
                "cost_usd": 0.4131,
                "predictions": 2050,
                "cost_per_prediction_usd": 0.000201512,
                "budget": {
                    "daily_usd": 100.0,
                    "used": 0.0041,
                    "state": "ok",
                    "resets_at": "2026-02-01T00:00:00+00:00",
                },
                "tiers": {
                    "small": {
                        "asked": 1200,
                        "answered": 1188,
                        "tokens_in": 1063000,
                        "tokens_cached": 874000,
                        "tokens_out": 98000,
                        "engine_s": 140.2,
                        "cost_usd": 0.4131,
                        "cost_per_request_usd": 0.00034425,
                    }
                },
                "decisions": {"worth": 1188, "not_worth": 500, "history_only": 350, "late": 12},
            }
        }
    )

    day: str
    cost_usd: float = pydantic.Field(description="Of this tenant; requests at work count at the most they can cost.")
    predictions: int = pydantic.Field(description="That the router decided about.")
    cost_per_prediction_usd: float
    budget: BudgetUse
    tiers: dict[str, TierCosts]
    decisions: dict[str, int] = pydantic.Field(description="Predictions by why a tier was asked, or none.")


class Costs:
    """The handler."""

    def __init__(self, settings: Router, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger

    async def cost_analytics(self, request: Request) -> Response:
        """What language models cost today, or on the `day` asked for, by tier and per prediction; budget, decisions."""
        day = await self._ledger.read(tenant_of(request), read_day(request.query_params.get("day")))
        return Response(schemas.dump(report(day, self._settings)), media_type="application/json")


def read_day(asked: str | None) -> str:
    """The day that is asked for, today without one; raises BadRequest for one that is none, or is not kept."""
    last = datetime.date.fromisoformat(today())
    kept = [str(last - datetime.timedelta(days=ago)) for ago in range(KEPT_DAYS)]
    if asked is None:
        return kept[0]
    if asked not in kept:
        raise BadRequest(
            f"day must be one from {kept[-1]} to {kept[0]} (UTC), as YYYY-MM-DD; without it today is told."
        )
    return asked


def report(day: Day, settings: Router) -> dict[str, Any]:
    """The day as it is sent."""
    budget = settings.daily_budget_usd
    own = _used(usd(day.spent.tenant), budget * settings.tenant_share)
    used = max(own, _used(usd(day.spent.service), budget))  # of the other tenants only what it leads to is told
    spent, predictions = usd(day.spent.tenant), sum(day.reasons.values())
    tomorrow = datetime.date.fromisoformat(day.spent.day) + datetime.timedelta(days=1)
    return {
        "day": day.spent.day,
        "cost_usd": spent,
        "predictions": predictions,
        "cost_per_prediction_usd": _each(spent, predictions),
        "budget": {
            "daily_usd": budget,
            "used": round(own, 6),
            "state": "exhausted"
            if used >= 1
            else "saving"
            if used >= SAVE_AT
            else "warning"
            if used >= WARN_AT
            else "ok",
            "resets_at": datetime.datetime.combine(tomorrow, datetime.time(), datetime.UTC).isoformat(),
        },
        "tiers": {tier: _tier(counts) for tier, counts in sorted(day.tiers.items())},
        "decisions": dict(sorted(day.reasons.items(), key=lambda pair: -pair[1])),
    }


def _tier(counts: Mapping[str, int]) -> dict[str, Any]:
    cost, asked = usd(counts.get("cost", 0)), counts.get("asked", 0)
    return {
        "asked": asked,
        "answered": counts.get("answered", 0),
        "tokens_in": counts.get("in", 0),
        "tokens_cached": counts.get("cached", 0),
        "tokens_out": counts.get("out", 0),
        "engine_s": counts.get("ms", 0) / 1000,
        "cost_usd": cost,
        "cost_per_request_usd": _each(cost, asked),
    }


def _used(spent: float, limit: float) -> float:
    return spent / limit if limit else 1.0


def _each(total: float, count: int) -> float:
    return round(total / count, 9) if count else 0.0
