"""Past calls as clients write them, older ones too, and how they are read.

Called by `serve.schemas` for the calls of a query and by `serve.outcomes` for those that were observed. Raises only
errors of `pipeline.errors`, with the place of what is wrong.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any
from urllib.parse import parse_qsl

import pydantic

from pipeline.errors import BadRequest
from pipeline.types import PROPOSITION_ID, SHOW, Call

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_ENDPOINT = re.compile(r"^([A-Za-z]{1,16})\s+(\S.*)$")
_ID = re.compile(PROPOSITION_ID)
_DEPTH_MAX = 32  # nesting of params and bodies; far above real calls, far below what recursion survives
_SAMPLE_ITEMS = 3  # of a list in a response sample: later items look like the first
_SAMPLE_KEYS = 64
_SAMPLE_TEXT = 256  # characters


class Wire(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class Response(Wire):
    """What a call was answered."""

    status: Annotated[int, pydantic.Field(ge=100, le=599)]
    body: Any = pydantic.Field(None, description="A sample of it buys better arguments.")


class Event(Wire):
    """One past call."""

    ts: str | None = pydantic.Field(None, description="ISO 8601; UTC when it names no zone")
    endpoint: str = pydantic.Field(
        description="METHOD /path?query; of a catalog of propositions the id", examples=["GET /v1/charges/ch_123"]
    )
    params: dict[str, Any] = pydantic.Field({}, description="Of query or body.")
    response: Response | None = None


class OlderEvent(Wire):
    """One past call as the older services wrote it; what else their clients keep of it is passed over."""

    model_config = pydantic.ConfigDict(extra="ignore", strict=True)

    api_call: str = pydantic.Field(description="/path or METHOD /path")
    method: str | None = None
    timestamp: str | None = None
    parameters: dict[str, Any] | None = None
    status: Annotated[int, pydantic.Field(ge=100, le=599)] | None = None


def split_endpoint(endpoint: str, place: str) -> tuple[str, str, dict[str, str]]:
    """Method in upper case, path without query, and the query's parameters, of `METHOD /path?query`.

    The id of a proposition stands for SHOW /id; whether the catalog holds any is seen once it is there.

    Raises:
        BadRequest: no method, a method that HTTP does not have, or no path.
    """
    found = _ENDPOINT.match(endpoint.strip()) if len(endpoint) <= 8192 else None
    if found is None:
        if _ID.fullmatch(endpoint.strip()):
            return SHOW, f"/{endpoint.strip()}", {}
        if len(endpoint) > 8192:
            raise BadRequest(f"{place} is longer than 8192 characters.")
        raise BadRequest(f"{place} must be 'METHOD /path', such as 'GET /v1/charges/ch_123'; it is {endpoint[:80]!r}.")
    method = found[1].upper()
    if method not in METHODS:
        raise BadRequest(f"{place}: {found[1]!r} is no HTTP method; use one of {', '.join(METHODS)}.")
    target = found[2].split("#", 1)[0]
    path, _, query = target.partition("?")
    if not path.startswith(("/", "http://", "https://")):
        raise BadRequest(f"{place}: the path must start with '/'; it is {path[:80]!r}.")
    try:
        params = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=200))
    except ValueError:
        raise BadRequest(f"{place}: the query string has more than 200 fields.") from None
    return method, path, params


def read_call(event: Event, place: str) -> Call:
    """The call an event tells of; raises BadRequest with its place."""
    method, path, params = split_endpoint(event.endpoint, f"{place}.endpoint")
    check_depth(event.params, f"{place}.params")
    response = event.response
    return Call(
        method=method,
        path=path,
        params={**params, **event.params},
        ts=read_time(event.ts, f"{place}.ts"),
        status=response.status if response else None,
        body=_sample(response.body, f"{place}.response.body") if response else None,
    )


def read_older_call(event: OlderEvent, place: str) -> Call:
    """The call an older event tells of; raises BadRequest with its place."""
    text = event.api_call.strip()
    has_method = bool(re.match(r"^[A-Za-z]+\s", text))
    if event.method is not None and has_method and text.split(None, 1)[0].upper() != event.method.upper():
        raise BadRequest(f"{place}: api_call and method name different methods.")
    endpoint = text if has_method else f"{event.method or 'GET'} {text}"
    method, path, params = split_endpoint(endpoint, f"{place}.api_call")
    check_depth(event.parameters, f"{place}.parameters")
    return Call(
        method=method,
        path=path,
        params={**params, **(event.parameters or {})},
        ts=read_time(event.timestamp, f"{place}.timestamp"),
        status=event.status,
    )


def read_time(text: str | None, place: str) -> float | None:
    """Seconds since the epoch of an ISO 8601 time, None of None; raises BadRequest with its place."""
    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text.upper())  # RFC 3339 takes a small t and z too
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.astimezone(datetime.UTC).timestamp()  # which UTC can say
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{place} must be an ISO 8601 time, such as 2026-01-31T12:00:00Z; it is {text[:40]!r}."
        ) from None


def check_depth(value: Any, place: str) -> None:
    """Return when the value is nested no deeper than is read; raises BadRequest with its place."""
    level = [value]
    for _ in range(_DEPTH_MAX):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise BadRequest(f"{place} is nested deeper than {_DEPTH_MAX} levels.")


def _sample(value: Any, place: str) -> Any:
    check_depth(value, place)
    return _shorten(value)


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:_SAMPLE_TEXT]: _shorten(value[key]) for key in list(value)[:_SAMPLE_KEYS]}
    if isinstance(value, list):
        return [_shorten(item) for item in value[:_SAMPLE_ITEMS]]
    return value[:_SAMPLE_TEXT] if isinstance(value, str) else value
