"""Booleans that a prompt says by their own words: "squash", "without ssl verification", "don't prorate".

Pure functions of a prompt and a parameter's words; called by `wish`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Set
from typing import Any

from pipeline.candidates.literals import spaced
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import PLAIN_ENUMS
from pipeline.types import Parameter

_HELPERS = frozenset(("enable", "is", "has", "allow", "should", "use", "with", "include"))  # what a name begins with
_SWITCH = frozenset(("enabled", "enable"))  # that say nothing of what is on or off
_ON = re.compile(r"\b(?:enable|activate|(?:turn|switch)(?: \w+){0,3} on|(?:turn|switch) on)\b")
_OFF = re.compile(r"\b(?:disable|deactivate|(?:turn|switch)(?: [\w-]+){0,5} off|(?:turn|switch) off)\b")
_DENIED = re.compile(r"(?:\b(?:no|not|without|never|disable|off|non|nor|skip)|n['’]t)(?: \w+){0,2}[ -]$")
_BOTH = re.compile(r"\bwith (?:and|or) without(?: \w+){0,2} $")
_GRANTED = re.compile(r"\b(?:with|plus|and|include|including|enable|add|also)(?: \w+){0,2} $")


def said(lower: str, words: tuple[str, ...], taken: Collection[str]) -> bool | None:
    """What a prompt in lower case says of a flag; None where it says nothing, or only what `taken` words say anyway.

    All words of the name have to stand in it in their order; of one that is a plural or `taken` it is said with or
    without what.
    """
    if len(words) == 1 and words[0] in _SWITCH:
        on, off = _ON.search(lower) is not None, _OFF.search(lower) is not None
        return on if on != off else None
    stem = words[1:] if len(words) > 1 and words[0] in _HELPERS else words
    is_word = len(stem) > 1 or stem[0] not in PLAIN_ENUMS
    if not is_word or stem[-1] not in lower:
        return None
    is_plain = len(stem) > 1 or not (stem[0] in taken or (stem[0].endswith("s") and not stem[0].endswith("ss")))
    answers: set[bool] = set()
    for found in _pattern(stem).finditer(lower):
        before = lower[max(0, found.start() - 40) : found.start()]
        if _BOTH.search(before):
            return None
        if _DENIED.search(before):
            answers.add(False)
        elif is_plain or _GRANTED.search(before):
            answers.add(True)
    return answers.pop() if len(answers) == 1 else None


def granted(name: Name, parameter: Parameter, words: Set[str], lower: str) -> Any:
    """What a yes or no takes: "no insurance" and "without insurance", or "with insurance", for `insurance`."""
    noun = name.words[-1]
    if noun not in words or noun in PLAIN_ENUMS or not (parameter.enum or parameter.type == "boolean"):
        return None
    literal = {str(literal).lower(): literal for literal in parameter.enum} or {"yes": True, "no": False}
    if literal.keys() != {"yes", "no"}:
        return None
    of_it = rf"\b(?:(no|without)|with|add|adding|include|including)(?: (?:an|a|the|any))? {noun}\b"
    answers = {"no" if found.group(1) else "yes" for found in re.finditer(of_it, spaced(lower))}
    return literal[answers.pop()] if len(answers) == 1 and "no" not in name.words else None


@functools.lru_cache(maxsize=4096)
def _pattern(stem: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(
        r"(?<![\w-])" + r"(?:[ _-]?|(?: (?:a|an|the|its|their|of|at|for)){1,2} )".join(stem) + r"(?![\w-])"
    )
