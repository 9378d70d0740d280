"""How long a tier has been taking lately.

Kept by each process for itself and told the time by its caller, so that a test needs no clock. Used by
`pipeline/generate.py`.
"""

from __future__ import annotations

import math
from collections import deque

_PACE_MAX = 64  # replies that are looked at
_PACE_S = 60.0  # and how long: an engine that was slow is tried again after so long


class Pace:
    """How long the last replies took, and for how long others were waited for in vain."""

    def __init__(self) -> None:
        self._replies: deque[tuple[float, float]] = deque(maxlen=_PACE_MAX)  # when, seconds
        self._late: deque[tuple[float, float]] = deque(maxlen=_PACE_MAX)  # when, seconds that were too few

    def note(self, seconds: float, now: float) -> None:
        self._replies.append((now, seconds))

    def note_late(self, seconds: float, now: float) -> None:
        """No reply came within `seconds`: less will not do either, of more nothing is known."""
        self._late.append((now, seconds))

    def in_time(self, budget_s: float, now: float) -> float:
        """Share of the last minute's replies that came within `budget_s`, as far as is known; 1 when nothing is."""
        told = [seconds <= budget_s for seconds in self._recent(now)]
        told += [False for when, seconds in self._late if now - when < _PACE_S and seconds >= budget_s]
        return sum(told) / len(told) if told else 1.0

    @property
    def slowest_s(self) -> float:
        """The longest that one of the last replies took, however long ago; endless when there were none."""
        return max((seconds for _, seconds in self._replies), default=math.inf)

    def usual_s(self, now: float) -> float:
        """The median of the last minute's replies; 0 when there were none."""
        recent = sorted(self._recent(now))
        return recent[len(recent) // 2] if recent else 0.0

    def _recent(self, now: float) -> list[float]:
        return [seconds for when, seconds in self._replies if now - when < _PACE_S]


class Share:
    """Divides the time of one engine among the requests that are in it: seconds that are paid once.

    While n requests are in the engine, each takes 1/n of the time; the shares of all add up to the time in which the
    engine had any. (Processor sharing: one clock that runs at the rate 1/n gives every share in constant time.)
    """

    def __init__(self) -> None:
        self._clock = 0.0
        self._since = 0.0
        self._count = 0

    def enter(self, now: float) -> float:
        """A request begins; what is returned is handed to `leave`."""
        self._run(now)
        self._count += 1
        return self._clock

    def leave(self, entered: float, now: float) -> float:
        """The request ends; its seconds."""
        self._run(now)
        self._count -= 1
        return self._clock - entered

    def _run(self, now: float) -> None:
        if self._count:
            self._clock += (now - self._since) / self._count
        self._since = now
