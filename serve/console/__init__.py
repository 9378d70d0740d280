"""The console: a page of static modules and styles beside this file, served at `/` and `/console/`.

No build step, nothing from elsewhere, no state of its own: it asks the same routes as any client. Specs are hostile
text, so the policy allows no inline script or style and no string to become markup. Mounted by `serve.ingress`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.settings import resource

_FOLDER = Path(__file__).parent
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Cache-Control": "no-cache",  # asked again each time, answered 304 while it is the same
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def routes(default_catalog: str, auth: str = "none") -> Iterable[Route]:
    """The page, its files, and `start.json`: how one is let in, packaged catalogs and their sessions."""
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            where = "/" if path.name == "index.html" else f"/console/{path.name}"
            yield Route(where, static(path.read_bytes(), _TYPES[path.suffix]))
    start = orjson.dumps({"auth": auth, "default_catalog": default_catalog, "examples": _examples()})
    yield Route("/console/start.json", static(start, "application/json"))


def _examples() -> dict[str, list[dict]]:
    """Packaged catalogs that have sessions: name -> sessions."""
    suffix = ".sessions.jsonl"
    return {
        path.name.removesuffix(suffix): [orjson.loads(line) for line in path.read_bytes().splitlines()]
        for path in sorted(resource("examples").glob(f"*{suffix}"))
    }


def static(body: bytes, kind: str, policy: str = _POLICY) -> Callable[[Request], Response]:
    """A handler that answers `body`, of media type `kind`, under a Content-Security-Policy."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'

    async def answer(request: Request) -> Response:
        headers = {**_HEADERS, "Content-Security-Policy": policy, "ETag": etag}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=kind)

    return answer  # type: ignore[return-value]
