"""A circuit breaker: what failed several times in a row is left alone for a while, then tried by one.

Kept by each process for itself and told the time by its caller, so that a test needs no clock. Used by the way to
Redis (`stores/connection.py`) and by the tiers of language models (`generate.py`).
"""

from __future__ import annotations


class Breaker:
    """Closed; open after `failures` in a row; after `open_s` half open, for one request that tries for all.

    Requests that fail side by side count as one failure: they met the same moment.
    """

    def __init__(self, failures: int, open_s: float) -> None:
        self._limit = failures
        self._open_s = open_s
        self._failures = 0
        self._failed_at = float("-inf")
        self._probe_since: float | None = None

    def state(self, now: float) -> str:
        """closed | open | half_open: a request may begin, but for open."""
        if self._failures < self._limit:
            return "closed"
        waits_since = self._failed_at if self._probe_since is None else self._probe_since
        return "open" if now < waits_since + self._open_s else "half_open"

    def wait_s(self, now: float) -> float:
        """Seconds until a request may begin; 0 when one may."""
        if self.state(now) != "open":
            return 0.0
        return (self._failed_at if self._probe_since is None else self._probe_since) + self._open_s - now

    def begin(self, now: float) -> None:
        """A request is sent; when half open, the others go on being refused until its end, or `open_s` more."""
        if self.state(now) == "half_open":
            self._probe_since = now

    def succeeded(self) -> None:
        self._failures = 0
        self._probe_since = None

    def failed(self, began: float, now: float) -> None:
        if began >= self._failed_at:
            self._failures += 1
            self._failed_at = now
            self._probe_since = None

    def released(self) -> None:
        """The request ended without telling anything: its caller went away, or had little time."""
        self._probe_since = None
