"""Objects and lists of objects that calls were given or answers had: the flights of a booking, an address.

An argument of objects takes what went by its name, cut to the fields that its schema has, of the thing that the other
arguments mean. Bounded, as clients may send answers of any size. Called by `arguments`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import Any

from pipeline.candidates import names
from pipeline.candidates.fitting import is_value
from pipeline.types import Operation, Parameter

_ITEMS_MAX = 20  # of one list; a longer one is left out
_KEPT = 32  # of a session


class Wholes:
    """What one session has seen, the latest last."""

    def __init__(self) -> None:
        self._seen: list[tuple[str, Any, frozenset[str], int, str]] = []  # name, value, values beside it, call, kind

    def see(self, raw: str, value: Any, beside: Mapping[str, Any], call: int, kind: str) -> None:
        """Remembers an object or a list of some; `beside` is what it stands in."""
        objects = value if isinstance(value, list) else [value]
        if 0 < len(objects) <= _ITEMS_MAX and all(isinstance(item, dict) and item for item in objects):
            others = frozenset(str(other) for other in itertools.islice(beside.values(), 60) if is_value(other))
            self._seen = [*self._seen[1 - _KEPT :], (names.name(raw[:60], "").full, value, others, call, kind)]

    def find(
        self,
        parameter: Parameter,
        operation: Operation,
        bound: Iterable[tuple[Any, str, int]],
        done: Collection[int],
        told: Callable[[str, int], Set[str]],
    ) -> tuple[Any, str, int] | None:
        """What went by the parameter's name, with its fields alone: of what was `bound` by now, else the latest.

        What an answer says is so far is no news where nothing else is to be set, or where other such things were
        looked up since: `told` gives the values of a field that answers after a call have. The operation's own calls
        have `done` with what they were given.
        """
        things = {str(value) for value, _, _ in bound}
        wanted, is_list = names.name(parameter.name, "").full, parameter.type == "array"
        found = [seen for seen in reversed(self._seen) if seen[0] == wanted and isinstance(seen[1], list) is is_list]
        first = parameter.fields[0]
        known = {str(item.get(first)) for seen in found for item in (seen[1] if is_list else [seen[1]])}
        for _, value, _, call, kind in sorted(found, key=lambda seen: seen[2].isdisjoint(things)):
            if kind == "params" and call in done:
                continue
            objects = [_cut(item, parameter) for item in (value if is_list else [value])]
            if kind == "response" and (_sets_nothing_else(parameter, operation) or told(first, call) - known):
                return None
            if all(objects):
                return (objects if is_list else objects[0]), kind, call
        return None


def _sets_nothing_else(parameter: Parameter, operation: Operation) -> bool:
    """Whether all else that a call must have says which things are meant."""
    others = (p for p in operation.parameters if p.required and p.location == "body" and p is not parameter)
    return all(names.name(p.name, "").kind for p in others)


def _cut(item: Mapping[str, Any], parameter: Parameter) -> dict[str, Any]:
    """The fields that the schema has; nothing where not half of them are there, or one is no plain value."""
    kept = {field: item[field] for field in parameter.fields if field in item}
    return kept if 2 * len(kept) >= len(parameter.fields) and all(map(is_value, kept.values())) else {}
