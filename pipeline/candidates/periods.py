"""The span of days that a prompt names as a whole: "this week", "last quarter", "in March", "of November 2024".

Pure functions of a prompt and of what day it is; called by `dates` and `wish`.
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

from pipeline.candidates import days
from pipeline.candidates.literals import unquoted

_RELATIVE = re.compile(r"\b(this|current|last|previous|next) (week|month|quarter|year)\b(?! (?:of|on|at)\b|['’])")
_NAMES = "|".join(month.capitalize() for month in days.MONTHS if len(month) > 4 or month in ("may", "june", "july"))
_MONTH = re.compile(
    rf"\b(?:[Ii]n|[Dd]uring|[Ff]or|[Oo]f|[Ff]rom) (?P<month>{_NAMES})"
    r"(?:,? (?P<year>20\d\d|19\d\d))?(?![\w’'-]| \d| (?!I\b)[A-Z])"
)
_PART = re.compile(r"(?i)\b(?:weeks?|days?|half|part|end|beginning|start|middle|weekends?|\w+th|first|second|third) $")
_NEAR_DAYS = 150  # of two months that may be meant, one that is so near
_DAY = datetime.timedelta(days=1)


class Period(NamedTuple):
    """First and last day in ISO 8601, "" where the year is not known; the month's number, 0 for no month."""

    first: str
    last: str
    month: int = 0


def said(prompt: str, today: datetime.date | None, is_past: bool) -> Period | None:
    """The only period of a prompt; None where it says none, or several. A month without its year is the last one of
    what `is_past`, else the nearer one where that is near. One that the calendar does not hold is none.
    """
    try:
        return _only(prompt, today, is_past)
    except (ValueError, OverflowError):
        return None


def _only(prompt: str, today: datetime.date | None, is_past: bool) -> Period | None:
    found = [_relative(side, unit, today) for side, unit in _RELATIVE.findall(unquoted(prompt.lower())) if today]
    text = unquoted(prompt)
    for match in _MONTH.finditer(text):
        if _PART.search(text, max(0, match.start() - 20), match.start()):
            return None  # "in the first week of July"
        month = days.MONTHS[match["month"].lower()]
        year = int(match["year"]) if match["year"] else _year(month, today, is_past)
        found.append(_months(year, month, 1)._replace(month=month) if year else Period("", "", month))
    return found[0] if len(set(found)) == 1 else None


def _relative(side: str, unit: str, today: datetime.date) -> Period:
    step = {"last": -1, "previous": -1, "next": 1}.get(side, 0)
    if unit == "week":
        first = today + datetime.timedelta(days=7 * step - today.weekday())
        return Period(first.isoformat(), (first + 6 * _DAY).isoformat())
    size = {"month": 1, "quarter": 3, "year": 12}[unit]
    year, month = divmod(today.year * 12 + (today.month - 1) // size * size + step * size, 12)
    return _months(year, month + 1, size)


def _months(year: int, month: int, count: int) -> Period:
    after = divmod(year * 12 + month - 1 + count, 12)
    last = datetime.date(after[0], after[1] + 1, 1) - _DAY
    return Period(datetime.date(year, month, 1).isoformat(), last.isoformat(), month if count == 1 else 0)


def _year(month: int, today: datetime.date | None, is_past: bool) -> int:
    """The year of the month that is meant, 0 where two may be."""
    if today is None:
        return 0
    behind = today.year - (month > today.month)
    if is_past or month == today.month:
        return behind
    ago = (today.year - behind) * 12 + today.month - month
    ways = {behind: ago * 30, behind + 1: (12 - ago) * 30}
    year = min(ways, key=ways.__getitem__)
    return year if ways[year] <= _NEAR_DAYS else 0
