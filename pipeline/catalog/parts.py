"""Whether a DELETE would take away a whole of which the prompt names a part: the issue, of "remove the label bug".

Pure functions of paths and a prompt, called by `pipeline.predict`; what may be shown is decided in `guardrails`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from pipeline.catalog import verbs
from pipeline.types import Candidate

_CLAUSE = re.compile(r"(?i)[,.;:!?\n]|\b(?:and|then|but|or)\b")
_WORD = re.compile(r"[a-z]+")
_METHOD = "DELETE "


def wholes(candidates: Sequence[Candidate], prompt: str) -> Collection[str]:
    """Those whose path others that delete lie below, where each clause names first what one of these deletes.

    A clause that names neither, or has no verb beside one that has, says nothing; what nothing deletes is no part here.
    """
    deletes = [one.operation for one in candidates if one.destructive == "delete"]
    nouns = {operation.removeprefix(_METHOD): noun for operation in deletes if (noun := _noun(operation))}
    if not prompt or len(nouns) < 2:
        return ()
    said = _CLAUSE.split(verbs.wanted(prompt).lower())
    said = [clause for clause in said if verbs.prompt_verbs(clause)] or said
    clauses = [[verbs.singular(word) for word in _WORD.findall(clause)] for clause in said]
    found = set()
    for path, noun in nouns.items():
        parts = {other for below, other in nouns.items() if below.startswith(f"{path}/")} - {noun}
        named = [next((word for word in clause if word == noun or word in parts), "") for clause in clauses]
        if parts.intersection(named) and noun not in named:
            found.add(f"{_METHOD}{path}")
    return found


def _noun(operation: str) -> str:
    """What a DELETE takes away, by the last word of its path that is no argument; "" of another operation."""
    if not operation.startswith(_METHOD):
        return ""
    words = [part for part in operation.split("/") if part and "{" not in part]
    said = _WORD.findall(words[-1].lower())
    return verbs.singular(said[-1]) if len(words) > 1 and said else ""
