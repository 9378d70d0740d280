"""`Stages` over deployment handles: deadlines, retries, degraded answers.

A request has one budget of time, and every inner call of it ends within what is left (`budget`). Inner calls are
idempotent: one whose replica died is asked again after a jittered pause, one whose replica is silent is asked of
another. How one call ends is `serve/handles.py`'s. Used by the ingress only.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec
import numpy as np
from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle

from pipeline import generate
from pipeline.candidates.route import Outlook
from pipeline.catalog.compile import content_digest
from pipeline.errors import (
    GeneratorError,
    OpenSesameError,
    Overloaded,
    RegistryUnavailable,
    ReplicaGone,
    UnknownCatalog,
)
from pipeline.generate import Ledger, Tiers
from pipeline.predict import source_key
from pipeline.settings import Settings
from pipeline.types import GroundedQuery, Proposal, Query, Route, Scores
from serve.handles import ask
from serve.metrics import Metrics

_PAUSE_S = 0.03  # before the first retry of a call whose replica died; doubled for each further one
_PAUSE_MAX_S = 0.5
_SILENT_S = 2.0  # a known catalog is grounded and a group scored in milliseconds: after this another replica is asked
_DETOUR_S = 20.0  # for so long a catalog stays with the replica that answered for a silent one
_KNOWN_MAX = 4096
_STATE_S = 1.0
_OPERATOR_S = 30.0  # the registry may have to be opened, which takes seconds

_until: ContextVar[float] = ContextVar("until", default=math.inf)  # when the request's budget is spent, monotonic


@contextlib.contextmanager
def budget(seconds: float) -> Iterator[None]:
    """Inside it the inner calls of a request, their retries and pauses with them, end after `seconds` together."""
    token = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


class RemoteStages:
    """The stages behind deployments Catalogs, Ranker and, when it is on, Generator; `tiers` are who can propose."""

    def __init__(
        self,
        settings: Settings,
        catalogs: DeploymentHandle,
        embedder: DeploymentHandle,
        ranker: DeploymentHandle,
        generator: DeploymentHandle | None,
        metrics: Metrics,
        models: DeploymentHandle | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._settings = settings
        self._catalogs = catalogs
        self._embedder = embedder  # asked for its health only: Catalogs is who uses it
        self._ranker = ranker
        self._generator = generator
        self._models = models
        self._metrics = metrics
        metrics.begin("opensesame_generator_tokens", "opensesame_route", "opensesame_cost_usd", "opensesame_retries")
        tiers = [] if generator is None else [generate.small(settings.generator, self._generate)]
        if settings.endpoint.url:
            tiers.append(generate.large(settings.generator, settings.endpoint))
        self.tiers = Tiers(settings, tiers, ledger)
        metrics.follow("opensesame_budget_used", lambda: self.tiers.used)
        for tier in tiers:
            metrics.follow("opensesame_tier_up", functools.partial(self._is_up, tier.name), tier=tier.name)
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()  # prompt -> float32 [n_dims]
        self._sent: OrderedDict[str, None] = OrderedDict()  # digests of inline specs Catalogs has had from us
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()  # key -> its detour, and until when
        self._grounding = 0  # queries that are being grounded in known catalogs
        # Above first_wait_s, so that the late answer is Catalogs' own "catalog_preparing".
        self._ground_s = settings.catalogs.first_wait_s + settings.fetch.total_s / 4

    async def ground(self, query: Query, habit: Mapping[str, float]) -> GroundedQuery:
        vector = self._vectors.get(query.prompt) if query.prompt else None
        if query.prompt:
            self._metrics.count("opensesame_cache", layer="prompt_vector", result="miss" if vector is None else "hit")
        if vector is not None:
            self._vectors.move_to_end(query.prompt)
        if query.source.data:
            grounded = await self._ground_inline(query, habit, vector)
        else:
            grounded = await self._ground_at(source_key(query.source), query, habit, vector)
        if vector is None and grounded.prompt_vector is not None:
            self._vectors[query.prompt] = grounded.prompt_vector
            while len(self._vectors) > self._settings.predict.prompt_vectors:
                self._vectors.popitem(last=False)
        return grounded

    async def _ground_at(
        self, key: str, query: Query, habit: Mapping[str, float], vector: np.ndarray | None
    ) -> GroundedQuery:
        """Ask the replica that `key` belongs to; of known catalogs only so many at once.

        A catalog never seen may wait for its spec, which costs nobody anything: those do not count.
        """
        if key not in self._known:
            grounded = await self.catalogs("ground", query, dict(habit), vector, key=key)
        else:
            if self._grounding >= self._settings.ingress.ground_at_once:
                raise Overloaded("The service has more requests than it can take; try again.", 1.0)
            self._grounding += 1
            try:
                grounded = await self.catalogs("ground", query, dict(habit), vector, key=key)
            finally:
                self._grounding -= 1
        self._known.setdefault(key, (0, 0.0))
        self._known.move_to_end(key)
        while len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)
        return grounded

    async def _ground_inline(
        self, query: Query, habit: Mapping[str, float], vector: np.ndarray | None
    ) -> GroundedQuery:
        """An inline spec travels once: afterwards its digest is enough until Catalogs has forgotten it."""
        digest = content_digest(query.source.data)
        full = msgspec.structs.replace(query, source=msgspec.structs.replace(query.source, digest=digest))
        if digest in self._sent:
            light = msgspec.structs.replace(full, source=msgspec.structs.replace(full.source, data=b""))
            try:
                return await self._ground_at(digest, light, habit, vector)
            except UnknownCatalog:
                self._known.pop(digest, None)
        grounded = await self._ground_at(digest, full, habit, vector)
        self._sent[digest] = None
        while len(self._sent) > 4096:
            self._sent.popitem(last=False)
        return grounded

    async def propose(
        self, query: Query, grounded: GroundedQuery, outlook: Outlook, budget_s: float
    ) -> tuple[Proposal | None, Route]:
        proposal, route = await self.tiers.propose(query, grounded, outlook, budget_s)
        if route.reason != "off":
            self._metrics.count("opensesame_route", tier=route.tier, decision=route.reason)
            self._metrics.count("opensesame_cost_usd", route.cost_usd)
        if proposal is not None:
            self._metrics.count("opensesame_cache", layer="prefix", result="hit" if proposal.tokens_cached else "miss")
            count = functools.partial(self._metrics.count, "opensesame_generator_tokens", tier=proposal.tier)
            count(proposal.tokens_in, direction="in")
            count(proposal.tokens_cached, direction="cached")
            count(proposal.tokens_out, direction="out")
        return proposal, route

    def _is_up(self, tier: str) -> float:
        return float(self.tiers.states()[tier]["breaker"] == "closed")

    async def _generate(self, query: Query, grounded: GroundedQuery, budget_s: float) -> Proposal:
        """The proposal of the graph's own engine; raises GeneratorError."""
        generator = self._generator
        assert generator is not None
        try:
            handle = generator.options(session_id=grounded.digest)  # there the catalog's prefix is cached
            return await ask(lambda: handle.propose.remote(query, grounded, budget_s), budget_s)
        except (TimeoutError, RayTaskError, ReplicaGone) as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, GeneratorError):
                raise cause from None
            raise GeneratorError(f"the generator did not answer: {type(error).__name__}", asked=True) from None
        except Overloaded as error:
            raise GeneratorError(f"the generator did not answer: {error}") from None

    async def score(
        self, matrix: np.ndarray, head: str, shown: Sequence[int] = (), explain: int = 0, arm: str = "champion"
    ) -> Scores:
        return await self._retried("ranker", lambda _: self._ranker.score.remote(matrix, head, shown, explain, arm))

    async def catalogs(self, method: str, *arguments: Any, key: str, timeout_s: float | None = None) -> Any:
        """Call `method` of the Catalogs replica that `key` belongs to; where that one is silent, of another."""
        known = self._known.get(key)
        detour, detour_until = known or (0, 0.0)
        first = detour if time.monotonic() < detour_until else 0
        answered_by = first

        def call(silences: int) -> Any:
            nonlocal answered_by
            answered_by = first + silences
            handle = self._catalogs.options(session_id=f"{key}~{answered_by}" if answered_by else key)
            return getattr(handle, method).remote(*arguments)

        total_s = timeout_s or self._ground_s
        answer = await self._retried("catalogs", call, _SILENT_S if known and timeout_s is None else total_s, total_s)
        if known and answered_by != first:
            self._known[key] = (answered_by, time.monotonic() + _DETOUR_S)
        return answer

    async def models(self, method: str, *arguments: Any) -> Any:
        """Call `method` of deployment Models: what the operator asks of the registry and of training."""
        models = self._models
        if models is None:
            raise RegistryUnavailable("This service runs without a model registry.")
        try:  # once: a rollback asked for twice would undo itself
            return await ask(lambda: getattr(models, method).remote(*arguments), _OPERATOR_S)
        except (TimeoutError, ReplicaGone):
            raise Overloaded("Deployment Models did not answer in time; look at the models and try again.") from None

    async def states(self) -> dict[str, dict[str, Any]]:
        """What each deployment says of itself, for /health; a silent one is `unavailable`."""
        handles = {"catalogs": self._catalogs, "embedder": self._embedder, "ranker": self._ranker}
        if self._generator is not None:
            handles["generator"] = self._generator
        if self._models is not None:
            handles["models"] = self._models

        async def state_of(handle: DeploymentHandle) -> dict[str, Any]:
            try:
                return await ask(lambda: handle.state.remote(), _STATE_S)
            except (TimeoutError, OpenSesameError, RayTaskError):
                return {"status": "unavailable"}

        states = dict(zip(handles, await asyncio.gather(*map(state_of, handles.values())), strict=True))
        for tier, deployment in (("small", "generator"), ("large", "endpoint")):
            told = self.tiers.states().get(tier)
            if told is not None:  # of the endpoint nothing else is known than how it has been answering
                known = states.setdefault(
                    deployment, {"status": "ok" if told["breaker"] == "closed" else "unavailable"}
                )
                states[deployment] = known | told
        return states

    async def _retried(
        self, asked: str, call: Callable[[int], Any], silent_s: float = _SILENT_S, total_s: float = math.inf
    ) -> Any:
        """What `call` answers, given how often it met silence: asked again while there is time.

        A replica is silent after `silent_s`, then after twice as much, and so on: a machine with too much to do must
        not be asked for more and more.
        """
        until = min(_until.get(), time.monotonic() + total_s)
        silences, pause_s = 0, _PAUSE_S
        while (left_s := until - time.monotonic()) > 0:
            try:
                return await ask(functools.partial(call, silences), min(left_s, silent_s * 2**silences))
            except TimeoutError:
                silences += 1
                self._metrics.count("opensesame_retries", asked=asked, had="hung")
            except ReplicaGone:
                self._metrics.count("opensesame_retries", asked=asked, had="died")
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
        raise Overloaded("A part of the service did not answer in time; try again.", 1.0)
