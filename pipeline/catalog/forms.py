"""Of what form the texts of a parameter are: the format that its schema names, else its pattern where it is harmless.

Whoever writes a spec writes its patterns, and others' texts are held against them: only such are kept as cannot take
long, of characters, classes and plain groups with hardly a repeat. Called by `parameters`; pure.
"""

from __future__ import annotations

import re
from typing import Any

from pipeline.catalog.text import label

_FORMAT_MAX = 40  # characters
_PATTERN_MAX = 200
_REPEATS_MAX = 2  # of no fixed count: a text of 64 characters then takes no longer than 64**3 steps
_CLASS = r"\[\^?(?:\\[^a-zA-Z0-9]|\\[dws]|[^\]\[\\])+\]"
_ESCAPE = r"\\[dwsDWS]|\\[^a-zA-Z0-9\s]"
_TERM = rf"(?:{_CLASS}|{_ESCAPE}|[^\\^$|?*+()\[\]{{}}])(?:[*+?]|\{{\d{{1,3}}(?:,\d{{0,3}})?\}})?"
_HARMLESS = re.compile(rf"(?:\^|\$|\||{_TERM}|\((?:\?:)?(?:\||{_TERM})*\)\??)*")
_REPEAT = re.compile(rf"{_CLASS}|{_ESCAPE}|(?P<repeat>[*+]|\{{\d+,)")
_SAYS = re.compile(r"[\^$\[\\]")  # what only a pattern has


def form(schema: dict[str, Any], items: dict[str, Any]) -> str:
    """The name of a format, or a pattern that has a `^`, `$`, `[` or a backslash; "" without either."""
    named = label(schema.get("format") or items.get("format"), _FORMAT_MAX)
    if named:
        return "" if _SAYS.search(named) else named
    pattern = schema.get("pattern") or items.get("pattern")
    return pattern if type(pattern) is str and _is_harmless(pattern) else ""


def _is_harmless(pattern: str) -> bool:
    if len(pattern) > _PATTERN_MAX or not _SAYS.search(pattern) or not pattern.isprintable():
        return False
    if _HARMLESS.fullmatch(pattern) is None:
        return False
    repeats = sum(match["repeat"] is not None for match in _REPEAT.finditer(pattern))
    try:
        re.compile(pattern)
    except (re.error, OverflowError):
        return False
    return repeats <= _REPEATS_MAX
