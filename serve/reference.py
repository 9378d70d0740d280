"""The page /docs: Swagger UI over the service's own OpenAPI document, without anything from elsewhere.

Its script and style come from the wheel fastapi-offline. Addresses are relative, so that it works behind a gateway's
path. Mounted by `serve.ingress`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from starlette.routing import Route

from serve.console import static

_PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>OpenSesame: HTTP API</title>
<link rel="icon" href="console/icon.svg">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="reference"></div>
<noscript>This page needs JavaScript. The document itself is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
_START = b"""SwaggerUIBundle({url: "openapi.json", dom_id: "#reference", deepLinking: true, validatorUrl: null});
"""
# Swagger UI has its icons, as data, in its style sheet.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def routes() -> Iterable[Route]:
    """The page and its files."""
    yield Route("/docs", static(_PAGE, "text/html; charset=utf-8", _POLICY))
    yield Route("/docs/start.js", static(_START, "text/javascript; charset=utf-8", _POLICY))
    wheel = files("fastapi_offline") / "static"
    for name, kind in (("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "text/javascript")):
        yield Route(f"/docs/{name}", static((wheel / name).read_bytes(), f"{kind}; charset=utf-8", _POLICY))
