"""By how much a prompt changes a number: "2 more bags", "one seat fewer", "raise the quantity by 2", "double it".

What the number is so far only calls and answers know; `arguments` asks here and adds it up. Pure functions of a prompt
in lower case and a parameter; called by `wish`, and by `train/slots.py` to tell what was made up.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Set
from typing import Any

from pipeline.candidates import names, parameters, shifts, spans
from pipeline.candidates.literals import unquoted
from pipeline.candidates.vocabulary import PEOPLE_NOUNS, SCALES, TIMES, UNITS
from pipeline.types import Operation, Parameter

Change = tuple[float, float, bool]  # factor, what is added then, and whether nothing else can be meant

_N = r"(\d{1,6}(?:\.\d{1,4})?|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_UP = "raise|increase|bump|extend|lengthen|prolong|grow|boost|up"
_DOWN = "lower|reduce|decrease|cut|shorten|shrink|drop"
_MORE = re.compile(
    rf"\b{_N} (?:more|extra|additional|further) ([a-z]+)|\b(?:another|an extra|an additional) (?:{_N} )?([a-z]+)"
)
_FEWER = re.compile(rf"\b{_N} (?:fewer|less) ([a-z]+)")
_AFTER = re.compile(
    rf"\b{_N} ([a-z]+) (?:(more|longer|warmer|hotter|higher|brighter|louder)|"
    r"fewer|less|shorter|cooler|colder|lower|darker|quieter)\b(?! than)"
)
_BY = re.compile(
    rf"\b(?:({_UP})|({_DOWN})|(?:turn|scale|push|move))\b([^.;,!?]{{0,60}}?) by {_N}(?: ?(%|[a-z]+))?(?![\w.])"
)
_ADD = re.compile(rf"\b(?:(add)|remove|drop|take off) {_N} ([a-z]+)\b")
_TIMES = re.compile(r"\b(?:(double)|triple) (?:the |my |our |its )?([a-z]+(?: [a-z]+)?)")
_ADDS = frozenset(
    re.findall(
        r"\w+", "add adds extend extends extension increase raise decrease reduce extra additional delta by more adjust"
    )
)
_ADDITION = re.compile(r"(?i)\b(?:additional|extra|to add|to remove|by which|how many more)\b")
CUES = frozenset(  # no change without one of these
    re.findall(
        r"\w+",
        "more extra additional further another fewer less longer shorter warmer hotter higher brighter louder cooler "
        "colder lower darker quieter by add remove drop take double triple",
    )
)
_COUNTS = re.compile(r"(?i)\b(?:number|count|amount|length|degrees?|total)\b")

Said = tuple[str, frozenset[str], float, float, bool]  # unit, other words said of it, factor, added, is sure


@functools.lru_cache(maxsize=64)
def said(lower: str) -> tuple[Said, ...]:
    """All changes of numbers in a prompt, those that can mean nothing else first."""
    text = unquoted(lower)
    found: list[Said] = []
    for match in _BY.finditer(text):
        up, down, between, count, unit = match.groups()
        words = frozenset(map(names.singular, spans.words(between)))
        sign = 1 if up or "up" in words else -1 if down or "down" in words else 0
        if sign:
            found.append((names.singular(unit or ""), words, 1.0, sign * _number(count), True))
    for match in _MORE.finditer(text):
        count, noun, other, last = match.groups()
        found.append((names.singular(noun or last), frozenset(), 1.0, _number(count or other or "one"), True))
    for match in _FEWER.finditer(text):
        found.append((names.singular(match.group(2)), frozenset(), 1.0, -_number(match.group(1)), True))
    for match in _AFTER.finditer(text):
        count = _number(match.group(1))
        found.append((names.singular(match.group(2)), frozenset(), 1.0, count if match.group(3) else -count, True))
    for match in _TIMES.finditer(text):
        words = frozenset(map(names.singular, match.group(2).split()))
        found.append(("", words, 2.0 if match.group(1) else 3.0, 0.0, True))
    for match in _ADD.finditer(text):
        count = _number(match.group(2))
        found.append((names.singular(match.group(3)), frozenset(), 1.0, count if match.group(1) else -count, False))
    return tuple(found)


def sets(operation: Operation) -> bool:
    """Whether an operation sets what things have; one that extends or adds takes the amount itself."""
    if operation.method not in ("PUT", "PATCH") and operation.verb not in ("update", "action"):
        return False
    return _is_setter(f"{operation.path} {operation.operation_id} {operation.summary}")


@functools.lru_cache(maxsize=16384)
def _is_setter(text: str) -> bool:
    return _ADDS.isdisjoint(word for part in text.split() for word in names.split(part))


def of(lower: str, parameter: Parameter, resource: str) -> Change | None:
    """How the prompt changes a number; (nan, 0, True) where it does so in another unit. None where it says nothing."""
    if parameter.type not in ("integer", "number"):
        return None
    name = names.name(parameter.name, resource)
    if name.kind or not _ADDS.isdisjoint(name.words) or _ADDITION.search(parameter.description):
        return None
    noun, _ = parameters.counted(name)
    own = {_unit(noun)} | (PEOPLE_NOUNS if parameters.takes_people(name, parameter) else set())
    stem = names.singular(next((word for word in reversed(name.words) if word not in SCALES), name.words[-1]))
    for unit, words, factor, added, is_sure in said(lower):
        if unit and (_unit(unit) in own or _explains(parameter.description, unit)):
            return factor, added, is_sure
        if stem in words:
            is_other = unit == "%" or unit in TIMES or f"{unit}s" in TIMES
            return (float("nan"), 0.0, True) if is_other else (factor, added, is_sure)
    return None


def moved(value: Any, change: Change | shifts.Shift) -> str | None:
    """A number after a change, or a day after a shift, as text; None for what is none, or where its unit is another."""
    if isinstance(change, shifts.Shift):
        return shifts.moved(value, change)
    factor, added, _ = change
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or math.isnan(factor):
        return None
    try:
        return f"{float(value) * factor + added:.10g}"
    except ValueError:
        return None


def _unit(noun: str) -> str:
    return UNITS.get(noun, noun)


def _explains(description: str, unit: str) -> bool:
    """Whether a description says that a number counts these: "Number of seats"."""
    return unit in description.lower() and _COUNTS.search(description) is not None and unit in _words(description)


@functools.lru_cache(maxsize=4096)
def _words(description: str) -> Set[str]:
    return frozenset(map(names.singular, spans.words(description)))


def _number(text: str) -> float:
    return float(text) if text[0].isdigit() else float(spans.number_word(text) or 1)
