"""Sessions of OpenTelemetry HTTP spans in OTLP JSON: one document, or one a line as collectors write them.

Spans of the same `session.id` are a session, split at silences; without one, those of a trace. Where
client and server tell of the same request it counts once. Attributes by their stable names and by
those before version 1.23: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import BadRequest
from train.imports.recording import Recording, Request, by_gap, load_json, request_of

_CLIENT = (3, "SPAN_KIND_CLIENT")
_METHOD = ("http.request.method", "http.method")
_TARGET = ("url.full", "http.url", "url.path", "http.target")
_STATUS = ("http.response.status_code", "http.status_code")
_ROUTE_PARAMETER = re.compile(r"(?<=/):(\w+)\??|(?<=/)<(?:\w+:)?(\w+)>")  # /users/:id of Express, <int:id> of Flask


def looks_like(start: bytes) -> bool:
    """Whether a file that begins so holds spans."""
    return b'"resourceSpans"' in start or b'"resource_spans"' in start


def read(file: Path, skipped: Counter[str]) -> Iterator[Recording]:
    """The sessions of a file of spans.

    Raises:
        BadRequest: no OTLP JSON, or a span that is none; the detail names it.
    """
    found: list[tuple[int, Request]] = []
    told: dict[str, str] = {}  # client span -> its endpoint
    servers: list[tuple[str, int, Request]] = []  # parent, start, request
    number = 0
    for place, document in _documents(file):
        for span, shared in _spans(document, f"{file.name}{place}"):
            number += 1
            where = f"span {number}"
            if not isinstance(span, dict):
                raise BadRequest(f"{file.name}{place}, {where} is no span: it is no object.")
            attributes = shared | _attributes(span.get("attributes"))
            request = _request(span, attributes, where)
            if request is None:
                skipped["no HTTP span"] += 1
            elif span.get("kind") in _CLIENT:
                told[str(span.get("spanId"))] = request.call.endpoint
                found.append((_start(span), request))
            else:
                servers.append((str(span.get("parentSpanId")), _start(span), request))
    for parent, start, request in servers:
        if told.get(parent) == request.call.endpoint:
            skipped["told by client and server"] += 1
        else:
            found.append((start, request))
    found.sort(key=lambda pair: pair[0])
    yield from by_gap(request for _, request in found)


def _documents(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open("rb") as lines:
        first = lines.readline()
        try:
            is_lines = isinstance(orjson.loads(first), dict) and bool(lines.readline().strip())
        except orjson.JSONDecodeError:
            is_lines = False
        if not is_lines:
            yield "", load_json(file)
            return
        lines.seek(0)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise BadRequest(f"{file.name}, line {number} is not JSON: {error}.") from None
            if not isinstance(found, dict):
                raise BadRequest(f"{file.name}, line {number} holds no JSON object.")
            yield f", line {number}", found


def _spans(document: dict[str, Any], where: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each span with its resource's attributes."""
    for resource in _list(document, ("resourceSpans", "resource_spans"), where, required=True):
        held = resource.get("resource")
        shared = _attributes(held.get("attributes")) if isinstance(held, dict) else {}
        shared = {"session.id": shared["session.id"]} if "session.id" in shared else {}
        for scope in _list(resource, ("scopeSpans", "scope_spans", "instrumentationLibrarySpans"), where):
            spans = scope.get("spans")
            yield from ((span, shared) for span in spans or ()) if isinstance(spans, list) else ()


def _list(node: dict[str, Any], names: tuple[str, ...], where: str, required: bool = False) -> list[dict[str, Any]]:
    found = next((node[name] for name in names if name in node), None)
    if found is None and not required:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadRequest(f"{where} is no OTLP JSON: {names[0]} must be a list of objects.")
    return found


def _attributes(listed: Any) -> dict[str, Any]:
    """Plain values by name; OTLP writes 64-bit integers as text."""
    found: dict[str, Any] = {}
    for attribute in listed if isinstance(listed, list) else ():
        value = attribute.get("value") if isinstance(attribute, dict) else None
        if isinstance(value, dict) and isinstance(attribute.get("key"), str):
            kinds = ("stringValue", "intValue", "string_value", "int_value")
            found[attribute["key"]] = next((value[kind] for kind in kinds if kind in value), None)
    return found


def _request(span: dict[str, Any], attributes: dict[str, Any], where: str) -> Request | None:
    method = _first(attributes, _METHOD)
    target = _first(attributes, _TARGET) or _route(attributes.get("http.route"))
    if not isinstance(method, str) or not isinstance(target, str):
        return None
    if "?" not in target and isinstance(attributes.get("url.query"), str):
        target += "?" + attributes["url.query"].removeprefix("?")
    if span.get("kind") not in _CLIENT and "://" in target:  # a server knows itself by names of its network
        target = "/" + target.partition("://")[2].partition("/")[2]
    session, trace = attributes.get("session.id"), span.get("traceId", span.get("trace_id"))
    return request_of(
        method,
        target,
        ts=_start(span) / 1e9 or None,
        status=_first(attributes, _STATUS),
        where=where,
        user=f"session {session}" if session else f"trace {trace}",
    )


def _route(route: Any) -> str | None:
    """A route as a template whose placeholders match any value: `/users/:id` is `/users/{id}`."""
    if not isinstance(route, str):
        return None
    return _ROUTE_PARAMETER.sub(lambda m: "{" + (m[1] or m[2]) + "}", route)


def _first(attributes: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) not in (None, "")), None)


def _start(span: dict[str, Any]) -> int:
    value = span.get("startTimeUnixNano", span.get("start_time_unix_nano"))
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
        return int(value)
    return int(value) if isinstance(value, int) and 0 <= value < 1 << 64 else 0
