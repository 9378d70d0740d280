"""Sessions of our own: JSON lines of `{prompt?, prompts?, spec?, events: [{endpoint, params?, ts?, response?}]}`.

`endpoint` is `METHOD /path?query`, `response` `{status?, body?}`; other fields are ignored. A row that
cannot be read is an error that names its line: these files are written by people and by programs of
ours, so that a mistake is to be mended and not counted.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson

from pipeline.errors import BadRequest
from train.imports import contents
from train.imports.recording import Recording, Request, request_of, seconds


class _Response(msgspec.Struct, frozen=True):
    status: int | None = None
    body: Any = None


class _Event(msgspec.Struct, frozen=True):
    endpoint: str
    params: dict[str, Any] | None = None
    ts: str | float | None = None
    response: _Response | None = None


class _Row(msgspec.Struct, frozen=True):
    events: list[_Event]
    prompt: str | None = None
    prompts: list[str] | None = None
    spec: str | None = None
    user_id: str | None = None


def looks_like(start: bytes) -> bool:
    """Whether a file that begins so holds rows of ours."""
    first = start.lstrip().split(b"\n", 1)[0]
    return first.startswith(b"{") and b'"events"' in first and b'"endpoint"' in start


def read(file: Path, skipped: Counter[str]) -> Iterator[Recording]:
    """The sessions of a file.

    Raises:
        BadRequest: a line that is no session; the detail names it.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _recording(line, file.name, f"line {number}")


def _recording(line: bytes, file: str, where: str) -> Recording:
    try:
        row = msgspec.convert(orjson.loads(line), _Row)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"{file}, {where} is not JSON: {error}.") from None
    except msgspec.ValidationError as error:
        raise BadRequest(f"{file}, {where} is no session: {error}.") from None
    requests = tuple(_request(event, file, f"{where}, event {i}") for i, event in enumerate(row.events, 1))
    if not requests:
        raise BadRequest(f"{file}, {where} is no session: it has no events.")
    said = ([row.prompt] if row.prompt else []) + (row.prompts or [])
    prompts = tuple(dict.fromkeys(text for p in said if (text := contents.clean_text(p).strip())))
    return Recording(requests, where, prompts, row.spec or "")


def _request(event: _Event, file: str, where: str) -> Request:
    method, _, target = event.endpoint.strip().partition(" ")
    response = event.response or _Response()
    ts = seconds(event.ts)
    if event.ts is not None and ts is None:
        raise BadRequest(
            f"{file}, {where}: ts must be an ISO 8601 time or seconds since the epoch, not {event.ts!r:.60}."
        )
    request = request_of(method, target, event.params, ts=ts, status=response.status, body=response.body, where=where)
    if request is None:
        raise BadRequest(f"{file}, {where}: endpoint must be 'METHOD /path', not {event.endpoint[:80]!r}.")
    return dataclasses.replace(request, host="")  # whoever wrote the row says that it is a call of its spec
