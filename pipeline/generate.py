"""The part of the story where a language model is asked, as `predict.py` tells it: route, reserve, ask, settle.

`Tiers` knows how each tier has been doing in this process, lets `candidates/route.py` choose, reserves what the choice
can cost at most, asks within the time left, and tries the next tier when one fails. Nothing it meets fails a
prediction: it ends with a proposal, or without one and a reason. Who answers is a function of the roof: a deployment
behind a handle, or an OpenAI-compatible server. One per process.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipeline.breaker import Breaker
from pipeline.candidates import route
from pipeline.candidates.endpoint import EndpointEngine, shaped
from pipeline.candidates.health import Pace
from pipeline.candidates.propose import Proposer
from pipeline.candidates.route import Choice, Offer, Outlook, Reason
from pipeline.errors import GeneratorError, StateUnavailable
from pipeline.prices import Endpoint, Price, Router
from pipeline.ranking import features
from pipeline.settings import Generator, Settings
from pipeline.stores.spend import Spent, of_reason, of_tier, today
from pipeline.types import GroundedQuery, Proposal, Query, Route

Ask = Callable[[Query, GroundedQuery, float], Awaitable[Proposal]]  # within so many seconds, or GeneratorError

_FLUSH_S = 1.0  # decisions are counted together, so that a prediction waits for none
_TYPICAL = (1000, 500, 120, 0.1)  # tokens in, of them cached, tokens out, seconds: of a reply before any was seen
_COVER = features.NAMES.index("cover_prompt")
_CLOCK_S = 0.005  # by which a timer may be early
_LEARNS = 0.05  # how fast what is expected follows what replies really cost

_log = logging.getLogger(__name__)


def outlook(matrix: np.ndarray, probability: np.ndarray, best: Sequence[int]) -> Outlook:
    """What the ranker alone says of the first places that may be shown; without any, that all is open."""
    if not best:
        return Outlook(0.0, 0.0, 1.0)
    first = float(probability[best[0]])
    second = float(probability[best[1]]) if len(best) > 1 else 0.0
    covered = float(matrix[best[0], _COVER])
    return Outlook(first, first - second, 1.0 if np.isnan(covered) else 1.0 - covered)


class Ledger(Protocol):
    """The count of what is spent, as `stores/spend.py` keeps it."""

    async def reserve(self, tenant: str, amount: int, most: int, tenant_most: int) -> tuple[bool, Spent]: ...

    async def settle(
        self, tenant: str, day: str, reserved: int, cost: int, counted: Mapping[str, int], token: str = ""
    ) -> Spent: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Tier:
    """A language model that can be asked, and its limits."""

    name: str  # small | large
    ask: Ask
    price: Price
    lift: float
    tokens_in_max: int
    tokens_out_max: int
    max_ongoing: int

    def bound_usd(self, budget_s: float) -> float:
        return route.bound(self.price, self.tokens_in_max, self.tokens_out_max, budget_s)


def small(settings: Generator, ask: Ask) -> Tier:
    """The graph's own engine, which is asked up to twice, or once in each order of the options."""
    times, tokens_out = (settings.permutations, 1) if settings.mode == "logprob" else (2, settings.max_tokens)
    tokens = times * (settings.max_model_len - tokens_out), times * tokens_out
    return Tier("small", ask, settings.price, settings.lift, *tokens, settings.max_ongoing_requests)


def large(generator: Generator, settings: Endpoint) -> Tier:
    """The OpenAI-compatible endpoint, asked from this process, up to twice."""
    proposer = Proposer(shaped(generator, settings), EndpointEngine(settings))
    tokens = 2 * settings.tokens_in_max, 2 * settings.max_tokens
    return Tier("large", proposer.propose, settings.price, settings.lift, *tokens, settings.max_ongoing_requests)


class _Standing:
    """A tier and how it has been doing."""

    def __init__(self, tier: Tier, router: Router, usual_s: float) -> None:
        self.tier = tier
        self._usual_s = usual_s
        self.breaker = Breaker(router.breaker_failures, router.breaker_open_s)
        self.pace = Pace()
        self.in_hand = 0
        self.expected_usd = route.cost(tier.price, *_TYPICAL)

    def failed(self, began: float, now: float, budget_s: float) -> None:
        """A request that had `budget_s` failed; one that was late within too little time tells nothing of the tier."""
        if now - began >= budget_s - _CLOCK_S and budget_s < min(self.pace.slowest_s, self._usual_s):
            self.breaker.released()
            self.pace.note_late(budget_s + _CLOCK_S, now)
        else:
            self.breaker.failed(began, now)

    def offer(self, now: float, budget_s: float, closed: Reason | None) -> Offer:
        if closed is None and self.breaker.state(now) == "open":
            closed = "breaker"
        if closed is None and self.in_hand >= self.tier.max_ongoing:
            closed = "overload"
        bound = self.tier.bound_usd(max(budget_s, 0.0))
        in_time = self.pace.in_time(budget_s, now) if budget_s > 0 else 0.0
        return Offer(self.tier.name, self.tier.lift, min(self.expected_usd, bound), bound, in_time, closed)


class Tiers:
    """The tiers of one process. Without a ledger nothing is counted and no budget holds."""

    def __init__(self, settings: Settings, tiers: Sequence[Tier], ledger: Ledger | None = None) -> None:
        self._router = settings.router
        self._min_budget_s = settings.generator.min_budget_s
        usual_s = settings.predict.deadline_default_s / 2  # other parts of a request take their time too
        self._standings = {tier.name: _Standing(tier, settings.router, usual_s) for tier in tiers}
        self._ledger = ledger
        self._decided: dict[str, collections.Counter[str]] = {}  # tenant -> reason -> how often, not yet counted
        self._batch: _Batch | None = None  # of them that is being counted
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_flushing = False
        self._warned = ""  # the day on which it was said that the budget runs out
        self.used = 0.0  # share of the day's budget, as last heard

    async def propose(
        self, query: Query, grounded: GroundedQuery, outlook: Outlook, budget_s: float
    ) -> tuple[Proposal | None, Route]:
        """The proposal of the tier worth asking, if any comes within `budget_s`, and what was decided."""
        if not self._standings:
            return None, Route()
        if not query.prompt.strip():
            return None, self._decide(query, Choice("none", "history_only"))
        if query.max_cost_usd == 0:
            return None, self._decide(query, Choice("none", "max_cost"))
        until = time.monotonic() + budget_s
        closed: dict[str, Reason] = {}
        cost_usd = used = 0.0
        while True:
            now = time.monotonic()
            left_s = until - now if until - now >= self._min_budget_s else 0.0
            offers = [s.offer(now, left_s, closed.get(name)) for name, s in self._standings.items()]
            choice = route.choose(
                outlook,
                offers,
                usd_per_hit=self._router.usd_per_hit,
                min_gain=self._router.min_gain,
                used=used,
                max_cost_usd=None if query.max_cost_usd is None else query.max_cost_usd - cost_usd,
            )
            if choice.tier == "none":
                failed = next((reason for reason in closed.values() if reason in route.DEGRADED), None)
                return None, self._decide(query, choice._replace(reason=failed or choice.reason), cost_usd)
            standing = self._standings[choice.tier]
            granted, used = await self._reserve(standing, query.tenant, offers)
            if granted is None:
                closed[choice.tier] = "budget"
                continue
            try:
                proposal = await self._ask(standing, query, grounded, until - time.monotonic(), granted)
            except GeneratorError as error:
                cost_usd += granted.usd if error.asked else 0.0
                closed[choice.tier] = "late" if time.monotonic() >= until - _CLOCK_S else "failed"
                _log.info("tier %s did not answer: %s", choice.tier, error)
                continue
            return proposal, self._decide(query, choice, cost_usd + proposal.cost_usd)

    def states(self) -> dict[str, dict[str, Any]]:
        """How each tier is doing, by its name."""
        now = time.monotonic()
        return {
            name: {
                "breaker": standing.breaker.state(now),
                "ongoing": standing.in_hand,
                "usual_ms": round(standing.pace.usual_s(now) * 1000, 1),
            }
            for name, standing in self._standings.items()
        }

    async def flush(self) -> None:
        """Count the decisions that are not counted yet; raises StateUnavailable and keeps them when it cannot."""
        while (self._batch or self._decided) and self._ledger is not None:
            if self._batch is None:
                tenant, counts = self._decided.popitem()
                self._batch = _Batch(tenant, today(), {of_reason(reason): n for reason, n in counts.items()})
            batch = self._batch
            await self._ledger.settle(batch.tenant, batch.day, 0, 0, batch.counted, batch.token)
            self._batch = None

    async def _ask(
        self, standing: _Standing, query: Query, grounded: GroundedQuery, budget_s: float, granted: _Grant
    ) -> Proposal:
        """The tier's proposal, with its cost; settles what was reserved, whatever happens."""
        tier, began = standing.tier, time.monotonic()
        standing.breaker.begin(began)
        standing.in_hand += 1
        cost_usd: float | None = None  # unknown: counted at its most
        counted = {of_tier(tier.name, "asked"): 1}
        try:
            proposal = await tier.ask(query, grounded, budget_s)
        except GeneratorError as error:
            standing.failed(began, time.monotonic(), budget_s)
            cost_usd = None if error.asked else 0.0
            raise
        except BaseException:
            standing.breaker.released()  # the caller went away
            raise
        else:
            now = time.monotonic()
            standing.breaker.succeeded()
            standing.pace.note(now - began, now)
            p = proposal
            cost_usd = route.cost(tier.price, p.tokens_in, p.tokens_cached, p.tokens_out, p.engine_s)
            standing.expected_usd += _LEARNS * (cost_usd - standing.expected_usd)
            told = {"answered": 1, "in": p.tokens_in, "cached": p.tokens_cached, "out": p.tokens_out}
            told["ms"] = round(p.engine_s * 1000)
            counted |= {of_tier(tier.name, what): amount for what, amount in told.items()}
            return dataclasses.replace(proposal, tier=tier.name, cost_usd=cost_usd)
        finally:
            standing.in_hand -= 1
            self._settle(tier, query.tenant, granted, granted.usd if cost_usd is None else cost_usd, counted)

    async def _reserve(self, standing: _Standing, tenant: str, offers: Sequence[Offer]) -> tuple[_Grant | None, float]:
        """A grant of the most it can cost, or None when a budget forbids it; and the share of the budget used."""
        offer = next(offer for offer in offers if offer.tier == standing.tier.name)
        if self._ledger is None or offer.bound_usd == 0:
            return _Grant(today(), 0), 0.0
        share = route.share_of_budget(offer, offers)
        limit = self._router.daily_budget_usd * share
        amount = route.nano(offer.bound_usd)
        try:
            granted, spent = await self._ledger.reserve(
                tenant, amount, route.nano(limit), route.nano(limit * self._router.tenant_share)
            )
        except StateUnavailable:
            return None, 0.0  # what cannot be counted is not spent
        used = self._heard(spent)
        return _Grant(spent.day, amount) if granted else None, used

    def _settle(self, tier: Tier, tenant: str, granted: _Grant, cost_usd: float, counted: dict[str, int]) -> None:
        ledger = self._ledger
        if ledger is None:
            return
        cost = route.nano(cost_usd)

        async def settle() -> None:
            with contextlib.suppress(StateUnavailable):  # it stays counted at its most
                self._heard(
                    await ledger.settle(
                        tenant, granted.day, granted.amount, cost, counted | {of_tier(tier.name, "cost"): cost}
                    )
                )

        self._begin(settle())

    def _heard(self, spent: Spent) -> float:
        """The share of the day's budget that is used, said once when it runs out."""
        budget = self._router.daily_budget_usd
        parts = (route.usd(spent.service), route.usd(spent.tenant) / self._router.tenant_share)
        self.used = max(parts) / budget if budget else 1.0
        if self.used >= route.WARN_AT and self._warned != spent.day:
            self._warned = spent.day
            _log.warning("%.0f %% of the day's budget of %.2f USD is used", 100 * self.used, budget)
        return self.used

    def _decide(self, query: Query, choice: Choice, cost_usd: float = 0.0) -> Route:
        if self._ledger is not None:
            self._decided.setdefault(query.tenant, collections.Counter())[choice.reason] += 1
            if not self._is_flushing:
                self._is_flushing = True
                self._begin(self._flush_later())
        return Route(choice.tier, choice.reason, choice.gain, cost_usd, choice.reason in route.DEGRADED)

    async def _flush_later(self) -> None:
        while self._batch or self._decided:
            await asyncio.sleep(_FLUSH_S)
            with contextlib.suppress(StateUnavailable):
                await self.flush()
        self._is_flushing = False

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclasses.dataclass(frozen=True, slots=True)
class _Grant:
    """What was reserved on a day, in billionths of a dollar."""

    day: str
    amount: int

    @property
    def usd(self) -> float:
        return route.usd(self.amount)


@dataclasses.dataclass(frozen=True, slots=True)
class _Batch:
    """Decisions of a tenant that are counted together, under one token until it is known that they are."""

    tenant: str
    day: str
    counted: Mapping[str, int]
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
