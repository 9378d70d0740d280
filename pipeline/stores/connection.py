"""One way to Redis: timeouts, a breaker, and every failure as StateUnavailable.

What is stored is the business of `state.py` and `catalogs.py`, which hold a connection each: a
quick one for the request path, one with a longer timeout for what is large.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from pipeline import settings
from pipeline.breaker import Breaker
from pipeline.errors import SettingsError, StateUnavailable

_POOL = 64  # sockets of one process; more requests than that wait for one, within the timeout
_VERSION_MIN = (6, 2)


class Connection:
    """A Redis behind timeouts and a breaker. No socket is opened before the first command."""

    def __init__(self, url: str, limits: settings.State, timeout_s: float) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_POOL,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=limits.connect_timeout_s,
            # A socket that the server closed in between is opened again at once; a timeout is not tried twice.
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
            protocol=2,
            driver_info=None,
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._breaker = Breaker(limits.breaker_failures, limits.breaker_open_s)
        self._open_s = limits.breaker_open_s

    async def run(self, command: Callable[[Redis], Awaitable[Any]]) -> Any:
        """What `command` answers, given the client.

        Raises:
            StateUnavailable: Redis is away, late, loading, full, or refuses.
        """
        began = time.monotonic()
        if self._breaker.state(began) == "open":
            raise StateUnavailable("The state does not answer.", max(self._breaker.wait_s(began), 0.1))
        self._breaker.begin(began)
        task: asyncio.Task[Any] | None = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            answer = await command(self._redis)
        except ResponseError as error:  # out of memory, read-only, disk full: it lives, but does not do it
            self._breaker.succeeded()
            raise StateUnavailable(f"The state refuses: {_word(error)}.", self._open_s) from error
        except (RedisError, OSError) as error:
            self._breaker.failed(began, time.monotonic())
            raise StateUnavailable("The state does not answer.", self._open_s) from error
        self._breaker.succeeded()
        # redis-py sends through asyncio.wait_for, which in Python 3.11 forgets a cancellation that comes as it ends.
        if task and task.cancelling() > cancelled:
            raise asyncio.CancelledError
        return answer

    async def script(self, source: str, keys: list[str], arguments: list[Any]) -> Any:
        """What the Lua script `source` answers; sent whole once per server, then by its hash."""
        return await self.run(lambda redis: redis.register_script(source)(keys=keys, args=arguments))

    async def verify(self) -> None:
        """Return when the server is one that can hold the state.

        Raises:
            StateUnavailable: it does not answer.
            SettingsError: it is too old, or would evict what must be kept.
        """
        told: dict[str, Any] = await self.run(lambda redis: redis.info())
        version = str(told.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2]) < _VERSION_MIN:
            raise SettingsError(f"state.url: Redis {version} is too old, 6.2 is the oldest that works.")
        policy = str(told.get("maxmemory_policy", "noeviction"))
        if policy.startswith("allkeys-"):
            raise SettingsError(
                f"state.url: Redis evicts any key (maxmemory-policy {policy}), feedback among them: "
                "set noeviction or a volatile-* policy."
            )

    async def close(self) -> None:
        await self._redis.aclose()


def _word(error: ResponseError) -> str:
    """Redis's own word for a refusal, such as DENIED, or what redis-py made of it; never what stands behind it."""
    word = str(error).partition(" ")[0]
    return word if word.isalpha() and word.isupper() else type(error).__name__
