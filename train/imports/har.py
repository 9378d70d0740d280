"""Sessions of HAR files (HTTP Archive 1.2), as browsers and proxies export them.

The pages of one tab, which follow one another in time, are one session, split at silences; pages that
overlap are tabs of their own. Query and JSON or form bodies become parameters, JSON answers samples;
headers and cookies are never read. http://www.softwareishard.com/blog/har-12-spec/
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import BadRequest
from train.imports import contents
from train.imports.recording import Recording, Request, by_gap, load_json, request_of, seconds


class _Named(msgspec.Struct, frozen=True):
    name: str = ""
    value: Any = ""


class _PostData(msgspec.Struct, frozen=True, rename="camel"):
    mime_type: str | None = None
    text: str | None = None
    params: list[_Named] | None = None


class _HttpRequest(msgspec.Struct, frozen=True, rename="camel"):
    method: str
    url: str
    query_string: list[_Named] | None = None
    post_data: _PostData | None = None


class _Content(msgspec.Struct, frozen=True, rename="camel"):
    mime_type: str | None = None
    text: str | None = None
    encoding: str | None = None


class _Response(msgspec.Struct, frozen=True):
    status: Any = None
    content: _Content | None = None


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    request: _HttpRequest
    started_date_time: str | None = None
    pageref: str | None = None
    response: _Response | None = None


def looks_like(start: bytes) -> bool:
    """Whether a file that begins so is a HAR file."""
    return b'"log"' in start[:4096] and (b'"creator"' in start or b'"entries"' in start or b'"version"' in start)


def read(file: Path, skipped: Counter[str]) -> Iterator[Recording]:
    """The sessions of a HAR file.

    Raises:
        BadRequest: no HAR file, or an entry that is none; the detail names it.
    """
    log = load_json(file).get("log")
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise BadRequest(f"{file.name} is no HAR file: it has no list log.entries.")
    requests = []
    for number, entry in enumerate(entries):
        request = _request(entry, file.name, f"entry {number}", skipped)
        if request is not None:
            requests.append(request)
    requests.sort(key=lambda r: r.call.ts or 0.0)  # stable: without times the order of the file stays
    yield from by_gap(_with_tabs(requests))


def _request(entry: Any, file: str, where: str, skipped: Counter[str]) -> Request | None:
    try:
        found = msgspec.convert(entry, _Entry)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{file}, {where} is no HAR entry: {error}.") from None
    response = found.response or _Response()
    params = contents.pairs((p.name, p.value) for p in found.request.query_string or ())
    request = request_of(
        found.request.method,
        found.request.url,
        {**params, **_posted(found.request.post_data)},
        ts=seconds(found.started_date_time),
        status=response.status,
        body=_answered(response.content),
        where=where,
        user=found.pageref or "",
    )
    if request is None:
        skipped["not an HTTP request"] += 1
    return request


def _posted(data: _PostData | None) -> dict[str, Any]:
    """The parameters of a body: JSON by its properties, a form by its fields; files and other texts give none."""
    if data is None:
        return {}
    kind = (data.mime_type or "").partition(";")[0].strip().lower()
    if data.params and "json" not in kind:
        return contents.pairs((p.name, p.value) for p in data.params)
    if kind == "application/x-www-form-urlencoded":
        return contents.query(data.text or "")
    return contents.body_params(contents.json_body(data.text or "")) if "json" in kind or not kind else {}


def _answered(content: _Content | None) -> Any:
    if content is None or not content.text or "json" not in (content.mime_type or "").lower():
        return None
    text: str | bytes = content.text
    if content.encoding == "base64":
        try:
            text = base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError):
            return None
    return contents.json_body(text)


def _with_tabs(requests: list[Request]) -> Iterator[Request]:
    """The requests, their page replaced by the tab it was opened in: a page begins where its tab's last one ended."""
    pages: dict[str, list[float]] = defaultdict(list)
    for request in requests:
        pages[request.user].append(request.call.ts or 0.0)
    tab_of: dict[str, str] = {}
    ends: dict[str, float] = {}  # tab -> when its last page ended
    for page, times in pages.items():  # in the order in which they began
        free = [tab for tab, end in ends.items() if end <= times[0]]
        tab = max(free, key=lambda t: ends[t]) if free else page
        tab_of[page], ends[tab] = tab, times[-1]
    for request in requests:
        yield dataclasses.replace(request, user=tab_of[request.user])
