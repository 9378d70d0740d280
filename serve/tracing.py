"""Traces by OpenTelemetry: Serve's own spans of each hop, and one of ours for each stage of a prediction.

Serve carries the context from deployment to deployment and continues a `traceparent` that comes with a request; we
say where spans go (`tracing.endpoint`, OTLP over HTTP) and name the stages. A span holds no word of a user and no
text of an exception. Off, nothing is wrapped and nothing of OpenTelemetry is imported here.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from pipeline import settings

P = ParamSpec("P")
T = TypeVar("T")

_SERVICE = "opensesame"

STAGES = {"ground": "ground", "propose": "generate", "score": "score"}  # method of the stages -> span
MEMORY = {"recall": "recall", "remember": "remember"}


def config(tracing: settings.Tracing) -> dict[str, Any] | None:
    """Serve's `tracing_config`; None for none."""
    if not tracing.endpoint:
        return None
    return {
        "enabled": True,
        "exporter_import_path": f"{__name__}:processors",
        "sampling_ratio": tracing.sample,  # of requests without a traceparent; one that comes decides by its flag
    }


def variables(tracing: settings.Tracing) -> dict[str, str]:
    """The environment from which OpenTelemetry's exporter takes its address, in every process that has spans."""
    if not tracing.endpoint:
        return {}
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": tracing.endpoint, "OTEL_SERVICE_NAME": _SERVICE}


def processors() -> list[Any]:
    """The span processors of a process; Serve calls it by its import path."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return [BatchSpanProcessor(OTLPSpanExporter())]


def spanned(tracing: settings.Tracing, name: str, method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The method, with a span of this name around each call in a request that is traced; itself when tracing is off."""
    if not tracing.endpoint:
        return method
    from opentelemetry import trace

    tracer = trace.get_tracer(_SERVICE)

    @functools.wraps(method)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        if not trace.get_current_span().is_recording():  # not sampled: a span here would begin a trace of its own
            return await method(*args, **kwargs)
        with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False):
            return await method(*args, **kwargs)

    return wrapped


def traced(tracing: settings.Tracing, inner: Any, spans: Mapping[str, str]) -> Any:
    """`inner`, with spans around the methods that `spans` names; itself when tracing is off."""
    return _Traced(tracing, inner, spans) if tracing.endpoint else inner


class _Traced:
    def __init__(self, tracing: settings.Tracing, inner: Any, spans: Mapping[str, str]) -> None:
        self._inner = inner
        for method, name in spans.items():
            setattr(self, method, spanned(tracing, name, getattr(inner, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
