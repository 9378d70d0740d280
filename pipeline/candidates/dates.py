"""Which day of a prompt, with its time if it has one, a parameter takes: its end of a time, a birthday, the only one.

How days are written is `days`' business. Called by `wish`.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence, Set
from typing import Any

from pipeline.candidates import beside, names, parameters, spans
from pipeline.candidates.names import Name
from pipeline.candidates.periods import Period
from pipeline.candidates.vocabulary import BIRTH, DUE, FIRST_DAY, HAPPENED, LAST_DAY, PLAIN_DAY
from pipeline.types import Operation, Parameter

_CUES = frozenset((word,) for word in (*FIRST_DAY, *LAST_DAY, "on", "for", "by", "at", "of", "week"))
_BEGINS = frozenset(("since", "from", "after"))
_ENDS = frozenset(("until", "till", "and", "through"))
_WAY_BACK = frozenset(("back", "return", "returning"))
_RANGE = (("from",), ("to",), ("between",))
_NOT_ON = (("before",), ("of",), ("until",), ("than",))
_HAPPENED = HAPPENED | {"created", "received", "sent"}
_PLANNED = frozenset(
    ("checkin", "checkout", "in", "out", "arrival", "departure", "pickup", "dropoff", "due", "deadline")
)
_NEAR_DAYS = 150  # of two days that may be meant, one that is so near
_PLAIN = frozenset(("date", "day"))
_ABOVE = frozenset(("after", "since", "from", "min", "gte", "gt"))
_BELOW = frozenset(("before", "until", "till", "to", "max", "lte", "lt"))
_SIDED = FIRST_DAY | LAST_DAY | {"first", "last"}


class Dates:
    """The days of one prompt, of which `words` are the words."""

    def __init__(
        self,
        found: Sequence[spans.Span],
        words: Set[str],
        is_local: bool,
        today: datetime.date | None,
        period: Period | None = None,
        says_time: bool = False,
    ) -> None:
        self._period = period if not found else None
        self._all, self._words, self._is_local = found, words, is_local
        self._today = today.isoformat() if today else ""
        self._lacks_time = says_time and not any("T" in span.value for span in found)  # it stands beside no day

    def optional(self, name: Name, parameter: Parameter, operation: Operation, sent: Collection[str]) -> str | None:
        """The day for what nobody has to give: a cued one, one whose name the prompt says, or the only day of a write
        or of a read by `date`.

        Of two forms of a day (`due_date` beside `due_datetime`) it takes the one that the prompt says, and none that
        is in people's words (`due_string`).
        """
        if not self._all:
            return self._end(frozenset(name.words), parameter) if self._period and operation.method == "GET" else None
        words, is_day = frozenset(name.words), parameters.is_date(parameter)
        sets = operation.method in ("POST", "PUT", "PATCH")
        may_set = sets and parameters.takes_day(name, parameter) and (parameter.format or name.words[-1] != "time")
        is_plain = is_day and operation.method == "GET" and words <= _PLAIN
        if not (may_set or is_plain or (is_day and words & _SIDED)):
            return None
        is_meant = HAPPENED.isdisjoint(words) or not self._words.isdisjoint(words & HAPPENED)
        day = self.of(words, parameter, is_needed=False, sets=sets) if is_meant else None
        is_only = (sets or is_plain) and is_day and parameter.format != "date-time"
        if day is None and is_only and self._all[0].value not in sent:
            others = [p for p in operation.parameters if parameters.takes_day(names.name(p.name, ""), p)]
            if others == [parameter] and self._all[0].before[:1] not in _NOT_ON:
                return self.of(words, parameter)
        if day is None or parameters.has_formal_twin(words & _SIDED, parameter, operation):
            return None
        is_moment = any("T" in s.value and s.value[:10] == day[:10] for s in self._all)
        is_twin = parameters.twin_day(name, parameter, operation)
        return day if not is_twin or is_moment is (parameter.format == "date-time") else None

    def of(
        self,
        words: Set[str],
        parameter: Parameter,
        is_needed: bool = True,
        given: Collection[str] = (),
        sets: bool = False,
    ) -> str | None:
        """The day (and time) for a parameter: the one cued as its end of a time, else the only one that may be meant.

        One that nobody has to give is cued, or what a call `sets` and the prompt says the name of: "due 4 May 2026".
        """
        if not BIRTH.isdisjoint(words) or "date of birth" in parameter.description.lower():
            return self._birth(parameter)
        if parameters.is_clock(parameter):
            clock = {span.value[11:16] for span in self._all if "T" in span.value}
            return clock.pop() if len(clock) == 1 else None
        found = [span for span in self._all if not beside.is_birth(span)]
        if parameters.takes_monday(parameter):
            found = [span for span in found if datetime.date.fromisoformat(span.value[:10]).weekday() == 0]
        own = words - PLAIN_DAY
        named = [span for span in found if not own.isdisjoint((*span.before[:2], *_nouns(span)[:1]))]
        if len(named) == 1:
            return self._written(named[0], parameter, words)  # "pickup on 4 May 2026"
        first = bool(FIRST_DAY.intersection(words)) or "first" in words
        last = parameters.takes_last_day(words, parameter) or "last" in words
        if first and last:  # `start_time_before`
            first, last = bool(_ABOVE & words), bool(_BELOW & words)
        for span in found:
            cue = [word for word in span.before if word != "on"][:1]  # "checking out on Friday"
            if cue == ["to"] and not _PLAIN.isdisjoint(span.before[1:2]):
                continue  # "move the due date to"
            if (first and FIRST_DAY.intersection(cue)) or (last and LAST_DAY.intersection(cue)):
                return self._written(span, parameter, words)
        is_range = any(span.before[:1] in _RANGE for span in found)
        if len(found) > 1 and is_needed and not (first or last or is_range):
            left = [span for span in found if self._written(span, parameter, words) not in given]
            found = left if given else [span for span in found if not _WAY_BACK.intersection(span.before[:2])]
        other_end = _ENDS if first and not last else _BEGINS if last and not first else frozenset()
        found = [span for span in found if not other_end.intersection(span.before[:1])]
        whole = [span for span in found if not span.is_short]
        if len(found) > 1 and len(whole) == 1 and is_needed and not (given or last):
            found = whole  # the others came later and have its year
        if len(found) != 1:
            return None
        is_moment = parameter.format != "date" and "T" in found[0].value
        starts = first and is_moment and not DUE.intersection(found[0].before)
        says = sets and (starts or not self._words.isdisjoint(words - PLAIN_DAY))
        return self._written(found[0], parameter, words) if is_needed or says else None

    def _end(self, words: Set[str], parameter: Parameter) -> str | None:
        """The first or the last day of the period that the prompt names, for a read from or until a day."""
        if self._period is None or not self._period.first or not parameters.is_date(parameter):
            return None
        first = bool(FIRST_DAY & words) or "first" in words
        last = parameters.takes_last_day(words, parameter) or "last" in words
        if first and last:
            first, last = bool(_ABOVE & words), bool(_BELOW & words)
        if first is last or not _PLANNED.isdisjoint(words):
            return None
        if first:
            return parameters.as_date(self._period.first, parameter)
        whole = f"{self._period.last}T23:59:59" if parameter.format == "date-time" else self._period.last
        return parameters.as_date(whole, parameter)

    def month(self, name: Name, parameter: Parameter) -> Any:
        """The month that the prompt names, as a number or with its year ("YYYY-MM")."""
        if self._period is None or not self._period.month or name.words[-1] != "month" or len(name.words) > 2:
            return None
        if parameter.type in ("integer", "number"):
            return self._period.month
        return self._period.first[:7] or None if "YYYY-MM" in parameter.description else None

    def _birth(self, parameter: Parameter) -> str | None:
        """The only date said to be a birthday, else the only past one that stands beside a name: "Ada, 3 May 1949"."""
        days = [span for span in self._all if not span.past]
        past = [s for s in days if s.before[:1] not in _CUES and (not self._today or s.value < self._today)]
        found = {span.value for span in [s for s in days if beside.is_birth(s)] or past}
        return parameters.as_date(found.pop(), parameter) if len(found) == 1 else None

    def _written(self, span: spans.Span, parameter: Parameter, words: Set[str]) -> str | None:
        """A day as the parameter writes it. One without its year is the next such day, for what has happened the last
        one; where a read asks for a time, one of the two that is near, else None.
        """
        value = span.value
        if self._lacks_time and parameter.format == "date-time":
            return None  # at midnight it would be wrong
        if span.past and (span.before[:1] == ("since",) or not _HAPPENED.isdisjoint(words)):
            value = span.past + value[10:]
        elif span.past and parameter.location == "query" and words & _SIDED and _PLANNED.isdisjoint(words):
            today = datetime.date.fromisoformat(self._today)
            ways = [abs((datetime.date.fromisoformat(day[:10]) - today).days) for day in (value, span.past)]
            if min(ways) > _NEAR_DAYS:
                return None
            value = value if ways[0] <= ways[1] else span.past + value[10:]
        return parameters.as_date(value, parameter, self._is_local)


def _nouns(span: spans.Span) -> list[str]:
    """The words before a day that are not said of any day: `due` of "the due date to"."""
    return [word for word in span.before if word not in PLAIN_DAY]
