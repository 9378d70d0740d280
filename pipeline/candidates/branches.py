"""Branches that a prompt names: "from develop into main", "onto release-2.1", "branch feature/login".

Pure functions of a prompt and a parameter; called by `wish`.
"""

from __future__ import annotations

import re

from pipeline.candidates.names import Name
from pipeline.types import Parameter

_USUAL = "main|master|develop|development|dev|staging|production|trunk|gh-pages"
_TOKEN = r"[A-Za-z][\w]*(?:[./-]\w+)+"  # a word of several parts; plain ones may be anything
_BETWEEN = r" (?:(?:the|branch|named|called) ){0,2}"
_END = r"(?![\w/-]|\.\w)"
_SIDES = {"source": "from", "head": "from", "from": "from", "target": "into|to|onto|with", "base": "into|to|onto|with"}
_SIDES["to"] = _SIDES["target"]
_SAYS = re.compile(r"(?i)\bbranch")
_GIT = re.compile(r"(?i)\b(?:branch|commit|tag|git)\b")  # a client's reference is none of these


def named(prompt: str, name: Name, parameter: Parameter) -> str | None:
    """The only branch that the prompt names for a `branch`, a `ref`, or a side of what compares or merges two."""
    side = next((_SIDES[word] for word in name.words if word in _SIDES), "")
    is_one = name.words[-1] == "branch" or (name.full == "ref" and _GIT.search(parameter.description) is not None)
    is_one = is_one or (bool(side) and _SAYS.search(parameter.description) is not None)
    if not is_one or parameter.type not in ("string", "any"):
        return None
    patterns: tuple[str, ...]
    if side:
        patterns = (rf"\b(?:{side}){_BETWEEN}({_USUAL}|{_TOKEN}){_END}",)
    elif name.resource == "branch" and name.words[-1] == "branch":  # one that is made
        patterns = (rf"\bbranch{_BETWEEN}({_USUAL}|{_TOKEN}){_END}",)
    else:
        patterns = (
            rf"\b(?:branch|onto){_BETWEEN}({_USUAL}|{_TOKEN}){_END}",
            rf"\b(?:from|on|of|in|to|into){_BETWEEN}({_USUAL}){_END}",
        )
        patterns = patterns[::-1] if name.words[-1] == "ref" else patterns
    for pattern in patterns:
        found = set(re.findall(pattern, prompt))
        if found:
            return found.pop() if len(found) == 1 else None
    return None
