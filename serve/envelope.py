"""What surrounds every request: its id, the loopback guard, shedding, the last catch, one line of log.

A plain ASGI wrapper, since Starlette's middleware class costs more than a whole prediction's
bookkeeping. The table STATUS is the only place where an error gets its HTTP status. Used by
`serve.ingress`.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline import errors
from pipeline.access import LOOPBACK
from pipeline.errors import OpenSesameError
from pipeline.settings import Settings
from pipeline.types import Answer
from serve import documents, logs, schemas
from serve.metrics import Metrics

_log = logging.getLogger("opensesame.access")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NOTHING_TOLD: dict[str, Any] = {"catalog": None, "model_version": None, "degraded": []}

# The most derived class of an error that stands here decides.
STATUS: dict[type, int] = {
    errors.BadRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.SpecError: 422,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
}
TITLES = {
    400: "The request is malformed",
    401: "Who asks?",
    403: "Not allowed",
    404: "Not found",
    405: "No such method here",
    409: "Conflict",
    410: "Its time is over",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not a usable spec",
    429: "Too many requests",
    500: "A fault of ours",
    503: "Try again",
}


def status_of(kind: type[OpenSesameError]) -> int:
    """The HTTP status of an error; 500 when STATUS has none of its classes."""
    return next((STATUS[base] for base in kind.__mro__ if base in STATUS), 500)


def problem(error: OpenSesameError, request_id: str) -> Response:
    """The error as a problem document (RFC 9457)."""
    where = getattr(error, "where", "")
    response = problem_document(status_of(type(error)), error.slug, error.detail, request_id, where)
    if isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s - 1e-3)))
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = 'Bearer realm="opensesame"'
    return response


def fault(request_id: str) -> Response:
    """What is said of a bug of ours; the log says what it was."""
    return problem(OpenSesameError("The service failed on this request; it has been logged."), request_id)


def problem_document(status: int, slug: str, detail: str, request_id: str, where: str = "") -> Response:
    body = problem_json(status, slug, detail, request_id, where)
    return Response(schemas.dump(body), status, media_type="application/problem+json")


def problem_json(status: int, slug: str, detail: str, request_id: str, where: str = "") -> documents.Problem:
    body: documents.Problem = {
        "type": f"urn:opensesame:{slug}",
        "title": TITLES.get(status, "The request failed"),
        "status": status,
        "detail": detail,
        "slug": slug,
        "request_id": request_id,
    }
    if where:
        body["where"] = where
    return body


def tell(request: Request, answer: Answer) -> None:
    """Have the request's line in the log say what it was answered from."""
    request.state.told = {
        "catalog": answer.grounded.digest[:19],
        "model_version": answer.model_version,
        "degraded": list(answer.degraded),
    }


class Envelope:
    """Wraps the application of one ingress replica."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._shed_at = settings.ingress.shed_at
        # Without authentication a page in the user's browser must not reach the service through a name that it
        # resolves to this machine (DNS rebinding): only loopback names are answered.
        self._loopback_only = settings.server.auth == "none"
        self._ongoing = 0
        metrics.follow("opensesame_ongoing", lambda: self._ongoing)
        metrics.begin("opensesame_errors")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = {name: value for name, value in scope["headers"] if name in (b"host", b"x-request-id")}
        request_id = _request_id(headers.get(b"x-request-id", b""))
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if b"x-request-id" not in headers:  # Serve's own wrapper names every request, and then answers with it
                    message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        self._ongoing += 1
        try:
            refusal = self._refusal(headers.get(b"host", b"").decode("latin-1"))
            if refusal is not None:
                self._metrics.count("opensesame_errors", slug=refusal.slug)
                await problem(refusal, request_id)(scope, receive, send_named)
            else:
                await self._app(scope, receive, send_named)
        except Exception as error:  # the last catch: what reaches it is a bug of ours, answered bare and logged whole
            _log.exception("a fault of ours: %s", type(error).__name__)
            self._metrics.count("opensesame_errors", slug="error")
            if status == 0:
                await fault(request_id)(scope, receive, send_named)
        finally:
            self._ongoing -= 1
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.count("opensesame_requests", route=route, status=str(status))
            if _log.isEnabledFor(logging.INFO):
                state = scope["state"]
                line = {
                    "method": scope["method"] if scope["method"] in _METHODS else "other",
                    "route": route,
                    "status": status,
                    "latency_ms": round((time.perf_counter() - started) * 1e3, 2),
                    "tenant": logs.hashed(state.get("tenant", "local")),
                    "key": state.get("key", ""),
                    "request_id": request_id,
                }
                _log.info("request", extra=line | state.get("told", _NOTHING_TOLD))

    def _refusal(self, host: str) -> OpenSesameError | None:
        if self._loopback_only:
            name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
            if name.lower() not in LOOPBACK:
                return errors.Forbidden(
                    "This instance has no authentication and answers only requests to localhost; the Host header "
                    "names another host."
                )
        if self._ongoing > self._shed_at:
            return errors.Overloaded("The service has more requests than it can take; try again.", 1.0)
        return None


def _request_id(sent: bytes) -> str:
    """The client's request id when it is a plain short token, else a new one."""
    text = sent.decode("latin-1")
    return text if 0 < len(text) <= 128 and text.isascii() and text.isprintable() else uuid.uuid4().hex
