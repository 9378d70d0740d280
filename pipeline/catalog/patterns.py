"""Patterns of a spec that texts may be held against: those that cannot take long.

Whoever writes a spec writes its patterns, and others' texts are held against them: only such are kept as are made of
characters, classes and plain groups with hardly a repeat. Called by `parameters`; pure.
"""

from __future__ import annotations

import re
from typing import Any

_PATTERN_MAX = 200  # characters
_REPEATS_MAX = 2  # of no fixed count: a text of 64 characters then takes no longer than 64**3 steps
_CLASS = r"\[\^?(?:\\[^a-zA-Z0-9]|\\[dws]|[^\]\[\\])+\]"
_ESCAPE = r"\\[dwsDWS]|\\[^a-zA-Z0-9\s]"
_TERM = rf"(?:{_CLASS}|{_ESCAPE}|[^\\^$|?*+()\[\]{{}}])(?:[*+?]|\{{\d{{1,3}}(?:,\d{{0,3}})?\}})?"
_HARMLESS = re.compile(rf"(?:\^|\$|\||{_TERM}|\((?:\?:)?(?:\||{_TERM})*\)\??)*")
_REPEAT = re.compile(rf"{_CLASS}|{_ESCAPE}|(?P<repeat>[*+]|\{{\d+,)")


def harmless(pattern: Any) -> str:
    """The pattern of a schema; "" where it is none, or could take long."""
    if type(pattern) is not str or len(pattern) > _PATTERN_MAX or not pattern.isprintable():
        return ""
    if _HARMLESS.fullmatch(pattern) is None:
        return ""
    repeats = sum(match["repeat"] is not None for match in _REPEAT.finditer(pattern))
    try:
        re.compile(pattern)
    except (re.error, OverflowError):
        return ""
    return pattern if repeats <= _REPEATS_MAX else ""
