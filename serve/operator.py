"""The operator's routes: models, promotion, rollback, challenge, training. Deployment Models does what they ask.

What changes something wants a body of application/json, if only `{}`: a page in the operator's browser cannot
send one to another origin unasked. A training may be asked for without one, but not by a page: to what browsers post
they add an Origin (Fetch Standard). Registered by `serve.ingress`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from serve import schemas


class Registry(Protocol):
    """Deployment Models, asked by the name of its method."""

    async def models(self, method: str, *arguments: Any) -> Any: ...


class Operator:
    """The handlers; `read` gives the body of a JSON request."""

    def __init__(self, registry: Registry, read: Callable[[Request], Awaitable[bytes]]) -> None:
        self._registry = registry
        self._read = read

    async def list_models(self, request: Request) -> Response:
        """Champion, challenger and previous, and every version with the gate's verdict."""
        return _json(await self._registry.models("overview"))

    async def show_model(self, request: Request) -> Response:
        """A version with its metrics and the gate's whole report."""
        return _json(await self._registry.models("show", request.path_params["version"]))

    async def promote_model(self, request: Request) -> Response:
        """Make a version the champion; every replica serves it within seconds."""
        await self._asked(request, schemas.OperatorRequest)
        return _json(await self._registry.models("promote", request.path_params["version"]))

    async def roll_back_model(self, request: Request) -> Response:
        """Go back to the champion before this one."""
        await self._asked(request, schemas.OperatorRequest)
        return _json(await self._registry.models("rollback"))

    async def challenge_model(self, request: Request) -> Response:
        """Make a version the challenger, which the configuration's `experiments` compare with the champion."""
        await self._asked(request, schemas.OperatorRequest)
        return _json(await self._registry.models("challenge", request.path_params["version"]))

    async def end_challenge(self, request: Request) -> Response:
        """Nobody is the challenger any more."""
        return _json(await self._registry.models("challenge", ""))

    async def train(self, request: Request) -> Response:
        """Start a training, or name the one that runs; with `force` also when none is due."""
        body = schemas.TrainRequest() if _is_bare(request) else await self._asked(request, schemas.TrainRequest)
        return _json(await self._registry.models("train", body.force), 202)

    async def training(self, request: Request) -> Response:
        """How far a training has come."""
        return _json(await self._registry.models("job", request.path_params["job_id"]))

    async def _asked(self, request: Request, model: type) -> Any:
        return schemas.read_json(await self._read(request) or b"{}", model)


def _is_bare(request: Request) -> bool:
    """A request without a body, from no browser."""
    headers = request.headers
    return headers.get("content-length", "0") == "0" and not {"transfer-encoding", "origin"} & set(headers)


def _json(value: Any, status: int = 200) -> Response:
    return Response(schemas.dump(value), status, media_type="application/json")
