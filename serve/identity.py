"""Who asks, and may they: API keys or tokens, scopes, limits; every route says what it wants.

`Door.guard` wraps a handler: it finds the caller, holds the route's scopes against theirs and counts the request.
A handler that serves users calls `Door.enter` once it knows for whom, and gets the name under which the user stands
in every store. Tenants are what data belongs to: handlers take theirs from `tenant_of` and from nowhere else.
Used by `serve.ingress` and its neighbours.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from pipeline import guardrails
from pipeline.errors import BadRequest, Forbidden, OpenSesameError, RateLimited, StateUnavailable, Unauthorized
from pipeline.settings import Settings
from pipeline.stores import apikeys
from pipeline.stores.apikeys import SCOPES, ApiKey, ApiKeys, KeyFile
from pipeline.stores.counts import ANONYMOUS
from pipeline.stores.limits import Limiter, Verdict, policy
from pipeline.stores.pseudonym import pseudonym

LOCAL = "local"  # the one tenant there is when server.auth is none

# Any one of these scopes opens a route; () is for everybody. A route that is not here cannot be built.
ACCESS: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/predict"): ("predict",),
    ("POST", "/suggest"): ("predict",),
    ("POST", "/feedback"): ("feedback",),
    ("POST", "/events"): ("feedback",),
    ("POST", "/log_event"): ("feedback",),
    ("GET", "/catalogs"): ("catalogs", "predict"),
    ("PUT", "/catalogs/{name}"): ("catalogs",),
    ("GET", "/catalogs/{name}"): ("catalogs", "predict"),
    ("DELETE", "/catalogs/{name}"): ("catalogs",),
    ("GET", "/cost-analytics"): ("operator",),
    ("GET", "/models"): ("operator",),
    ("GET", "/models/compare"): ("operator",),
    ("POST", "/models/rollback"): ("operator",),
    ("GET", "/models/{version}"): ("operator",),
    ("POST", "/models/{version}/promote"): ("operator",),
    ("POST", "/models/{version}/challenge"): ("operator",),
    ("DELETE", "/models/challenger"): ("operator",),
    ("POST", "/train"): ("operator",),
    ("GET", "/train/{job_id}"): ("operator",),
    ("GET", "/health"): (),
    ("GET", "/ready"): (),
    ("GET", "/metrics"): ("operator",),  # or for everybody: auth.metrics
}
SERVE_USERS = frozenset(("/predict", "/suggest", "/feedback", "/events", "/log_event"))  # they call `enter`

_HOW = "as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
_CACHED_MAX = 4096
_STALE_S = 3600.0  # a key that was good is believed so long while the state is away: there nobody can revoke it either
_AHEAD_S = 1e-3  # a wait is told in whole seconds, and never too short

SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the configured issuer."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}

Handler = Callable[[Request], Awaitable[Response]]


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    tenant: str
    scopes: frozenset[str]
    id: str  # of the key; of a token a hash of its subject


class Judge(Protocol):
    """Tells who a credential belongs to; raises Unauthorized, or Unavailable when that cannot be told now."""

    async def caller(self, credential: str) -> Caller: ...


class Keys:
    """API keys, in the state and in a file."""

    def __init__(self, cache_s: float, store: ApiKeys, file: KeyFile | None) -> None:
        self._cache_s = cache_s
        self._store = store
        self._file = file
        self._seen: OrderedDict[str, tuple[ApiKey | None, float]] = OrderedDict()  # id -> key, when it was looked up

    async def caller(self, credential: str) -> Caller:
        id_ = apikeys.id_of(credential)
        record = await self._record(id_) if id_ else None
        if record is None or not record.opens(credential):
            raise Unauthorized(
                f"The API key is mistyped, unknown, revoked or expired: send a good one {_HOW}, or a token if this "
                "service takes tokens."
                if not id_
                else f"The API key is unknown, revoked or expired: send a good one {_HOW}."
            )
        return Caller(record.tenant, frozenset(record.scopes), record.id)

    async def _record(self, id_: str) -> ApiKey | None:
        now = time.monotonic()
        record, looked = self._seen.get(id_, (None, -math.inf))
        if now - looked < self._cache_s:
            return record
        if self._file is not None and (filed := self._file.get(id_)):
            record = filed
        else:
            try:
                record = await self._store.get(id_)
            except StateUnavailable:
                if record is None or now - looked > _STALE_S:
                    raise
                return record
        self._seen[id_] = (record, now)
        self._seen.move_to_end(id_)
        if len(self._seen) > _CACHED_MAX:
            self._seen.popitem(last=False)
        return record


class Door:
    """Lets requests in."""

    def __init__(self, settings: Settings, judge: Judge | None, limiter: Limiter) -> None:
        """Without a `judge` everybody is the tenant `local` and may do everything, unlimited."""
        self._judge = judge
        self._limiter = limiter if judge is not None and settings.limits.enabled else None
        self._policy = policy(settings.limits)
        self._metrics_open = settings.auth.metrics == "open"
        self._secret = settings.privacy.secret.get_secret_value()

    def scopes(self, method: str, path: str) -> tuple[str, ...]:
        """Those that open a route, any one of them; none when it is for everybody."""
        return () if path == "/metrics" and self._metrics_open else ACCESS[method, path]

    def guard(self, method: str, path: str, handler: Handler) -> Handler:
        """The handler for those who have a scope of its route; one that serves users calls `enter` itself."""
        scopes, serves_users = self.scopes(method, path), path in SERVE_USERS
        if not scopes:
            return handler

        async def guarded(request: Request) -> Response:
            request.state.verdict = None
            caller = request.state.caller = await self._let_in(request, scopes)
            request.state.tenant, request.state.key = caller.tenant, caller.id  # for the request's line in the log
            if not serves_users:
                await self._count(request, ANONYMOUS)
            try:
                response = await handler(request)
            except OpenSesameError:
                if serves_users and request.state.verdict is None:
                    await self._count(request, ANONYMOUS)  # what cannot be read counts too
                raise
            if self._limiter is not None:
                self._tell(response, request.state.verdict)
            return response

        guarded.__name__, guarded.__doc__ = handler.__name__, handler.__doc__
        return guarded

    async def enter(self, request: Request, user: str) -> str:
        """The name under which a user stands in every store; counts the request.

        Raises:
            BadRequest: the user's name is no text.
            RateLimited: the user, or the key, asks too often.
        """
        guardrails.printable("user_id", user, guardrails.URI_MAX)
        if not user.strip():
            raise BadRequest("user_id must not be blank.")
        known = pseudonym(self._secret, tenant_of(request), user)
        await self._count(request, known)
        return known

    @property
    def is_open(self) -> bool:
        """Nobody is asked who he is: whoever reaches the port on this machine is let in."""
        return self._judge is None

    @property
    def is_limited(self) -> bool:
        return self._limiter is not None

    async def recognise(self, request: Request) -> Caller | None:
        """Who asks on a route that is for everybody, None when nobody known does."""
        if self._judge is None:
            return _EVERYBODY
        try:
            return await self._judge.caller(_credential(request))
        except OpenSesameError:
            return None

    async def _let_in(self, request: Request, scopes: tuple[str, ...]) -> Caller:
        if self._judge is None:
            return _EVERYBODY
        caller = await self._judge.caller(_credential(request))
        if caller.scopes.isdisjoint(scopes):
            has = ", ".join(scope for scope in SCOPES if scope in caller.scopes) or "no scope of this service"
            raise Forbidden(f"This asks for the scope {' or '.join(scopes)}; the key has {has}.")
        return caller

    async def _count(self, request: Request, user: str) -> None:
        if self._limiter is None:
            return
        caller: Caller = request.state.caller
        verdict = request.state.verdict = await self._limiter.ask(caller.tenant, caller.id, user)
        if not verdict.wait_s:
            return
        whose = "This user of the key" if verdict.name == "user" else "This key"
        how = (
            "went on asking too often and is refused everything for a while" if verdict.is_blocked else "asks too often"
        )
        raise RateLimited(f"{whose} {how}: come again in {_whole(verdict.wait_s)} s.", verdict.wait_s)

    def _tell(self, response: Response, verdict: Verdict | None) -> None:
        if verdict is not None:
            response.headers["RateLimit-Policy"] = self._policy
            response.headers["RateLimit"] = f'"{verdict.name}";r={verdict.remaining};t={_whole(verdict.reset_s)}'


_EVERYBODY = Caller(LOCAL, frozenset(SCOPES), LOCAL)


def tenant_of(request: Request) -> str:
    """Whose data a request is about."""
    caller: Caller = request.state.caller
    return caller.tenant


def _credential(request: Request) -> str:
    bearer, plain = request.headers.get("authorization", ""), request.headers.get("x-api-key", "")
    if bearer and plain:
        raise Unauthorized("Send one credential: Authorization or X-API-Key, not both.")
    if bearer:
        scheme, _, credential = bearer.partition(" ")
        if scheme.lower() != "bearer" or not credential.strip():
            raise Unauthorized(f"Authorization is not of the form 'Bearer KEY': send an API key {_HOW}.")
        return credential.strip()
    if not plain:
        raise Unauthorized(f"This asks for an API key or a token: send it {_HOW}.")
    return plain.strip()


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds - _AHEAD_S)) if seconds > 0 else 0
