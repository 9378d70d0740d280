"""Deployment `Generator`: a vLLM engine behind the proposer.

Neither the graph's readiness nor a replica's health checks wait for the engine; when it has died or hangs, the
replica is replaced. The domain is in `pipeline/candidates`, the engine in `serve/engine.py`; what a catalog is about
deployment Catalogs is asked, once.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle

from pipeline.candidates.health import Share
from pipeline.candidates.propose import Proposer
from pipeline.errors import GeneratorError, Overloaded
from pipeline.predict import source_key
from pipeline.settings import Settings
from pipeline.types import Candidate, GroundedQuery, Proposal, Query
from serve import logs
from serve.engine import VllmEngine
from serve.handles import ask

_CARDS_S = 30.0  # nobody waits for it: a catalog is read in the background
_LINE_TOKENS = 8  # the shortest line of an overview takes about so many


class RemoteDirectory:
    """The proposer's `Directory`: deployment Catalogs."""

    def __init__(self, catalogs: DeploymentHandle, limit: int) -> None:
        self._catalogs = catalogs
        self._limit = limit

    async def cards(self, query: Query, grounded: GroundedQuery) -> Sequence[Candidate]:
        """At most `limit` operations of the query's catalog.

        Raises:
            OpenSesameError.
        """
        handle = self._catalogs.options(session_id=source_key(query.source))
        try:
            return await ask(lambda: handle.cards.remote(query.tenant, grounded.digest, self._limit), _CARDS_S)
        except (TimeoutError, Overloaded, RayTaskError) as error:
            raise GeneratorError(f"Catalogs did not answer: {type(error).__name__}") from None


@serve.deployment(name="Generator")
class Generator:
    """Proposes; holds one engine."""

    def __init__(self, settings: Settings, catalogs: DeploymentHandle | None = None) -> None:
        logs.configure(settings.log)
        self._engine = VllmEngine(settings.generator)
        limit = settings.generator.overview_tokens // _LINE_TOKENS
        directory = RemoteDirectory(catalogs, limit) if catalogs is not None else None
        holds_back = settings.guardrails.destructive != "allow"
        self._proposer = Proposer(settings.generator, self._engine, directory, holds_back)
        self._share = Share()

    async def propose(self, query: Query, grounded: GroundedQuery, deadline_s: float) -> Proposal:
        """The generator's picks within `deadline_s` seconds.

        Raises:
            GeneratorError: starting, late, broken or garbage.
        """
        entered = self._share.enter(time.monotonic())
        try:
            proposal = await self._proposer.propose(query, grounded, deadline_s)
        finally:
            engine_s = self._share.leave(entered, time.monotonic())
        return dataclasses.replace(proposal, engine_s=engine_s)

    async def state(self) -> dict[str, Any]:
        return {
            "status": self._engine.status,
            "detail": self._engine.detail,
            "start_s": round(self._engine.start_s, 1),
            "prefix_hit_rate": round(self._engine.prefix_hit_rate, 3),
        }

    async def check_health(self) -> None:
        await self._engine.check_health()

    def __del__(self) -> None:
        self._engine.close()
