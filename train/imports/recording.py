"""What every reader of recorded traffic gives: requests, and recordings of one user's requests in order.

A reader turns one file into recordings and knows nothing of specs; which request is which operation,
and what becomes of the others, is `train/recorded.py`'s.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from pipeline.guardrails import METHODS
from pipeline.types import Call
from train.imports import contents

GAP_S = (
    1800.0  # of silence after which a user's next request begins another session: 30 minutes, as web analytics has it
)
_PATH_MAX = 4096  # characters
_URL_MAX = 1 << 16


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
    status: int | None = None,
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
    status = status if status is not None and 100 <= status <= 599 else None
    call = Call(method, contents.clean_text(path), given, ts=ts, status=status, body=contents.sample(body))
    return Request(call, where, host, user)


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
