"""What is the caller's own, by where an operation stands and what its summary says. Called by `relations`."""

from __future__ import annotations

import re

from pipeline.types import Operation

CALLERS = frozenset({"me", "@me", "self", "myself", "whoami"})  # the user who calls

_MINE = frozenset({"my", "mine", "account", "profile"})  # what is theirs
_OF_CALLER = re.compile(
    r"(?i)\b(?:current|authenticated|logged[- ]?in|signed[- ]?in|calling|requesting) (?:user|account|member|customer)"
)


def of_caller(operation: Operation) -> bool:
    """Whether it is about the caller's own: "/me/lists", "/user/repos", "Lists of the authenticated user"."""
    segments = [segment.lower() for segment in operation.path.split("/") if segment]
    if not CALLERS.isdisjoint(segments) or not _MINE.isdisjoint(segments):
        return True
    opens = segments[:1] == ["user"] and len(segments) > 1 and "{" not in segments[1]
    return opens or _OF_CALLER.search(operation.summary) is not None
