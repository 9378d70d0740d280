"""How trainings ended: counted by whoever trains, wherever that is, and read by deployment Models.

    trainings        hash: outcome -> how often since ever; "ended" -> when the last one did

Outcomes are `promoted`, `refused`, `waiting` (nothing was due) and `failed`. Every method may raise StateUnavailable.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Literal

from redis.asyncio import Redis

from pipeline.stores.connection import Connection
from pipeline.stores.keys import key

Ending = Literal["promoted", "refused", "waiting", "failed"]
ENDINGS: tuple[Ending, ...] = ("promoted", "refused", "waiting", "failed")

_KEY = key("trainings")


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """How many trainings ended how, and when the last one did; 0 when none has."""

    counts: Mapping[Ending, int]
    last_ts: float


class Trainings:
    """The counts behind one connection."""

    def __init__(self, connection: Connection) -> None:
        self._redis = connection

    async def count(self, ending: Ending) -> None:
        """A training has just ended so."""

        async def write(redis: Redis) -> None:
            pipe = redis.pipeline()
            pipe.hincrby(_KEY, ending, 1)
            pipe.hset(_KEY, "ended", str(time.time()))
            await pipe.execute()

        await self._redis.run(write)

    async def read(self) -> Ended:
        found: dict[Any, bytes] = await self._redis.run(lambda redis: redis.hgetall(_KEY))
        counts = {ending: int(found.get(ending.encode(), b"0")) for ending in ENDINGS}
        return Ended(counts, float(found.get(b"ended", b"0")))
