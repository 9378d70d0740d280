"""What generators cost: one hash a day (UTC) for the service, one for each tenant, in billionths of a dollar.

Whole numbers, moved by scripts: concurrent requests of many replicas never overrun a budget. A request first reserves
the most it can cost; `spent` holds reservations and settled costs alike, so that one whose process died, or whose cost
nobody learnt, stays counted at its most. A request that the connection sends twice, as its reply was lost, moves
nothing twice: each has a token that is kept for a while. Used by `pipeline/generate.py` through `State.spend`.

    spent                                    of the service and of the tenant; what follows, of the tenant only
    {tier} U+001F asked, answered            requests sent, and those that brought a proposal
    {tier} U+001F in, cached, out, ms, cost  their tokens, milliseconds of the engine, and what they cost
    U+001F {reason}                          predictions by why a tier was asked, or none
"""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from pipeline.stores import lua
from pipeline.stores.connection import Connection
from pipeline.stores.counts import SEPARATOR
from pipeline.stores.keys import key

KEPT_DAYS = 40  # a month can be looked back at
_KEPT_S = KEPT_DAYS * 86_400
_ONCE_S = 600  # a token is kept so long: a request is repeated at once, or when Redis is back
_BUDGET_MAX = 2**52  # billionths; Lua counts in doubles


@dataclasses.dataclass(frozen=True, slots=True)
class Spent:
    """Billionths of a dollar spent or reserved on a day."""

    day: str
    service: int = 0
    tenant: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Day:
    """All that was counted for a tenant on a day."""

    spent: Spent
    tiers: Mapping[str, Mapping[str, int]]  # tier -> what -> how much
    reasons: Mapping[str, int]


class Spend:
    """The ledger of every replica; each method is one round trip and may raise StateUnavailable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def reserve(self, tenant: str, amount: int, most: int, tenant_most: int) -> tuple[bool, Spent]:
        """Whether `amount` was reserved, which keeps the day's spend within both limits, and what is spent now."""
        day = today()
        limits = [min(most, _BUDGET_MAX), min(tenant_most, _BUDGET_MAX)]
        granted, *spent = await self._connection.script(
            lua.RESERVE, _keys(tenant, day, uuid.uuid4().hex), [min(amount, _BUDGET_MAX), *limits, _KEPT_S, _ONCE_S]
        )
        return bool(granted), Spent(day, *spent)

    async def settle(
        self, tenant: str, day: str, reserved: int, cost: int, counted: Mapping[str, int], token: str = ""
    ) -> Spent:
        """Put what a request of `day` really cost in place of what it reserved, and count the rest.

        Under the same `token` this is done once: whoever cannot tell whether it was done may try again.
        """
        moves = [part for pair in counted.items() for part in pair]
        keys = _keys(tenant, day, token or uuid.uuid4().hex)
        spent = await self._connection.script(lua.SETTLE, keys, [cost - reserved, _KEPT_S, _ONCE_S, *moves])
        return Spent(day, *spent)

    async def read(self, tenant: str, day: str) -> Day:
        """All that is known of a day."""

        async def ask(redis: Redis) -> list[Any]:
            service, own = _days(tenant, day)
            pipe = redis.pipeline(transaction=False)
            pipe.hget(service, "spent")
            pipe.hgetall(own)
            return await pipe.execute()

        service, fields = await self._connection.run(ask)
        tiers: dict[str, dict[str, int]] = {}
        reasons: dict[str, int] = {}
        for field, amount in fields.items():
            tier, is_part, what = field.decode().partition(SEPARATOR)
            if is_part and tier:
                tiers.setdefault(tier, {})[what] = int(amount)
            elif is_part:
                reasons[what] = int(amount)
        return Day(Spent(day, int(service or 0), int(fields.get(b"spent", 0))), tiers, reasons)


def today() -> str:
    """The day that is counted now, YYYY-MM-DD in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def of_tier(tier: str, what: str) -> str:
    return f"{tier}{SEPARATOR}{what}"


def of_reason(reason: str) -> str:
    return f"{SEPARATOR}{reason}"


def _days(tenant: str, day: str) -> list[str]:
    return [key("cost", day), key("t", tenant, "cost", day)]


def _keys(tenant: str, day: str, token: str) -> list[str]:
    return [*_days(tenant, day), key("t", tenant, "cost", day, token)]
