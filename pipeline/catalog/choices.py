"""What the alternatives of a request body (`oneOf`, `anyOf`) require, each by itself.

`Choices` looks into a body and the objects within it, as far as both are small; which alternative a call picks is for
`candidates/choices.py` to say. Called by `operations`, one reader per document.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from pipeline.catalog.schema import Schemas, literals
from pipeline.types import Alternative

_GROUPS_MAX = 4  # of one body
_BRANCHES_MAX = 8  # of one group
_NAMES_MAX = 48  # of one alternative
_LITERALS_MAX = 8  # of one property
_LITERAL_MAX = 64  # characters
_OBJECTS_MAX = 16  # on one level of a body
_NODES_MAX = 8  # schemas looked at for the groups of one object
_DEPTH = 3  # levels of a body
_TEXT_MAX = 2_000_000  # characters of all names and literals of a document
_OBJECTS = frozenset(("properties", "allOf", "oneOf", "anyOf"))

Group = tuple[Alternative, ...]


class Choices:
    """Reads the alternatives of one document's bodies; a body that several operations share is read once."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._known: dict[int, tuple[tuple[Group, ...], int]] = {}  # with their characters
        self._left = _TEXT_MAX

    def of(self, request_body: Any, pointer: str) -> tuple[Group, ...]:
        """Groups of alternatives of a body, of each of which a call picks one; names are dotted."""
        node = self._schemas.resolve(request_body, pointer)
        schema = self._schemas.body(node.get("content"), pointer) if type(node) is dict else None
        schema = self._schemas.resolve(schema, pointer)
        if type(schema) is not dict:
            return ()
        if id(schema) not in self._known:
            groups = (g for g in self._groups(schema, pointer) if len(g) > 1 and any(one.required for one in g))
            found = tuple(itertools.islice(groups, _GROUPS_MAX))
            self._known[id(schema)] = found, sum(map(_length, itertools.chain.from_iterable(found)))
        found, length = self._known[id(schema)]
        self._left -= length
        return found if self._left >= 0 else ()

    def _groups(self, schema: dict[str, Any], pointer: str) -> Iterator[Group]:
        """The groups of a body and of its objects, the `allOf` of each followed."""
        level = [("", schema)]
        for depth in range(_DEPTH):
            for prefix, node in level:
                pending: list[Any] = [node]
                for _ in range(_NODES_MAX):
                    found = self._schemas.resolve(pending.pop(0), pointer) if pending else None
                    one = found if type(found) is dict else {}
                    for key in ("allOf", "oneOf", "anyOf"):
                        parts = one.get(key)
                        if type(parts) is list and (key == "allOf" or len(parts) == 1):
                            pending += parts[:_NODES_MAX]
                        elif type(parts) is list and len(parts) <= _BRANCHES_MAX:
                            yield self._alternatives(parts, one.get("discriminator"), prefix, pointer)
            inner = (self._objects(node, prefix, pointer) for prefix, node in level if depth + 1 < _DEPTH)
            level = list(itertools.islice(itertools.chain.from_iterable(inner), _OBJECTS_MAX))

    def _objects(self, node: dict[str, Any], prefix: str, pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, value in self._schemas.properties(node, pointer)[0].items():
            schema = self._schemas.resolve(value, pointer)
            if type(schema) is dict and not _OBJECTS.isdisjoint(schema):
                yield f"{prefix}{name}.", schema

    def _alternatives(self, parts: list[Any], discriminator: Any, prefix: str, pointer: str) -> Group:
        """What each has and requires besides what all do; () where one is too large. Null is none of them."""
        read: list[tuple[dict[str, list[Any]], frozenset[str]]] = []
        for part in parts:
            node = self._schemas.resolve(part, pointer)
            properties, required = self._schemas.properties(node, pointer)
            if len(properties.keys() | required) > _NAMES_MAX:
                return ()
            given = {name: self._schemas.resolve(properties.get(name), pointer) for name in (*properties, *required)}
            told = _told_by(discriminator, part)
            values = {
                name: (literals(schema) or told.get(name, []))[:_LITERALS_MAX]
                for name, schema in given.items()
                if not (type(schema) is dict and schema.get("readOnly") is True)
            }
            if type(node) is not dict or node.get("type") != "null":
                read.append((values, required))
        shared = set.intersection(*(set(values) for values, _ in read)) if read else set()
        return tuple(
            Alternative(
                names=tuple(prefix + name for name in values if name not in shared),
                required=tuple(prefix + name for name in values if name in required),
                literals=tuple((prefix + name, value) for name in values for value in values[name] if _is_short(value)),
            )
            for values, required in read
        )


def _is_short(value: Any) -> bool:
    return type(value) is int or (type(value) is str and len(value) <= _LITERAL_MAX)


def _length(one: Alternative) -> int:
    texts = (*one.names, *one.required, *(name for name, _ in one.literals))
    return sum(map(len, texts)) + _LITERAL_MAX * len(one.literals)


def _told_by(discriminator: Any, part: Any) -> dict[str, list[Any]]:
    """The property by which an alternative is told, with its values there (OpenAPI 3.1, 4.8.25)."""
    name = discriminator.get("propertyName") if type(discriminator) is dict else None
    reference = part.get("$ref") if type(part) is dict else None
    if type(name) is not str or type(reference) is not str:
        return {}
    called, mapping = reference.rpartition("/")[2], discriminator.get("mapping")
    pairs = list(mapping.items())[:_OBJECTS_MAX] if type(mapping) is dict else []
    return {name: [value for value, target in pairs if target in (reference, called)] or [called]}
