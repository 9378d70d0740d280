"""What of the whole service is looked at once, and not by each replica: the inbox, and how trainings ended.

A thread of deployment Models, of which there is one, reads both from Redis every few seconds; with Redis away the
last values stand, and everything else says that it is away. It looks at Redis itself too, once.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time

from pipeline.errors import SettingsError, StateUnavailable
from pipeline.settings import Settings
from pipeline.stores.state import State
from pipeline.stores.trainings import ENDINGS, Ended, Ending
from serve.metrics import Metrics

_log = logging.getLogger("opensesame.vitals")
_LOOK_S = 10.0


class Vitals:
    """The thread; `close` ends it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._waiting, self._oldest_ts = 0, 0.0
        self._ended = Ended(dict.fromkeys(ENDINGS, 0), 0.0)
        self._closed = threading.Event()
        metrics.follow("opensesame_inbox", lambda: self._waiting)
        metrics.follow("opensesame_inbox_age_s", lambda: _age(self._oldest_ts))
        metrics.follow("opensesame_training_age_s", lambda: _age(self._ended.last_ts))
        for ending in ENDINGS:
            metrics.follow("opensesame_trainings", functools.partial(self._count, ending), ending=ending)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="vitals", daemon=True)
        self._thread.start()

    @property
    def inbox(self) -> int:
        """Labelled groups of all tenants that wait to be drained."""
        return self._waiting

    def close(self) -> None:
        self._closed.set()
        self._thread.join(10.0)

    def _count(self, ending: Ending) -> float:
        return self._ended.counts[ending]

    async def _live(self) -> None:
        state = State(self._settings.state, self._settings.state.url)
        is_verified = False
        while not self._closed.is_set():
            try:
                if not is_verified:
                    await _verify(state)
                    is_verified = True
                await self._look(state)
            except StateUnavailable:
                pass
            except Exception:  # a fault of ours must not end the looking
                _log.exception("the inbox could not be looked at")
            await asyncio.to_thread(self._closed.wait, _LOOK_S)
        await state.close()

    async def _look(self, state: State) -> None:
        waiting, oldest = 0, []
        for tenant in await state.inbox.tenants():
            waiting += await state.inbox.length(tenant)
            oldest.append(await state.inbox.oldest_ts(tenant))
        self._waiting, self._oldest_ts = waiting, min(filter(None, oldest), default=0.0)
        self._ended = await state.trainings.read()


async def _verify(state: State) -> None:
    """Say in the log what Redis is not fit for: in a cluster nobody else looks before the service starts."""
    try:
        await state.verify()
    except SettingsError as error:
        _log.error("%s", error.detail)


def _age(ts: float) -> float:
    """Seconds since then; 0 for never."""
    return max(0.0, time.time() - ts) if ts else 0.0
