"""The log of a process: one JSON object a line (or a readable line), without anything that users said.

Each deployment calls `configure` in its constructor. Lines go to the process's own stderr, which Ray keeps in
`<session>/logs/worker-*.err` (with RAY_LOG_TO_STDERR=1: in the container's log), and past Serve's capture of
stderr, which walks the stack for every line and holds lines back until it has a thousand. Of an exception its
types and places are told, not its words, which may quote a request.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import sys
import traceback
from types import TracebackType
from typing import Any

import orjson
import structlog

from pipeline import settings

_OURS = ("opensesame", "pipeline", "serve")  # loggers; those of libraries stay as they are
_OF_LIBRARIES = ("_ray_timestamp_ns", "vllm_process_name")  # what Ray and vLLM add to every record of their process
_FRAMES = 20  # of a traceback, the innermost ones


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Told from others by its class, so that configuring twice changes nothing."""


def configure(log: settings.Log) -> None:
    """Have this process's log written, by the settings."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _places,
    ]
    render: Any = structlog.dev.ConsoleRenderer(colors=False)
    if log.format == "json":
        render = structlog.processors.JSONRenderer(
            serializer=lambda told, **_: orjson.dumps(told, default=repr).decode()
        )
    handler = _Handler(sys.__stderr__)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers = [other for other in logger.handlers if not isinstance(other, _Handler)] + [handler]
        logger.setLevel(log.level.upper())
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


@functools.lru_cache(maxsize=4096)
def hashed(tenant: str) -> str:
    """What a tenant is called in the log: 12 characters that stay the same."""
    return hashlib.blake2s(tenant.encode(), digest_size=6, person=b"tenant").hexdigest()


def _places(logger: Any, method: str, told: dict[str, Any]) -> dict[str, Any]:
    """An exception as its types, outermost last, and where it came from; without what is no part of the line."""
    for name in _OF_LIBRARIES:
        told.pop(name, None)
    raised = told.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    error = raised if isinstance(raised, BaseException) else raised[1] if raised else None
    if error is not None:
        types, trace = [], error.__traceback__
        while error is not None:
            types.append(type(error).__name__)
            error = error.__cause__ or error.__context__
        told["exception"] = " from ".join(types)
        told["frames"] = _frames(trace)
    return told


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)[-_FRAMES:]]
