"""Keys of numbered things, such as WEB-15, and which arguments of a path take them: an issue's, not its project's.

A project, a team or a space holds what is numbered by its own key: WEB. Pure functions; `loose` asks them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection

from pipeline.candidates import names
from pipeline.candidates.names import Name
from pipeline.candidates.spans import Span

KEY = re.compile(r"[A-Z][A-Z0-9]{1,9}-\d{1,9}")
HEAD = re.compile(r"[A-Z][A-Z0-9]{1,9}")  # of such a key, and all of the key of what holds it
_HOLDERS = frozenset(
    re.findall(r"\w+", "account board group org organisation organization project queue space team workspace")
)
_ITEMS = frozenset(re.findall(r"\w+", "bug card defect epic incident issue item story subtask task ticket workitem"))
_LABELS = frozenset(("number", "no", "id", "key"))
_BEFORE_NOUNS = frozenset(
    re.findall(r"\w+", "a an the my our your his her their this that of for in on with from about to")
)


@functools.lru_cache(maxsize=16384)
def taker(path: str) -> str:
    """The only parameter of a path that takes such a key, first of those that take an id too; "" without one.

    `issueIdOrKey` of /issue/{issueIdOrKey}/properties/{propertyKey}, none of /suites/{suiteKey}/cases/{caseKey}.
    """
    held = holders(path)
    keyed = [raw for raw in names.template(path).names if "key" in names.split(raw) and raw not in held]
    any_key = [raw for raw in keyed if names.split(raw)[-2:-1] == ("or",)]
    return keyed[0] if len(keyed) == 1 else any_key[0] if len(any_key) == 1 else ""


@functools.lru_cache(maxsize=16384)
def holders(path: str) -> tuple[str, ...]:
    """The parameters of a path that take the key of what holds numbered things: `project_key`."""
    resources = names.template(path).resources
    keyed = [raw for raw in resources if "key" in names.split(raw)]
    return tuple(raw for raw in keyed if names.name(raw, resources[raw]).entity in _HOLDERS)


def is_anothers(span: Span, name: Name, verbs: Collection[str]) -> bool:
    """Whether the noun before a key is of another thing: "cancel order AB-12" and an issue; "reopen AB-12" has none."""
    words = [word for word in span.before if word not in _LABELS]
    noun = names.singular(words[0]) if words else ""
    if noun in (name.entity, name.resource) or {noun, name.entity} <= _ITEMS or noun in _BEFORE_NOUNS:
        return False
    if noun in _ITEMS | _HOLDERS:
        return True
    return len(words) > 1 and (words[1] in _BEFORE_NOUNS - {"to"} or words[1] in verbs)


def is_held(prompt: str, key: str, noun: str) -> bool:
    """Whether a prompt asks for what holds the thing of a key: "the project of WEB-15", "WEB-15's project"."""
    noun, key = re.escape(noun), re.escape(key)
    of = r"(?:of|for|behind|containing|that (?:has|holds|contains))"
    said = rf"\b{noun}s? {of} (?:(?:the|my|our|this) )?(?:[a-z]{{1,20}} )?{key}\b|\b{key}['’]s {noun}\b"
    return re.search(said, prompt, re.I) is not None


def is_called(prompt: str, key: str, noun: str) -> bool:
    """Whether a prompt says that the key is the noun's own: "project WEB-15"."""
    return re.search(rf"\b{re.escape(noun)} (?:(?:key|number|no\.?) )?{re.escape(key)}\b", prompt, re.I) is not None
