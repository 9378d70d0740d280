"""Which of a body's alternatives (`oneOf`, `anyOf`) a call picks, and what it lacks then. Called by `arguments`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.candidates import parameters
from pipeline.candidates.seen import at
from pipeline.types import Alternative, Operation


def lacking(operation: Operation, params: Mapping[str, Any]) -> list[str]:
    """What is required by the alternatives that the arguments of a call pick, and is not among them; no credential."""
    takes = {p.name for p in operation.parameters if not parameters.is_credential(p, operation.path)}
    found: dict[str, None] = {}
    for group in operation.choices:
        for name in _picked(group, params).required:
            if name.partition(".")[0] in takes and at(params, name) is None:
                found[name] = None
    return list(found)


def _picked(group: Sequence[Alternative], params: Mapping[str, Any]) -> Alternative:
    """The only alternative that has the literals of a call, or all that it was given of what only some of them have."""
    left = [one for one in group if _agrees(one, params)]
    if len(left) == len(group) or len(left) != 1:
        given = {name for one in group for name in one.names if at(params, name) is not None}
        left = [one for one in left if given and given.issubset(one.names)]
    return left[0] if len(left) == 1 else Alternative()


def _agrees(one: Alternative, params: Mapping[str, Any]) -> bool:
    """Whether each property of which an alternative takes certain literals has one of these, if it has any value."""
    taken: dict[str, list[Any]] = {}
    for name, literal in one.literals:
        taken.setdefault(name, []).append(literal)
    return all((value := at(params, name)) is None or value in literals for name, literals in taken.items())
