"""When a request is sent again, and how long it is waited for: pure decisions, the same for both clients.

Again: after 429; after 502, 503, 504 and a broken connection where a repetition does no harm; after a connection that
never came about and after the 404 of a proxy that has just started always. The wait is what Retry-After says (RFC
9110, 10.2.3), else exponential, half of it jitter ("equal jitter":
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). A wait beyond the deadline is not begun.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import email.utils
import json
import random
import time
from typing import Any

import httpx2

from opensesame_client.errors import DeadlineExceeded, OpenSesameError, Unreachable, WrongAddress, problem

ATTEMPTS = 12  # last for the seconds that a proxy or a whole service needs to start
_FIRST_S, _LONGEST_S = 0.1, 2.0  # of the waits that the service did not name
_NOBODY_ANSWERED = (502, 503, 504)  # the service's own word is 503; a proxy before it has the others
_NO_ROUTES_YET = b"/-/routes for available routes"  # Ray Serve's proxy; the service's own 404 is a problem document
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its whole body."""

    status: int
    headers: httpx2.Headers
    content: bytes

    def json(self) -> Any:
        """The body, {} where there is none, None where it is no JSON."""
        try:
            return json.loads(self.content) if self.content else {}
        except ValueError:
            return None


class Retry:
    """The attempts of one call: `left_s` for each, then `pause_s` of what came of it, `answer` of the last."""

    def __init__(self, url: str, *, deadline_s: float, attempts: int, is_safe: bool) -> None:
        self._url, self._is_safe, self._deadline_s = url, is_safe, deadline_s
        self._ends = time.monotonic() + deadline_s
        self._attempts, self._made = attempts, 0

    def left_s(self) -> float:
        """Seconds until the deadline; raises DeadlineExceeded when there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"{self._url} did not answer within {self._deadline_s:g} s.")
        return left

    def pause_s(self, outcome: Reply | httpx2.TransportError) -> float | None:
        """How long to wait before the next attempt; None when `outcome` is the last word."""
        self._made += 1
        if self._made >= self._attempts or not self._may_again(outcome):
            return None
        wait = retry_after_s(outcome.headers) if isinstance(outcome, Reply) else None
        if wait is None:
            wait = backoff_s(self._made)
        return wait if time.monotonic() + wait < self._ends else None

    def _may_again(self, outcome: Reply | httpx2.TransportError) -> bool:
        if isinstance(outcome, Reply):
            return never_taken(outcome.status, outcome.content) or (
                outcome.status in _NOBODY_ANSWERED and self._is_safe
            )
        if isinstance(outcome, httpx2.TimeoutException) and not isinstance(outcome, _NEVER_SENT):
            return False  # an attempt has all the time there is
        return self._is_safe or isinstance(outcome, _NEVER_SENT)

    def answer(self, outcome: Reply | httpx2.TransportError) -> Any:
        """The JSON of the last answer.

        Raises:
            ProblemError, DeadlineExceeded, Unreachable: by what came of the last attempt.
        """
        if isinstance(outcome, httpx2.TimeoutException) and not isinstance(outcome, httpx2.PoolTimeout):
            raise DeadlineExceeded(f"{self._url} did not answer within {self._deadline_s:g} s.") from outcome
        if isinstance(outcome, httpx2.TransportError):
            tries = f" after {self._made} attempts" if self._made > 1 else ""
            raise Unreachable(
                f"{self._url} does not answer ({type(outcome).__name__}){tries}: is the service running?"
            ) from outcome
        found = outcome.json()
        if outcome.status >= 400:
            text = outcome.content.decode("utf-8", "replace")
            raise problem(outcome.status, found, text, retry_after_s(outcome.headers))
        if found is None or outcome.status >= 300:
            raise OpenSesameError(f"{self._url} answered {outcome.status} without JSON: it is no OpenSesame service.")
        return found


def address(url: str) -> str:
    """The address of a service, without a slash at its end; raises WrongAddress where it is none."""
    with contextlib.suppress(httpx2.InvalidURL):
        read = httpx2.URL(url)
        if read.scheme in ("http", "https") and read.host:
            return url.rstrip("/")
    raise WrongAddress(f"{url} is no address of a service: it begins with http:// or https://, and names a host.")


def never_taken(status: int, content: bytes) -> bool:
    """Whether such an answer says that nobody has begun to do what was asked."""
    return status == 429 or (status == 404 and _NO_ROUTES_YET in content)


def backoff_s(made: int) -> float:
    """Seconds to wait after so many attempts where the service named none."""
    longest = min(_LONGEST_S, _FIRST_S * 2**made)
    return random.uniform(longest / 2, longest)


def retry_after_s(headers: httpx2.Headers) -> float | None:
    """Seconds that Retry-After asks for, as a number or as a date; None where it does not or cannot be read."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        moment = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
