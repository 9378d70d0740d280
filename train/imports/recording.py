"""What every reader of recorded traffic gives: requests, and recordings of one user's requests in order.

A reader turns one file into recordings and knows nothing of specs; which request is which operation,
and what becomes of the others, is `train/recorded.py`'s.
"""

from __future__ import annotations

import codecs
import dataclasses
import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from pipeline.errors import BadRequest
from pipeline.guardrails import METHODS
from pipeline.types import Call
from train.imports import contents

GAP_S = (
    1800.0  # of silence after which a user's next request begins another session: 30 minutes, as web analytics has it
)
_PATH_MAX = 4096  # characters
_URL_MAX = 1 << 16
_FILE_MAX = 1 << 30  # bytes of a JSON file: parsed it takes several times as much memory


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One request as the recording shows it."""

    call: Call
    where: str = ""  # "entry 12", "line 8"
    host: str = ""  # with its port; "" where the recording does not say
    user: str = ""  # whose it is, told apart only


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """Requests of one session, oldest first."""

    requests: tuple[Request, ...]
    where: str
    prompts: tuple[str, ...] = ()  # what the user wanted, in several wordings
    spec: str = ""  # a file, where the recording names one


def request_of(
    method: str,
    url: str,
    params: dict[str, Any] | None = None,
    *,
    ts: float | None = None,
    status: Any = None,
    body: Any = None,
    where: str = "",
    user: str = "",
) -> Request | None:
    """The request for a path or a full URL, its query among the parameters; None when it is no HTTP request."""
    method = method.strip().upper()
    if method not in METHODS or len(url) > _URL_MAX:
        return None
    host, target = "", url.strip()
    if not target.startswith("/"):
        try:
            parts = urlsplit(target)
        except ValueError:
            return None
        if parts.scheme.lower() not in ("http", "https") or not parts.netloc:
            return None
        host = parts.netloc.rpartition("@")[2].lower()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path, _, query = target.partition("#")[0].partition("?")
    if len(path) > _PATH_MAX:
        return None
    given = contents.clean_params({**contents.query(query), **(params or {})})
    call = Call(method, contents.clean_text(path), given, ts=ts, status=_status(status), body=contents.sample(body))
    return Request(call, where, host, user)


def _status(value: Any) -> int | None:
    """The HTTP status a number or text says; None of 0 (aborted), "-" and anything else."""
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    return int(value) if isinstance(value, int | float) and 100 <= value < 600 else None


def load_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        BadRequest: no JSON, no object, or over the size that is read at once.
    """
    size = file.stat().st_size
    if size > _FILE_MAX:
        raise BadRequest(f"{file.name} has {size:,} bytes; {_FILE_MAX:,} are the most that are read at once: split it.")
    try:
        found = orjson.loads(file.read_bytes().removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"{file.name} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise BadRequest(f"{file.name} holds no JSON object.")
    return found


def by_gap(requests: Iterable[Request], gap_s: float = GAP_S) -> Iterator[Recording]:
    """The sessions of each user: a silence of more than `gap_s` ends one."""
    running: dict[str, list[Request]] = {}
    for request in requests:
        before = running.get(request.user)
        if before and _is_apart(before[-1].call.ts, request.call.ts, gap_s):
            yield _recording(before)
            before = None
        if before is None:
            before = running[request.user] = []
        before.append(request)
    for rest in running.values():
        yield _recording(rest)


def _is_apart(a: float | None, b: float | None, gap_s: float) -> bool:
    return a is not None and b is not None and abs(b - a) > gap_s


def _recording(requests: list[Request]) -> Recording:
    if all(r.call.ts is not None for r in requests):  # logs are written when a request ends
        requests = sorted(requests, key=lambda r: r.call.ts or 0.0)
    return Recording(tuple(requests), requests[0].where)


def seconds(value: Any) -> float | None:
    """Seconds since the epoch of an ISO 8601 text (UTC when it names no zone) or a number; None of anything else."""
    if isinstance(value, str):
        try:
            moment = datetime.datetime.fromisoformat(value.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e14:
        return float(value) / (1000.0 if value > 1e11 else 1.0)  # milliseconds
    return None
