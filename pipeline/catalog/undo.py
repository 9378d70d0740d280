"""Destructive operations that a session speaks for, whatever its prompt says.

Who has made something may want it gone again, and who has just deleted, cancelled or refunded one thing may go on to
the next. What was there before the session, and what it never touched, it does not speak for. A session of fewer calls
than `ENOUGH` speaks for nothing. Called by `pipeline.predict.prepare`; what may be shown is decided in `guardrails`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.types import Call, Match, Operation

ENOUGH = 3  # matched calls; below that nothing destructive is a sensible way into an API

_SEEN_MAX = 2000  # values of earlier calls that are kept apart


class Done(NamedTuple):
    """A call that did not fail."""

    operation: Operation
    values: Mapping[str, str]  # of its path
    known: frozenset[str]  # values that calls before it had: of what was there before it
    answer: str  # a sample of its answer as text, "" without one


def done(operations: Sequence[Operation], calls: Sequence[Call], matches: Sequence[Match | None]) -> list[Done]:
    """The calls that can speak for something: those that did not fail, none of a session too short."""
    if sum(match is not None for match in matches) < ENOUGH:
        return []
    found, known = list[Done](), set[str]()
    for call, match in zip(calls, matches, strict=True):
        if match is not None and (call.status or 0) < 400:
            answer = "" if call.body is None else str(call.body)
            found.append(Done(operations[match.index], match.path_params, frozenset(known), answer))
        if len(known) < _SEEN_MAX:
            known.update(str(value) for value in call.params.values())
            known.update(() if match is None else match.path_params.values())
    return found


def spoken_for(operation: Operation, params: Mapping[str, Any], calls: Sequence[Done]) -> bool:
    """Whether `calls` had this destructive operation among them, or made what it would take away with `params`."""
    return any(made.operation.key == operation.key or _undoes(operation, params, made) for made in calls)


def _undoes(operation: Operation, params: Mapping[str, Any], made: Done) -> bool:
    """A DELETE of what a PUT or POST made: at the same path, or of one thing of the collection that was posted to.

    That thing is none that an earlier call had, and one of the answer where there is a sample of it.
    """
    by = made.operation
    if operation.method != "DELETE" or by.method not in ("PUT", "POST") or by.destructive:
        return False
    if any(str(params.get(name)) != value for name, value in made.values.items()):
        return False
    if operation.path == by.path:
        return True
    collection, _, last = operation.path.rpartition("/")
    if by.method != "POST" or not last.startswith("{") or collection != by.path:
        return False
    thing = params.get(last.strip("{}"))
    return thing is None or (str(thing) not in made.known and (not made.answer or str(thing) in made.answer))
