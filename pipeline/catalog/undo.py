"""Destructive operations that a session speaks for, whatever its prompt says.

Who has made something may want it gone again, and who has just deleted, cancelled or refunded one thing may go on to
the next. What was there before the session, and what it never touched, it does not speak for. A session of fewer calls
than `ENOUGH` speaks for nothing. Called by `pipeline.predict.prepare`; what may be shown is decided in `guardrails`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.types import Call, Match, Operation

ENOUGH = 3  # matched calls; below that nothing destructive is a sensible way into an API

Done = tuple[Operation, Mapping[str, str]]  # an operation called, and the values of its path


def done(operations: Sequence[Operation], calls: Sequence[Call], matches: Sequence[Match | None]) -> list[Done]:
    """The calls that can speak for something: those that did not fail, none of a session too short."""
    if sum(match is not None for match in matches) < ENOUGH:
        return []
    return [
        (operations[match.index], match.path_params)
        for call, match in zip(calls, matches, strict=True)
        if match is not None and (call.status or 0) < 400
    ]


def spoken_for(operation: Operation, params: Mapping[str, Any], calls: Sequence[Done]) -> bool:
    """Whether `calls` had this destructive operation among them, or made what it would take away with `params`."""
    return any(made.key == operation.key or _undoes(operation, params, made, values) for made, values in calls)


def _undoes(operation: Operation, params: Mapping[str, Any], made: Operation, values: Mapping[str, str]) -> bool:
    """A DELETE of what a PUT or POST made: at the same path, or of one thing of the collection that was posted to."""
    if operation.method != "DELETE" or made.method not in ("PUT", "POST") or made.destructive:
        return False
    collection, _, last = operation.path.rpartition("/")
    is_one_of = made.method == "POST" and last.startswith("{") and collection == made.path
    is_same = operation.path == made.path
    return (is_one_of or is_same) and all(str(params.get(name)) == value for name, value in values.items())
