"""Booleans that a prompt says by their own words: "squash", "without ssl verification", "don't prorate".

Pure functions of a prompt and a parameter's words; called by `wish`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Set
from typing import Any

from pipeline.candidates import names
from pipeline.candidates.literals import spaced, unquoted
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import PLAIN_ENUMS, TEXT
from pipeline.types import Parameter

_HELPERS = frozenset(("enable", "is", "has", "allow", "should", "use", "with", "include"))  # what a name begins with
_SWITCH = frozenset(("enabled", "enable", "state", "active", "on"))  # that say nothing of what is on or off
_OPPOSITES = {"public": "private", "private": "public", "visible": "hidden", "hidden": "visible"}
_ON = re.compile(r"\b(?:enable|activate|(?:turn|switch)(?: \w+){0,3} on|(?:turn|switch) on)\b")
_OFF = re.compile(r"\b(?:disable|deactivate|(?:turn|switch)(?: [\w-]+){0,5} off|(?:turn|switch) off)\b")
_WAY = re.compile(r" (?:(?:are |is )?(enabled|disabled)|(on|off))\b")
_TURN = re.compile(r"\b(?:turn|switch)(?:ed|ing)?(?: \w+){0,3} $")
_QUIETLY = re.compile(
    r"\b(?:quietly|silently|(?:without|no|(?:do not|don['’]t|never) (?:send )?(?:any )?)"
    r" ?(?:notify|notifying|alert|alerting|notifications?|alerts?)\b(?! (?:the )?(?!any|every|them|people)[a-z]))"
)
_NOTIFIES = frozenset(("notify", "notification", "notifications", "notifies"))
_DENIED = re.compile(r"(?:\b(?:no|not|without|never|disable|off|non|nor|skip|stop)|n['’]t)(?:[ -]\w+){0,2}[ -]$")
_SWITCHES = re.compile(r"\b(?:enable|activate|(?:turn|switch) on|allow)(?: \w+){0,2} $")
_BOTH = re.compile(r"\b(?:with|and|or) (?:and|or) without (?:\w+ ){0,2}$")
_GRANTED = re.compile(r"\b(?:with|plus|and|include|including|enable|add|also)(?: \w+){0,2} $")
_NEAR = 40  # characters before a flag in which it is denied
_NO_FLAGS = PLAIN_ENUMS | TEXT  # words that say no flag alone
_ENDING = re.compile(r"(?:ing|ed|e|d|s)$")


def said(lower: str, words: tuple[str, ...], taken: Collection[str]) -> bool | None:
    """What a prompt in lower case says of a flag outside of quotes; None where it says nothing, or both.

    All words of the name have to stand in it in their order, in any of their forms; of one that is a plural, or
    `taken` by the operation's own name, it is said with or without what. "Private" denies `public`.
    """
    text = unquoted(lower)
    if len(words) == 1 and words[0] in _SWITCH:
        on, off = _ON.search(text) is not None, _OFF.search(text) is not None
        return on if on != off else None
    if not _NOTIFIES.isdisjoint(words) and _QUIETLY.search(text):
        return False
    stem = words[1:] if len(words) > 1 and words[0] in _HELPERS else words
    is_switch = len(stem) > 1 and stem[-1] in ("enabled", "active")  # `comments_enabled`: where they are turned
    stem = stem[:-1] if is_switch else stem
    root, pattern = _pattern(stem)
    opposite = _OPPOSITES.get(stem[0]) if len(stem) == 1 else None
    if (root not in text and (not opposite or opposite not in text)) or (len(stem) == 1 and stem[0] in _NO_FLAGS):
        return None
    answers: set[bool] = set()
    for found in pattern.finditer(text):
        before = text[max(0, found.start() - _NEAR) : found.start()]
        way = _WAY.match(text, found.end())
        if way is not None and (way.group(1) or _TURN.search(before)):  # "turn comments off"
            answers.add((way.group(1) or way.group(2)) in ("on", "enabled"))
            continue
        if _BOTH.search(before):
            return None
        if found.group(1) or _DENIED.search(before):
            answers.add(False)
        elif _SWITCHES.search(before) if is_switch else _is_plain(stem, taken) or _GRANTED.search(before):
            answers.add(True)
    for found in re.finditer(rf"\b{opposite}\b", text) if opposite else ():
        answers.add(_DENIED.search(text[max(0, found.start() - _NEAR) : found.start()]) is not None)
    return answers.pop() if len(answers) == 1 else None


def _is_plain(stem: tuple[str, ...], taken: Collection[str]) -> bool:
    """Whether the words alone say it: several, or one that is no plural, and that the operation is not called by."""
    is_plural = stem[0].endswith("s") and not stem[0].endswith("ss")
    return len(stem) > 1 or not (is_plural or names.singular(stem[0]) in map(names.singular, taken))


def granted(name: Name, parameter: Parameter, words: Set[str], lower: str) -> Any:
    """What a yes or no takes: "no insurance" and "without insurance", or "with insurance", for `insurance`."""
    noun = name.words[-1]
    if noun not in words or noun in PLAIN_ENUMS or not (parameter.enum or parameter.type == "boolean"):
        return None
    literal = {str(literal).lower(): literal for literal in parameter.enum} or {"yes": True, "no": False}
    if literal.keys() != {"yes", "no"}:
        return None
    wants = r"(?<!with and )(?<!with or )\b(?:(no|without)|with|add|adding|include|including)"
    of_it = rf"{wants}(?: (?:an|a|the|any))? {noun}\b"
    answers = {"no" if found.group(1) else "yes" for found in re.finditer(of_it, spaced(lower))}
    return literal[answers.pop()] if len(answers) == 1 and "no" not in name.words else None


@functools.lru_cache(maxsize=4096)
def _pattern(stem: tuple[str, ...]) -> tuple[str, re.Pattern[str]]:
    """Finds the words in their order, in any of their forms and up to two others apart; group 1 is an `un-`.

    Before it what has to stand in a text that it may match.
    """
    forms, root = [], ""
    for word in stem:
        root = _ENDING.sub("", word) if len(word) > 4 else word
        doubled = len(root) > 3 and root[-1] == root[-2]
        more = f"{root[-1]}?" if doubled else ""
        root = root[:-1] if doubled else root
        forms.append(f"{re.escape(root)}{more}(?:e|ed|d|s|es|ing|ly)?")
    return root, re.compile(r"(?<![\w-])(un)?" + r"(?:[ _-]?| (?:\w+ ){1,2})".join(forms) + r"(?![\w-])")
