"""Deployment `Models`: watches the registry, mirrors its champion to the replicas, answers the operator.

One replica, off the request path, and the only serving process that loads MLflow. A thread looks at the
aliases each second, whoever moved them, and copies what they name into Redis; nothing else waits for it. What
must not serve is refused here already: the mirror keeps the last good one. What is done with feedback without
being asked is `serve/schedule.py`'s. Errors of ours go back as values.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ray import serve

from pipeline.errors import RankerArtifactError, RegistryUnavailable, StateUnavailable
from pipeline.ranking.ranker import packaged_path
from pipeline.settings import Settings
from pipeline.stores.mirror import ROLES, Mirror, Role
from pipeline.stores.registry import Overview, Registry
from serve import logs
from serve.handles import as_values
from serve.jobs import Training, TrainingJobs, TrainResponse
from serve.metrics import Metrics
from serve.registered import (
    Fetched,
    aliases_json,
    challenge,
    fetch,
    overview_json,
    promote,
    rollback,
    version_json,
)
from serve.schedule import Schedule
from serve.vitals import Vitals

T = TypeVar("T")
_log = logging.getLogger("opensesame.models")
_REPEATED_S = 2.0  # a rollback asked for so soon after another one is the same request
_AGAIN_S = 30.0  # until a refused version is tried once more: its artefact may have been restored


class Watch:
    """The thread that keeps the mirror like the registry."""

    def __init__(self, settings: Settings, registry: Registry, metrics: Metrics) -> None:
        self.status = "starting"
        self.detail = ""
        self._settings = settings
        self._registry = registry
        self._metrics = metrics
        self._mirrored: dict[Role, str] = {}  # role -> number of the version in the mirror, "" for none
        self._refused: dict[tuple[Role, str], tuple[float, str]] = {}  # -> when it is tried again, why
        self._fetched: Fetched | None = None  # by who has just moved an alias to it
        self._said = ""  # the last trouble logged
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._live, name="registry", daemon=True)
        self._thread.start()

    def wake(self, fetched: Fetched | None = None) -> None:
        """Look now: an alias has moved, to what was `fetched` a moment ago."""
        self._fetched = fetched
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._thread.join(10.0)

    def _live(self) -> None:
        os.nice(self._settings.models.niceness)  # on Linux this thread alone
        with contextlib.suppress(RegistryUnavailable):  # the watch will meet it again, and say so
            self._registry.open()
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        mirror = Mirror(self._settings.state, self._settings.state.url)
        installed = False
        while not self._closed:
            self._wake.clear()
            try:
                if not installed:
                    self._install()
                    installed = True
                aliases = self._registry.aliases()
                is_whole = await self._copy(mirror, aliases)
                if self._mirrored.get("champion") == aliases.get("champion", ""):
                    await mirror.beat()
                if is_whole:
                    self._be("ok")
            except RegistryUnavailable as error:
                self._be("unavailable", error.detail)
            except StateUnavailable as error:
                self._mirrored.clear()  # it may have lost the mirror
                self._be("unavailable", error.detail)
            except Exception as error:  # a fault of ours must not end the watch: no promotion would be served again
                _log.exception("the watch of the registry failed")
                self._be("unavailable", type(error).__name__)
            self._wake.wait(self._settings.registry.poll_s)
        await mirror.close()

    def _install(self) -> None:
        artifact = self._settings.ranker.artifact
        try:
            text = (Path(artifact) if artifact else packaged_path()).read_text(encoding="utf-8")
            self._registry.install(text)
        except (RankerArtifactError, OSError, UnicodeDecodeError) as error:
            _log.error("the installed ranker is not registered: %s", error)

    async def _copy(self, mirror: Mirror, aliases: dict[str, str]) -> bool:
        """Bring the mirror up to date; True when it shows what the aliases say."""
        is_whole = True
        fetched, self._fetched = self._fetched, None
        for role in ROLES:
            number = aliases.get(role, "")
            if self._mirrored.get(role) == number:
                continue
            if not number:
                if role == "challenger":
                    await mirror.clear(role)
                self._mirrored[role] = number
                continue
            again_at, why = self._refused.get((role, number), (0.0, ""))
            if time.monotonic() < again_at:
                is_whole = False
                self._be("refused", why)
                continue
            try:
                if fetched is None or fetched.number != number:
                    fetched = fetch(self._registry, number, self._settings.ranker.score_limit_s)
            except RankerArtifactError as error:
                is_whole = False
                why = f"{role} {number}: {error}"
                self._be("refused", why)
                if (role, number) not in self._refused:
                    self._metrics.count("opensesame_ranker_refused", reason=error.reason)
                self._refused[role, number] = time.monotonic() + _AGAIN_S, why
                continue
            self._refused.pop((role, number), None)
            await mirror.write(role, fetched.who, fetched.text)
            self._mirrored[role] = number
            _log.info("%s is ranker %s", role, fetched.who.version)
        return is_whole

    def _be(self, status: str, detail: str = "") -> None:
        self.status, self.detail = status, detail
        if detail != self._said:
            self._said = detail
            if detail:
                _log.error("registry %s: %s", status, detail)


@serve.deployment(name="Models")
class ModelsDeployment:
    def __init__(self, settings: Settings, jobs: TrainingJobs | None = None, metrics: Metrics | None = None) -> None:
        logs.configure(settings.log)
        self._registry = Registry(settings.registry)
        self._score_limit_s = settings.ranker.score_limit_s
        self._jobs = jobs or TrainingJobs(settings)
        metrics = metrics or Metrics()
        self._watch = Watch(settings, self._registry, metrics)
        self._vitals = Vitals(settings, metrics)
        self._rolling = asyncio.Lock()
        self._rolled: dict[str, Any] = {}  # what the last rollback answered, and when that was, monotonic
        self._rolled_at = -_REPEATED_S
        # MLflow and the check of a ranker take a tenth of a second of a core: who is answered goes before it.
        self._aside = ThreadPoolExecutor(2, "asked", initializer=os.nice, initargs=(settings.models.niceness,))
        self._schedule = Schedule(settings, self._jobs, self._registry)

    @as_values
    async def overview(self) -> dict[str, Any]:
        """Champion, challenger, previous, and every version with the gate's verdict."""
        return overview_json(await self._blocking(self._registry.overview))

    @as_values
    async def show(self, version: str) -> dict[str, Any]:
        """One version with the whole report of the gate."""
        return version_json(await self._blocking(lambda: self._registry.show(version)))

    @as_values
    async def promote(self, version: str) -> dict[str, Any]:
        """Make a version the champion; raises Conflict when it may not serve."""
        now, fetched = await self._blocking(lambda: promote(self._registry, version, self._score_limit_s))
        return self._moved(now, fetched)

    @as_values
    async def rollback(self) -> dict[str, Any]:
        """Champion and previous change places.

        Within a moment of another one it is that one: the proxy repeats a request whose ingress replica died, and done
        twice it would undo itself. Where an alias has moved since, it is a new one.
        """
        async with self._rolling:
            is_repeated = time.monotonic() < self._rolled_at + _REPEATED_S
            if is_repeated:
                now = aliases_json(await self._blocking(self._registry.overview))
                is_repeated = all(now[alias] == self._rolled[alias] for alias in ("champion", "previous"))
            if not is_repeated:
                told, fetched = await self._blocking(lambda: rollback(self._registry, self._score_limit_s))
                self._rolled = self._moved(told, fetched)
                self._rolled_at = time.monotonic()
            return self._rolled

    @as_values
    async def challenge(self, version: str) -> dict[str, Any]:
        """Make a version the challenger, "" for none; raises Conflict when it may not serve or is the champion."""
        return self._moved(await self._blocking(lambda: challenge(self._registry, version, self._score_limit_s)))

    @as_values
    async def train(self, force: bool) -> TrainResponse:
        """The training job that runs from now on, or already does."""
        return await asyncio.to_thread(self._jobs.submit, force)

    @as_values
    async def job(self, job_id: str) -> Training:
        return await asyncio.to_thread(self._jobs.read, job_id)

    async def state(self) -> dict[str, Any]:
        """How it is, and how many labelled groups wait to be drained."""
        told = {"status": self._watch.status, "inbox": self._vitals.inbox}
        return {**told, "detail": self._watch.detail} if self._watch.detail else told

    def close(self) -> None:
        self._watch.close()
        self._vitals.close()
        self._schedule.close()
        self._aside.shutdown(wait=False)

    def _moved(self, now: Overview, fetched: Fetched | None = None) -> dict[str, Any]:
        self._watch.wake(fetched)
        return aliases_json(now)

    async def _blocking(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)
