"""What is done with feedback without being asked: the inbox is drained to the journal, and a training is started when
one is due (`pipeline/stores/due.py`).

One thread, held by deployment Models, off the request path. Of several replicas or services on one state the one
that holds a lease works; that each group comes to the journal once is the journal's own doing, whoever dies when.
Where no folder outlives a pod (`models.var`) it does nothing: there the trainings drain, on a schedule of the
cluster's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from pipeline.errors import OpenSesameError, Unavailable
from pipeline.ranking.table import FINGERPRINT
from pipeline.settings import Settings
from pipeline.stores import due
from pipeline.stores.journal import Journal
from pipeline.stores.registry import Overview
from pipeline.stores.state import State
from serve.jobs import folder

_log = logging.getLogger("opensesame.schedule")
_LEASE_S = 600.0  # a holder that was killed keeps the others waiting so long
_COMPACT_S = 3600.0  # between two merges of small files
_NO_JOBS_S = 600.0  # until a job API that did not answer is asked again


class Registry(Protocol):
    def overview(self) -> Overview: ...


class Jobs(Protocol):
    def submit(self, force: bool) -> Mapping[str, Any]: ...


class Schedule:
    """The thread; `models.schedule_s` lies between two looks, and 0 is no thread."""

    def __init__(self, settings: Settings, jobs: Jobs, registry: Registry) -> None:
        self._settings = settings
        self._jobs = jobs
        self._registry = registry
        self._token = secrets.token_hex(8)
        self._compact_at = 0.0
        self._start_at = 0.0  # not before; by the monotonic clock
        self._said = ""
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        where = folder(settings)
        self._journal = None if where is None else Journal.at(settings.journal, where)
        if settings.models.schedule_s and self._journal is not None:
            self._thread = threading.Thread(target=self._live, name="schedule", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def _live(self) -> None:
        with contextlib.suppress(OSError):
            os.nice(self._settings.models.niceness)  # on Linux this thread alone
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        state = State(self._settings.state, self._settings.state.url)
        while not self._closed.is_set():
            try:
                await self.look(state)
                self._say("")
            except OpenSesameError as error:
                self._say(error.detail)
            except Exception:  # a fault of ours must not end the schedule: the inbox would fill up
                _log.exception("the schedule failed")
            self._closed.wait(self._settings.models.schedule_s)
        await state.close()

    async def look(self, state: State) -> None:
        """Drain what waits and start what is due, unless another replica is at it.

        Raises:
            StateUnavailable, JournalError, RegistryUnavailable, Unavailable: the next look tries again.
        """
        if self._journal is None or not await state.catalogs.acquire_lease("training", self._token, _LEASE_S):
            return
        try:
            await self._drain(self._journal, state)
            await self._start(self._journal, state)
        finally:
            await state.catalogs.release_lease("training", self._token)

    async def _drain(self, journal: Journal, state: State) -> None:
        if await state.inbox.tenants() and (drained := await journal.drain(state)):
            _log.info("%d labelled groups came to the journal", drained)
        if time.monotonic() >= self._compact_at:
            journal.compact()
            self._compact_at = time.monotonic() + _COMPACT_S

    async def _start(self, journal: Journal, state: State) -> None:
        if not journal.files() or time.monotonic() < self._start_at:
            return
        until = max(due.last_trained(self._registry.overview()), await due.started(state.connection))
        times = due.labelled_after(journal, until, FINGERPRINT, self._settings.state.join_window_s)
        if due.waiting(times, self._settings.train):
            return
        try:
            job = self._jobs.submit(False)
        except Unavailable:
            self._start_at = time.monotonic() + _NO_JOBS_S
            raise
        self._start_at = time.monotonic() + self._settings.models.rest_s
        await due.start(state.connection, max(times))
        _log.info("training %s has %d new labelled groups", job["job_id"], len(times))

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._said:
            _log.error("what people did is not learnt for now: %s", trouble)
        self._said = trouble
