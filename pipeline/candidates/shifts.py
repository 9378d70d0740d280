"""By how much a prompt moves a day or a time: "push it back by 2 days", "an hour later", "extend it by a week".

When it is so far only answers and calls know; `changes` asks here for what is a day. Pure functions of a prompt in
lower case, and of one value.
"""

from __future__ import annotations

import calendar
import datetime
import functools
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from pipeline.candidates import names, parameters, spans
from pipeline.candidates.literals import unquoted
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import FIRST_DAY, LAST_DAY, PLAIN_DAY
from pipeline.types import Operation, Parameter

_UNITS = {
    "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "day": 86400, "week": 604800, "fortnight": 1209600, "month": 0,
    "quarter": 0, "year": 0,
}  # fmt: skip
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_MANY = r"(\d{1,4}|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|half an) "
_TIME = rf"{_MANY}(?:more |extra |full )?({'|'.join(_UNITS)})s?\b"
_BY = re.compile(
    r"\b(push|postpone|delay|defer|put|extend|prolong|lengthen|set|move|shift|bring|pull|advance|shorten|cut)(?:ed|s)?\b"
    rf"([^.;!?]{{0,60}}?)(?: by|(?<=back)|(?<=out)|(?<=off)|(?<= it)) {_TIME}(?! (?:before|after|ago|from))"
    rf"|\b(postpone|delay|defer|extend|prolong)\b([^.;!?]{{0,60}}?) for {_TIME}"
)
_THAN = re.compile(rf"\b{_TIME} (later|earlier|sooner|longer|shorter)\b(?! than (?!planned|before|now))")
_NOUNS = re.compile(r"[a-z]+")
_BACK = frozenset(("earlier", "sooner", "shorter"))
_AHEAD = frozenset(("back", "off", "later"))  # "put it back": later
_STRETCH = frozenset(("extend", "prolong", "lengthen", "shorten", "cut", "longer", "shorter"))
_HASTENS = frozenset(("shorten", "cut", "advance", "pull"))
_PLAIN = frozenset(("put", "set", "move", "shift"))  # say nothing of the way
CUES = frozenset(  # no shift without one of these
    re.findall(
        r"\w+",
        "push postpone postponed delay delayed defer deferred put extend extended prolong lengthen set move shift "
        "bring pull advance shorten cut later earlier sooner longer shorter",
    )
)
_NEAR = 60  # characters before a change in which it is said of what


class Shift(NamedTuple):
    """By how much something is moved, and whether the prompt can mean nothing else."""

    months: int
    seconds: int
    is_sure: bool = True


class Said(NamedTuple):
    """A shift of a prompt, the words said of what is shifted, and whether only its end moves."""

    shift: Shift
    words: frozenset[str]
    stretches: bool


@functools.lru_cache(maxsize=64)
def said(lower: str) -> Said | None:
    """The only shift of a prompt; None where it says none, or several."""
    text = unquoted(lower)
    found: list[Said] = []
    for match in _BY.finditer(text):
        verb, between, many, unit = (a or b for a, b in zip(match.groups()[:4], match.groups()[4:], strict=True))
        words = frozenset(_NOUNS.findall(between or ""))
        is_back = not words.isdisjoint(_BACK) or verb in _HASTENS or (verb == "bring" and "forward" in words)
        way = _BACK | _AHEAD if verb in ("put", "set") else _BACK | {"later"} if verb in _PLAIN else {"forward"}
        if verb in (*_PLAIN, "bring") and words.isdisjoint(way):
            continue
        found.append(Said(_shift(many, unit, is_back), words, verb in _STRETCH))
    for match in _THAN.finditer(text) if not found else ():
        many, unit, side = match.groups()
        before = text[max(0, match.start() - _NEAR) : match.start()]
        words = frozenset(_NOUNS.findall(re.split(r"[.;!?]", before)[-1]))
        found.append(Said(_shift(many, unit, side in _BACK), words, side in _STRETCH))
    return found[0] if len(found) == 1 else None


def of(lower: str, name: Name, parameter: Parameter, operation: Operation) -> Shift | None:
    """How the prompt moves a day or a time of an operation: the one whose name it says, else all of them, of what is
    made longer or shorter the end alone.
    """
    if not parameters.takes_day(name, parameter) or (change := said(lower)) is None:
        return None
    days = {p.name: n for p in operation.parameters if parameters.takes_day(n := names.name(p.name, ""), p)}
    named = {raw for raw, other in days.items() if _is_said(other, change.words)}
    if named:
        return change.shift if parameter.name in named else None
    ends = {raw for raw, other in days.items() if not LAST_DAY.isdisjoint(other.words)}
    starts = {raw for raw, other in days.items() if not FIRST_DAY.isdisjoint(other.words)} - ends
    if change.stretches:
        meant = ends if ends else set(days) - starts
        return change.shift if meant == {parameter.name} else None
    is_whole = len(days) == 1 or (len(days) == 2 and len(ends) == len(starts) == 1)
    return change.shift if is_whole else None


def moved(value: Any, shift: Shift) -> str | None:
    """A day or a time, in ISO 8601, after a shift; None for what is no such text, or has no time of the day to move."""
    if not isinstance(value, str) or not 10 <= len(value) <= 35 or value[4:5] != "-":
        return None
    try:
        if len(value) == 10:
            if shift.seconds % 86400:
                return None
            day = datetime.date.fromisoformat(value)
            return (_months(day, shift.months) + datetime.timedelta(seconds=shift.seconds)).isoformat()
        at = datetime.datetime.fromisoformat(value)
        day = _months(at.date(), shift.months)
        new = datetime.datetime.combine(day, at.timetz()) + datetime.timedelta(seconds=shift.seconds)
    except (ValueError, OverflowError):
        return None
    return f"{new:%Y-%m-%dT%H:%M}{value[16:]}".replace("T", value[10], 1)


def _is_said(name: Name, words: Collection[str]) -> bool:
    own = [word for word in name.words if word not in PLAIN_DAY and word != "by"]
    return bool(own) and all(any(_root(word) == _root(other) for other in words) for word in own)


@functools.lru_cache(maxsize=4096)
def _root(word: str) -> str:
    """What a word and its kin begin with: expiry, expires, expiration; closing, closes; delivery, delivered."""
    word = names.singular(word)
    for ending in ("ation", "ion", "ing", "ery", "ed", "y", "e", "s"):
        if word.endswith(ending) and len(word) - len(ending) > 3:
            return word[: -len(ending)]
    return word


def _months(day: datetime.date, count: int) -> datetime.date:
    """The same day so many months later, or the last one of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return datetime.date(year, month + 1, min(day.day, last)) if count else day


def _shift(many: str, unit: str, is_back: bool) -> Shift:
    sign = -1 if is_back else 1
    if many == "half an":
        return Shift(0, sign * _UNITS[unit] // 2)
    count = int(many) if many.isdigit() else spans.number_word(many) or 1
    return Shift(sign * count * _MONTHS.get(unit, 0), sign * count * _UNITS[unit])
