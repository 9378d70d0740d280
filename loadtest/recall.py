"""What the read before a prediction costs, and how much of it what was learnt: CPU of the caller, in one run.

    python -m loadtest.recall

A throw-away Redis holds a lineage and a user with full memories. Three reads take turns: what every prediction needs
(the catalog's name, its URL, what the user accepted), the same with what adaptation reads, in one round trip both, and
`State.recall`, which also unpacks it. The difference of the first two is the most that a cache of it could save, less
the look whether it still holds. CPU, because the wall clock of a shared machine says more of its other users.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from redis.asyncio import Redis

from pipeline import settings as configuration
from pipeline.catalog.terms import prompt_terms
from pipeline.stores.counts import COUNTS_READ, LOSSES_MAX, own, pack_remembered
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.keys import key, shapes_of_call
from pipeline.stores.state import State
from pipeline.types import Call, Query, Remembered, Source

_TENANT, _USER, _LINEAGE = "local", "ana", "billing"
_OPERATIONS = [f"GET /v1/things{i}/{{id}}" for i in range(60)]
_LAST = _OPERATIONS[1]
_SEPARATOR = "\x1f"


async def fill(redis: Redis, prompts: int, own_prompts: int) -> Query:
    """Fills the memories; returns a query that reads them."""
    chance = random.Random(0)
    words = [f"word{i}" for i in range(300)]
    for number in range(prompts):
        said = prompt_terms(" ".join(chance.sample(words, 10)))
        entry = pack_remembered(Remembered(said, _LAST, chance.choice(_OPERATIONS), 0.9))
        await redis.lpush(key("t", _TENANT, "prompts", _LINEAGE), entry)  # type: ignore[misc]
        if number < own_prompts:
            await redis.lpush(own(_TENANT, _USER, _LINEAGE, "prompts"), entry)  # type: ignore[misc]
    for _ in range(LOSSES_MAX):
        await redis.lpush(key("t", _TENANT, "losses", _LINEAGE), chance.randbytes(11))  # type: ignore[misc]
    for name in _counts():
        for operation in _OPERATIONS[:40]:
            one, two = (_LAST, operation), (_OPERATIONS[2], _LAST, operation)
            await redis.zadd(name, {_SEPARATOR.join(one): chance.random() * 9, _SEPARATOR.join(two): chance.random()})
    calls = (Call("GET", "/v1/things2/x"), Call("GET", "/v1/things1/x"))
    prompt = " ".join(chance.sample(words, 10))
    return Query(calls=calls, prompt=prompt, user=_USER, tenant=_TENANT, source=Source(name=_LINEAGE))


def _counts() -> list[str]:
    ends = shapes_of_call("GET", "/v1/things1/x")
    return [n for end in ends for n in (key("t", _TENANT, "follow", _LINEAGE, end),
                                        own(_TENANT, _USER, _LINEAGE, "follow", end))]  # fmt: skip


async def measure(url: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of this process's CPU of each read."""
    settings = configuration.load("local")
    limits = settings.state.model_copy(update={"timeout_s": 60.0})
    state, redis = State(limits, url), Redis.from_url(url)
    query = await fill(redis, limits.prompts_max, limits.prompts_user_max)

    def read(is_whole: bool) -> Callable[[], Awaitable[Any]]:
        async def asked(redis: Redis) -> None:
            pipe = redis.pipeline(transaction=False)
            pipe.hget(key("t", _TENANT, "name"), _LINEAGE)
            pipe.mget(key("spec", ""), key("t", _TENANT, "spec", ""))
            pipe.smembers(own(_TENANT, _USER, _LINEAGE, "accepted"))
            if is_whole:
                pipe.lrange(key("t", _TENANT, "losses", _LINEAGE), 0, LOSSES_MAX - 1)
                pipe.lrange(key("t", _TENANT, "prompts", _LINEAGE), 0, -1)
                pipe.lrange(own(_TENANT, _USER, _LINEAGE, "prompts"), 0, -1)
                for name in _counts():
                    pipe.zrange(name, 0, COUNTS_READ - 1, desc=True, withscores=True)
            await pipe.execute()

        return lambda: state.connection.run(asked)

    silent = msgspec.structs.replace(query, prompt="")
    reads: dict[str, Callable[[], Awaitable[Any]]] = {
        "what every prediction needs": read(False),
        "with what was learnt": read(True),
        "State.recall": lambda: state.recall(query),
        "State.recall without a prompt": lambda: state.recall(silent),
    }
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, once in reads.items():
            began = time.process_time()
            await once()
            took[name].append(time.process_time() - began)
    await state.close()
    await redis.aclose()
    return took


def main(rounds: Annotated[int, typer.Option(min=1, help="Reads of each kind.")] = 1000) -> None:
    """Measure the read before a prediction."""
    with EmbeddedRedis.throwaway() as redis:
        took = asyncio.run(measure(redis.url, rounds))
    for name, seconds in took.items():
        typer.echo(f"{name:<32} {1000 * float(np.median(seconds)):.2f} ms of CPU")


if __name__ == "__main__":
    typer.run(main)
