"""`Stages` over deployment handles: deadlines, retries, degraded answers.

Every inner call is idempotent, so one whose replica died is asked again, a bounded number of times
and after a jittered pause. Deployments return errors of ours as values: Serve would log a raised
one with its text, three times. Used by the ingress only.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError
from ray.serve.handle import DeploymentHandle

from pipeline import generate
from pipeline.candidates.route import Outlook
from pipeline.catalog.compile import content_digest
from pipeline.errors import GeneratorError, OpenSesameError, Overloaded, RegistryUnavailable, UnknownCatalog
from pipeline.generate import Ledger, Tiers
from pipeline.predict import source_key
from pipeline.settings import Settings
from pipeline.types import GroundedQuery, Proposal, Query, Route, Scores
from serve.metrics import Metrics

_PAUSE_S = 0.03  # before the first retry; doubled for each further one
_SCORE_S = 2.0  # a group is scored in a millisecond; longer than this the replica is stuck
_STATE_S = 1.0
_OPERATOR_S = 30.0  # the registry may have to be opened, which takes seconds


def as_values(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A deployment's method that returns an error of ours instead of raising it; `RemoteStages` raises it again."""

    @functools.wraps(method)
    async def wrapped(*args: Any) -> Any:
        try:
            return await method(*args)
        except OpenSesameError as error:
            return error

    return wrapped


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
        metrics.begin("opensesame_generator_tokens", "opensesame_route", "opensesame_cost_usd")
        tiers = [] if generator is None else [generate.small(settings.generator, self._generate)]
        if settings.endpoint.url:
            tiers.append(generate.large(settings.generator, settings.endpoint))
        self.tiers = Tiers(settings, tiers, ledger)
        metrics.follow("opensesame_budget_used", lambda: self.tiers.used)
        for tier in tiers:
            metrics.follow("opensesame_tier_up", functools.partial(self._is_up, tier.name), tier=tier.name)
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()  # prompt -> float32 [n_dims]
        self._sent: OrderedDict[str, None] = OrderedDict()  # digests of inline specs Catalogs has had from us
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
            grounded = await self.catalogs("ground", query, dict(habit), vector, key=source_key(query.source))
        if vector is None and grounded.prompt_vector is not None:
            self._vectors[query.prompt] = grounded.prompt_vector
            while len(self._vectors) > self._settings.predict.prompt_vectors:
                self._vectors.popitem(last=False)
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
                return await self.catalogs("ground", light, dict(habit), vector, key=digest)
            except UnknownCatalog:
                pass
        grounded = await self.catalogs("ground", full, dict(habit), vector, key=digest)
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
            return await self._once(lambda: handle.propose.remote(query, grounded, budget_s), budget_s)
        except Overloaded as error:
            raise GeneratorError(f"the generator did not answer: {error}") from None
        except (TimeoutError, RayActorError, RayTaskError, RequestCancelledError) as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, GeneratorError):
                raise cause from None
            raise GeneratorError(f"the generator did not answer: {type(error).__name__}", asked=True) from None

    async def score(
        self, matrix: np.ndarray, head: str, shown: Sequence[int] = (), explain: int = 0, arm: str = "champion"
    ) -> Scores:
        return await self._retried(lambda: self._ranker.score.remote(matrix, head, shown, explain, arm), _SCORE_S)

    async def catalogs(self, method: str, *arguments: Any, key: str, timeout_s: float | None = None) -> Any:
        """Call `method` of the Catalogs replica that `key` belongs to."""
        handle = self._catalogs.options(session_id=key)
        return await self._retried(lambda: getattr(handle, method).remote(*arguments), timeout_s or self._ground_s)

    async def models(self, method: str, *arguments: Any) -> Any:
        """Call `method` of deployment Models: what the operator asks of the registry and of training."""
        models = self._models
        if models is None:
            raise RegistryUnavailable("This service runs without a model registry.")
        try:  # once: a rollback asked for twice would undo itself
            return await self._once(lambda: getattr(models, method).remote(*arguments), _OPERATOR_S)
        except (TimeoutError, RayActorError):
            raise Overloaded("Deployment Models did not answer in time; look at the models and try again.") from None

    async def states(self) -> dict[str, dict[str, Any]]:
        """What each deployment says of itself, for /health; a silent one is `unavailable`."""
        handles = {"catalogs": self._catalogs, "embedder": self._embedder, "ranker": self._ranker}
        if self._generator is not None:
            handles["generator"] = self._generator
        if self._models is not None:
            handles["models"] = self._models

        async def ask(handle: DeploymentHandle) -> dict[str, Any]:
            try:
                return await self._once(lambda: handle.state.remote(), _STATE_S)
            except (TimeoutError, OpenSesameError, RayActorError, RayTaskError, RequestCancelledError):
                return {"status": "unavailable"}

        states = dict(zip(handles, await asyncio.gather(*map(ask, handles.values())), strict=True))
        for tier, deployment in (("small", "generator"), ("large", "endpoint")):
            told = self.tiers.states().get(tier)
            if told is not None:  # of the endpoint nothing else is known than how it has been answering
                known = states.setdefault(
                    deployment, {"status": "ok" if told["breaker"] == "closed" else "unavailable"}
                )
                states[deployment] = known | told
        return states

    async def _retried(self, call: Callable[[], Any], timeout_s: float) -> Any:
        for attempt in range(self._settings.predict.hop_retries + 1):
            try:
                return await self._once(call, timeout_s)
            except TimeoutError:
                raise Overloaded("A part of the service did not answer in time; try again.") from None
            except RayActorError:  # the replica died: the next attempt goes to another one, or to its successor
                if attempt < self._settings.predict.hop_retries:
                    await asyncio.sleep(_PAUSE_S * 2**attempt * random.uniform(0.5, 1.5))
        raise Overloaded("A part of the service is being restarted; try again.", 1.0)

    async def _once(self, call: Callable[[], Any], timeout_s: float) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                result = await call()
        except (BackPressureError, DeploymentUnavailableError):
            raise Overloaded("The service has more requests than it can take; try again.", 1.0) from None
        if isinstance(result, OpenSesameError):
            raise result
        return result
