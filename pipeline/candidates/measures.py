"""What a prompt measures with a unit, in the unit that a parameter counts in: "25%", "2 hours" as seconds.

Pure functions of a prompt and a parameter; called by `wish`, and by `train/slots.py` to tell what was made up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from pipeline.candidates import spans
from pipeline.candidates.names import Name
from pipeline.types import Parameter

_PERCENT = re.compile(r"(?<![\w.,])(\d{1,3}(?:\.\d{1,6})?) ?(?:%|percent\b|per cent\b)")
_PERCENTS = frozenset(("percent", "percentage", "pct"))
_PLAIN = frozenset(("off", "rate", "value", "discount"))  # beside "percent" they say nothing more
_SECONDS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "day": 86400, "week": 604800}
_UNIT = rf"({'|'.join(_SECONDS)})s?\b"
_TIME = re.compile(rf"(?<![\w.,])(\d{{1,6}}|[a-z]{{2,8}})[ -]?{_UNIT}")
_COUNTS_IN = re.compile(
    rf"\b(?:in|number of|for how many|how many) (?:\w+ )?{_UNIT}|\b{_UNIT} (?:to|until|after|for)\b|\({_UNIT}\)"
)
_LASTING = frozenset(("duration", "timeout", "ttl", "delay", "interval", "length", "lifetime", "time"))


def percent(lower: str, name: Name, said: Collection[str]) -> str | None:
    """The only percentage of a prompt in lower case, for `percent_off`; `fee_percent` only where a fee is `said`."""
    if _PERCENTS.isdisjoint(name.words):
        return None
    found = set(_PERCENT.findall(lower))
    is_meant = all(word in said for word in name.words if word not in _PERCENTS and word not in _PLAIN)
    return found.pop() if len(found) == 1 and is_meant else None


def duration(lower: str, name: Name, parameter: Parameter, said: Collection[str]) -> int | None:
    """The only time span of a prompt in lower case, in the unit that the parameter says it counts in.

    One that nobody has to give takes it where a word of its name is `said`.
    """
    unit = _unit(name, parameter)
    is_said = parameter.required or any(word in said for word in name.words)
    if unit and not is_said and name.resource:  # "a 45 minute meeting"
        is_said = re.search(rf"{_TIME.pattern}[ -]{re.escape(name.resource)}\b", lower) is not None
    if not unit or not is_said:
        return None
    found = set(_times(lower))
    seconds = found.pop() if len(found) == 1 else 0
    return seconds // unit if seconds and seconds % unit == 0 else None


def times(lower: str) -> Iterator[int]:
    """Time spans of a prompt in lower case, in each unit that counts them whole."""
    for seconds in _times(lower):
        yield from (seconds // unit for unit in set(_SECONDS.values()) if seconds % unit == 0)


def _times(lower: str) -> Iterator[int]:
    for count, unit in _TIME.findall(lower):
        number = int(count) if count.isdigit() else spans.number_word(count) or 0
        if number:
            yield number * _SECONDS[unit]


def _unit(name: Name, parameter: Parameter) -> int:
    """Seconds of the unit that a parameter counts in, 0 where it counts no time, or where its own name says in what."""
    if parameter.type not in ("integer", "number") or _LASTING.isdisjoint(name.words):
        return 0
    found = _COUNTS_IN.search(parameter.description.lower())
    return _SECONDS[found.group(int(found.lastindex or 1))] if found else 0
