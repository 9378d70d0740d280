"""Work that many wait for and that is done once.

A flight belongs to no waiter: one that is cancelled or gives up leaves it in the air. A failure is
shared by those who wait, and told for some seconds to those who come back for it. `library.py`
fetches, parses and compiles through this.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, TypeVar

from pipeline.errors import Unavailable

T = TypeVar("T")

_FAILURES_KEPT = 1024
_CANCEL_AGAIN_S = 0.5


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until each has ended.

    Once is not enough where something beneath may forget it, as `asyncio.wait_for` of Python 3.11 does.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at: nobody waits for it any more


class Flights:
    """Tasks by key, each started once; all in one event loop."""

    def __init__(self, failure_kept_s: float, slow_s: float) -> None:
        """A failure is kept `failure_kept_s` when asked so, or when its flight took longer than `slow_s`."""
        self._failure_kept_s = failure_kept_s
        self._slow_s = slow_s
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}
        self._failures: dict[Hashable, tuple[BaseException, float]] = {}

    def start(self, key: Hashable, work: Callable[[], Awaitable[T]], keep_failure: bool = False) -> asyncio.Task[T]:
        """The flight of this key: the one in the air, else a new one doing `work()`."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self._fly(key, work, keep_failure))
            task.add_done_callback(lambda done: self._land(key, done))
        return task

    async def join(
        self, key: Hashable, work: Callable[[], Awaitable[T]], wait_s: float | None = None, keep_failure: bool = False
    ) -> T:
        """What the flight of this key brings.

        Raises:
            TimeoutError: it is still in the air after `wait_s`.
        """
        task = self.start(key, work, keep_failure)
        done, _ = await asyncio.wait({task}, timeout=wait_s)
        if not done:
            raise TimeoutError
        return task.result()

    async def close(self) -> None:
        """End every flight in the air."""
        await end(list(self._tasks.values()))

    async def _fly(self, key: Hashable, work: Callable[[], Awaitable[T]], keep_failure: bool) -> T:
        failure, until = self._failures.get(key, (None, 0.0))
        started = time.monotonic()
        if failure is not None and started < until:
            raise failure.with_traceback(None)
        try:
            return await work()
        except Exception as error:
            now = time.monotonic()
            # One that says when to come back is over by then, and may be the doing of another tenant.
            if (keep_failure and not isinstance(error, Unavailable)) or now - started > self._slow_s:
                self._remember(key, error, now)
            raise

    def _remember(self, key: Hashable, error: Exception, now: float) -> None:
        self._failures = {k: f for k, f in self._failures.items() if f[1] > now}
        while len(self._failures) >= _FAILURES_KEPT:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = (error.with_traceback(None), now + self._failure_kept_s)

    def _land(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # looked at, so that a flight nobody waits for any more does not complain
