"""One deployment asks another: what a call of Serve's may end with, as few things as a caller has to know.

Deployments return errors of ours as values (`as_values`): Serve would log a raised one with its text, three times.
`ask` raises them again. Those who ask are the ingress's `RemoteStages`, Catalogs and Generator.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError

from pipeline.errors import OpenSesameError, Overloaded, ReplicaGone

_GONE = "A part of the service was lost while it was asked; try again."


def as_values(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A deployment's method that returns an error of ours instead of raising it."""

    @functools.wraps(method)
    async def wrapped(*args: Any) -> Any:
        try:
            return await method(*args)
        except OpenSesameError as error:
            return error

    return wrapped


async def ask(call: Callable[[], Any], timeout_s: float) -> Any:
    """What `call` of a deployment's handle answers within `timeout_s` seconds; once.

    Raises:
        TimeoutError: it did not.
        Overloaded: no replica takes it. ReplicaGone: the one that took it did not live to answer.
        RayTaskError: the deployment's code failed; a bug of ours.
        OpenSesameError: what the deployment returned.
    """
    try:
        async with asyncio.timeout(timeout_s):
            result = await call()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():  # the client has left
            raise
        raise ReplicaGone(_GONE) from None  # gRPC ends a call whose connection breaks like this, too
    except (BackPressureError, DeploymentUnavailableError):
        raise Overloaded("The service has more requests than it can take; try again.", 1.0) from None
    except RayTaskError:
        raise
    except (RayError, RequestCancelledError, grpc.RpcError):
        raise ReplicaGone(_GONE) from None
    except RuntimeError as error:
        if not str(error).startswith("Unexpected error ("):
            raise
        raise ReplicaGone(_GONE) from None  # Serve's word for a connection that broke before the call was taken
    if isinstance(result, OpenSesameError):
        raise result
    return result
