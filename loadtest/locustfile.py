"""Locust users with realistic sessions: each asks, waits its turn, and asks a second time what failed.

Every attempt is a line of `--records`, so that one run shows both what a plain client sees (first attempts) and what
one that retries sees (last attempts): `loadtest.verdict` judges them. Locust brings gevent, which patches the standard
library: this file is read by the process `python -m locust` only, which `loadtest.hold` starts.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust import FastHttpUser, events, task

from loadtest.sessions import Ask, Sessions, factor
from loadtest.verdict import Record
from opensesame_client.retry import ATTEMPTS, backoff_s, never_taken
from pipeline import settings as configuration
from pipeline.catalog.parse import parse_spec

AGAIN = (0, 502, 503, 504)  # as opensesame_client does: every request here may be repeated
_ANSWER_S = 30.0  # no answer by then is none


@events.init_command_line_parser.add_listener
def add_arguments(parser: Any) -> None:
    parser.add_argument("--specs", required=True, help="name=file of each catalog, by commas")
    parser.add_argument("--records", required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second, of all users together")
    parser.add_argument("--shape", default="steady")
    parser.add_argument("--length", type=float, default=1.0, help="seconds of the profile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--attempts", type=int, default=ATTEMPTS, help="of a request, as of the client")


class _Shared:
    """What all users have in common."""

    def __init__(self, options: Any) -> None:
        limits = configuration.load().parse
        named = dict(pair.split("=", 1) for pair in options.specs.split(","))
        catalogs = {name: parse_spec(Path(path).read_bytes(), limits) for name, path in named.items()}
        self.sessions = Sessions(catalogs, options.seed)
        self.records = Path(options.records).open("ab", buffering=0)  # noqa: SIM115  # lives as long as the process
        self.options = options
        self.began = time.time()

    def pause_s(self) -> float:
        """Between two requests of one user: exponential, so that together they come as a Poisson process."""
        options = self.options
        rate = options.rate * factor(options.shape, (time.time() - self.began) / options.length)
        return random.expovariate(rate / options.num_users)

    def keep(self, record: Record) -> None:
        self.records.write(msgspec.json.encode(record) + b"\n")


_shared: _Shared


@events.test_start.add_listener
def begin(environment: Any, **_: Any) -> None:
    global _shared
    _shared = _Shared(environment.parsed_options)


class ApiUser(FastHttpUser):
    """One at a time; who is late because an answer was does not catch up."""

    max_retries = 1  # locust's word for none: what is tried again is tried again below
    network_timeout = _ANSWER_S
    connection_timeout = 5.0

    def on_start(self) -> None:
        self._due = time.monotonic() + _shared.pause_s()

    @task
    def session(self) -> None:
        asks = _shared.sessions.begin()
        answer = None
        while True:
            try:
                ask = asks.send(answer)
            except StopIteration:
                return
            gevent.sleep(max(0.0, self._due - time.monotonic()))
            self._due = max(self._due, time.monotonic() - 1.0) + _shared.pause_s()
            answer = self._persist(ask)

    def _persist(self, ask: Ask) -> dict[str, Any] | None:
        """The body of the answer, of the first attempt that got one; None when there was none."""
        began = time.monotonic()
        for attempt in range(_shared.options.attempts):
            again, retry_after, body = self._ask(ask, attempt, began)
            if not again:
                return body
            gevent.sleep(retry_after or backoff_s(attempt + 1))
        return None

    def _ask(self, ask: Ask, attempt: int, first: float) -> tuple[bool, float | None, Any]:
        at, began = time.time(), time.monotonic()
        response = self.client.request(ask.method, ask.path, name=ask.kind, json=ask.body)
        now = time.monotonic()
        status = response.status_code or 0
        told = (response.headers or {}).get("retry-after") if status else None
        retry_after = float(told) if told is not None else None
        body = response.json() if 200 <= status < 300 else None
        degraded = tuple(body.get("metadata", {}).get("degraded", ())) if body else ()
        again = status in AGAIN or never_taken(status, response.content or b"")
        is_last = attempt == _shared.options.attempts - 1 or not again
        why = "" if status else repr(getattr(response, "error", ""))[:200]
        if status >= 400:
            why = (response.text or "")[:200]
        _shared.keep(
            Record(at, ask.kind, status, now - began, attempt, is_last, now - first, retry_after, degraded, why)
        )
        return again, retry_after, body
