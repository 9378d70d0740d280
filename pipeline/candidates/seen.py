"""What of a session an argument may come from: one value that was seen, and which of several fits.

Pure; `arguments` collects the values and asks.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from pipeline.candidates import names
from pipeline.candidates.fitting import fit
from pipeline.candidates.names import Name
from pipeline.types import Parameter

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_COUNT_DIGITS = 4  # of a number that may say how many there are; ids are longer

Found = tuple[Any, str, int]  # value, kind of origin, index of the call or -1


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """One value the session has seen."""

    name: Name
    value: Any
    call: int
    kind: str  # path | params | response


class Seen:
    """The values of a session, by their names and by the entities they are of."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[Value]] = {}  # oldest first
        self.by_entity: dict[str, list[Value]] = {}
        self.posts: set[int] = set()  # calls that may have made something
        self.scopes: list[dict[str, str]] = []  # of each call: normalised path parameter -> value
        self.carried: dict[str, set[str]] = {}  # text -> the entities that calls named by it
        self._others_of: dict[str, set[str]] = {}  # entity -> texts that calls named others by, made when asked for

    def add(self, value: Value) -> None:
        name = value.name
        self._by_name.setdefault(name.full, []).append(value)
        self.by_entity.setdefault(name.entity, []).append(value)
        if value.kind != "response" and isinstance(value.value, str):
            self.carried.setdefault(value.value, set()).add(name.entity)
        if value.kind == "path" and name.resource and name.resource != name.entity:
            self.by_entity.setdefault(name.resource, []).append(value)  # the {ref} of /commits/{ref} is a commit
        if _SHA.fullmatch(str(value.value)):
            self.by_entity.setdefault("#sha", []).append(value)

    def told(self, raw: str, call: int) -> set[str]:
        """Values by that name in the answers after a call."""
        values = self._by_name.get(names.name(raw, "").full, ())
        return {str(value.value) for value in values if value.kind == "response" and value.call > call}

    def sent(self, parameter: Parameter) -> Found | None:
        """What the latest call that had the argument was given."""
        values = reversed(self._by_name.get(names.name(parameter.name, "").full, ()))
        return fitting((value for value in values if value.kind == "params"), parameter)

    def others(self, name: Name) -> Set[str]:
        """Values that calls were given under names of other entities only."""
        if name.entity not in self._others_of:
            others = {value for value, entities in self.carried.items() if name.entity not in entities}
            self._others_of[name.entity] = others
        return self._others_of[name.entity]

    def values(self, name: Name, scope: Mapping[str, str]) -> Iterator[Value]:
        """Values of the same name, then of the same entity, the latest first; none of another scope."""
        for value in reversed(self._by_name.get(name.full, ())):
            is_its = not name.is_generic or value.name.resource == name.resource
            if is_its and self._in_scope(value, scope) and not _counts(value, name):
                yield value
        values = self.by_entity.get(name.entity, ())
        for kinds in names.KEYS[name.kind] if values else ():
            for value in reversed(values):
                is_key = value.name.kind in kinds and not self._measures(value, name) and not _counts(value, name)
                if is_key and self._in_scope(value, scope):
                    yield value
        for value in reversed(self.by_entity.get("#sha", ())) if name.kind == "sha" else ():
            if self._in_scope(value, scope):
                yield value

    def _measures(self, value: Value, name: Name) -> bool:
        """Whether it says something of what a call made, whose id is another: the `time` of `POST /times`."""
        is_sent = value.kind == "params" and value.call in self.posts and not value.name.kind
        return is_sent and name.full == "id" and value.name.resource == name.entity

    def _in_scope(self, value: Value, scope: Mapping[str, str]) -> bool:
        theirs = self.scopes[value.call]
        return all(theirs.get(key, mine) == mine for key, mine in scope.items())


def _counts(value: Value, name: Name) -> bool:
    """Whether it says how many there are: `rooms: 2` is neither a room's id nor its name."""
    if not value.name.is_plural or value.name.kind or (name.is_plural and not name.kind):
        return False
    text = str(value.value)
    return isinstance(value.value, int | float | str) and text.isdigit() and len(text) <= _COUNT_DIGITS


def fitting(values: Iterable[Value], parameter: Parameter) -> Found | None:
    """The first of the values that the parameter can take."""
    for seen in values:
        if (value := fit(seen.value, parameter, was_sent=True)) is not None:
            return value, seen.kind, seen.call
    return None


def at(params: Mapping[str, Any], name: str) -> Any:
    """The argument of that name, or what stands in an object under a dotted one (`ticket.subject`); None without."""
    if name in params:
        return params[name]
    value: Any = params
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
