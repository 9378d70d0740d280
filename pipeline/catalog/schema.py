"""Schemas of a document, flattened: in-document `$ref`s, merged properties, dotted response fields.

Everything is lazy, cached by the schema it was read from and bounded, so that reference loops and
exponential `allOf` cost no more than their first visit. Remote and file references are never followed. Called by
`operations` and `parameters`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from pipeline.catalog.text import INVISIBLE

_HOPS_MAX = 32  # references to references
_POINTER_MAX = 64  # tokens of a JSON pointer
_VISITS_MAX = 2000  # schemas merged into one
_PROPERTIES_MAX = 1000  # of one schema
_BRANCHES_MAX = 32  # alternatives of one schema that are asked what they require
_BRANCHES_DEPTH = 3  # alternatives within alternatives
_FIELDS_MAX = 64  # response fields of one operation
_FIELDS_SEEN = 512  # fields looked at before the 64 best are kept
_FIELDS_DEPTH = 3
_FIELD_NAME_MAX = 100  # characters
_WARNINGS_MAX = 100
_IDENTIFIER = re.compile(
    r"(?:^|[._-])(?:id|ids|number|name|key|slug|code|sha|token|login|ref|uuid)$|[a-z]I[dD]s?$", re.I
)


class Warnings:
    """What of a spec could not be read: at most 100 lines, each `pointer: why`."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}
        self._more = 0

    def add(self, pointer: str, why: str) -> None:
        if len(self._lines) >= _WARNINGS_MAX:
            self._more += 1
        else:
            self._lines[INVISIBLE.sub(" ", f"{pointer[:300]}: {why[:300]}")] = None

    def lines(self) -> tuple[str, ...]:
        lines = list(self._lines)
        if self._more:
            lines[-1] = f"#: {self._more + 1} more"
        return tuple(lines)


def escape(token: str) -> str:
    """One token of a JSON pointer (RFC 6901, 3)."""
    return token.replace("~", "~0").replace("/", "~1")


class Schemas:
    """Reads the schemas of one document, which must not change meanwhile."""

    def __init__(self, document: dict[str, Any], warnings: Warnings) -> None:
        self._document = document
        self._warnings = warnings
        self._targets: dict[str, Any] = {}
        self._properties: dict[int, tuple[dict[str, Any], frozenset[str]]] = {}
        self._needs: dict[int, frozenset[str]] = {}  # what an alternative requires
        self._fields: dict[int, tuple[str, ...]] = {}

    def resolve(self, node: Any, pointer: str, through: int = 0) -> Any:
        """`node`, or what it refers to; None where the reference leads nowhere. Loops end."""
        for _ in range(_HOPS_MAX):
            if type(node) is not dict:
                return node
            reference = node.get("$ref")
            if type(reference) is not str:
                return node
            if reference not in self._targets:
                self._targets[reference] = None  # what refers to itself on its way leads nowhere
                self._targets[reference] = self._find(reference, pointer, through)
            node = self._targets[reference]
        self._warnings.add(pointer, "a $ref that leads back to itself is left out")
        return None

    def _find(self, reference: str, pointer: str, through: int) -> Any:
        shown = reference[:120]
        if not reference.startswith("#"):
            self._warnings.add(pointer, f"$ref {shown} lies outside of the document and is never fetched")
            return None
        parts = unquote(reference[1:]).split("/") if "%" in reference else reference[1:].split("/")
        if parts[0] or len(parts) > _POINTER_MAX:
            self._warnings.add(pointer, f"$ref {shown} is an anchor or too long, which is not followed")
            return None
        node: Any = self._document
        for part in parts[1:]:
            token = part.replace("~1", "/").replace("~0", "~")
            if type(node) is dict and token not in node and through < 8:  # it leads through another reference
                node = self.resolve(node, pointer, through + 1)
            if type(node) is dict and token in node:
                node = node[token]
            elif type(node) is list and token.isdecimal() and len(token) < 9 and int(token) < len(node):
                node = node[int(token)]
            else:
                self._warnings.add(pointer, f"$ref {shown} leads nowhere")
                return None
        return node

    def properties(self, schema: Any, pointer: str) -> tuple[dict[str, Any], frozenset[str]]:
        """Top-level properties of an object schema and the required ones.

        `allOf` is merged; `oneOf` and `anyOf` give the union of their properties, required what all of them require.
        """
        schema = self.resolve(schema, pointer)
        if type(schema) is not dict:
            return {}, frozenset()
        known = self._properties.get(id(schema))
        if known is None:
            known = self._properties[id(schema)] = self._merge(schema, pointer, 0)
        return known

    def _merge(self, schema: dict[str, Any], pointer: str, depth: int) -> tuple[dict[str, Any], frozenset[str]]:
        merged: dict[str, Any] = {}
        required: set[str] = set()
        seen: set[tuple[int, bool]] = set()
        pending = [(schema, True)]
        visits = 0
        while pending and visits < _VISITS_MAX:
            node, demanded = pending.pop()
            if (id(node), demanded) in seen:
                continue
            seen.add((id(node), demanded))
            visits += 1
            own = node.get("properties")
            if type(own) is dict:
                for name, value in own.items():
                    if len(merged) >= _PROPERTIES_MAX:
                        break
                    if name not in merged:
                        merged[name] = value
                    elif not demanded:
                        merged[name] = self._either(merged[name], value, pointer)
            elif own is not None:
                self._warnings.add(pointer, "properties is not an object")
            if demanded and type(node.get("required")) is list:
                required.update(name for name in node["required"] if type(name) is str)
            branches: list[tuple[dict[str, Any], bool]] = []
            for key in ("allOf", "oneOf", "anyOf"):
                parts = node.get(key)
                if type(parts) is not list:
                    continue
                targets = [self.resolve(part, pointer) for part in parts[: _VISITS_MAX - visits]]
                visits += len(targets)
                found = [target for target in targets if type(target) is dict]
                is_sure = demanded and (key == "allOf" or len(parts) == 1)
                branches += [(target, is_sure) for target in found]
                if demanded and not is_sure and len(found) == len(parts) <= _BRANCHES_MAX:
                    required |= self._shared(found, pointer, depth)
            pending.extend(reversed(branches))
        return merged, frozenset(required)

    def _shared(self, branches: list[dict[str, Any]], pointer: str, depth: int) -> set[str]:
        """What each of several alternatives requires; null is none of them."""
        needs = []
        for branch in branches if depth < _BRANCHES_DEPTH else ():
            if branch.get("type") != "null":
                if id(branch) not in self._needs:
                    self._needs[id(branch)] = self._merge(branch, pointer, depth + 1)[1]
                needs.append(self._needs[id(branch)])
        return set(frozenset.intersection(*needs)) if needs else set()

    def _either(self, first: Any, second: Any, pointer: str) -> Any:
        """The schema of a property that several alternatives have: the first, with the literals of all.

        The second where it takes any value and the first only one, which would be filled in as if there were no other.
        """
        found = [literals(self.resolve(schema, pointer)) for schema in (first, second)]
        if not all(found) or found[0] == found[1]:
            return second if len(found[0]) == 1 and not found[1] else first
        known = self.resolve(first, pointer)
        both = [*found[0], *(value for value in found[1] if value not in found[0])]
        return {**{key: value for key, value in known.items() if key != "const"}, "enum": both}

    def fields(self, schema: Any, pointer: str) -> tuple[str, ...]:
        """Dotted names of what a response holds, arrays transparent, three levels deep, at most 64.

        Above 64 the names that look like identifiers stay, then the shallow ones.
        """
        schema = self._element(schema, pointer)
        if schema is None:
            return ()
        known = self._fields.get(id(schema))
        if known is not None:
            return known
        found: dict[str, None] = {}
        level: list[tuple[str, dict[str, Any]]] = [("", schema)]
        for _ in range(_FIELDS_DEPTH):
            below: list[tuple[str, dict[str, Any]]] = []
            for prefix, node in level:
                for name, value in self.properties(node, pointer)[0].items():
                    if len(found) >= _FIELDS_SEEN:
                        break
                    if not name or len(name) > _FIELD_NAME_MAX:
                        continue
                    found[prefix + name] = None
                    child = self._element(value, pointer)
                    if child is not None:
                        below.append((f"{prefix}{name}.", child))
            level = below
        result = self._fields[id(schema)] = _best(found)
        return result

    def answered(self, media: dict[str, Any], pointer: str) -> tuple[str, ...]:
        """What a response of this media type holds, by its schema, and by an example where that names no identifier."""
        found = self.fields(_schema_of(media), pointer)
        if any(map(_IDENTIFIER.search, found)):
            return found
        return _best(dict.fromkeys(found) | _example_fields(self._example(media, pointer)))

    def _example(self, media: dict[str, Any], pointer: str) -> Any:
        """The first example of a media type: its own, one of its `examples`, or its schema's."""
        if "example" in media:
            return media["example"]
        examples = media.get("examples")
        for node in list(examples.values())[:1] if type(examples) is dict else ():
            node = self.resolve(node, pointer)
            if type(node) is not dict:
                return node
            return None if "externalValue" in node else node.get("value", node)  # in version 2 the example itself
        schema = self.resolve(_schema_of(media), pointer)
        return schema.get("example") if type(schema) is dict else None

    def _element(self, schema: Any, pointer: str) -> dict[str, Any] | None:
        """The schema, or what its arrays hold; None when it is no object."""
        for _ in range(_HOPS_MAX):
            schema = self.resolve(schema, pointer)
            if type(schema) is not dict:
                return None
            if "items" not in schema or "properties" in schema:
                return schema
            schema = schema["items"]
        return None

    def media(self, content: Any, pointer: str) -> dict[str, Any]:
        """The media type that says most: JSON, then forms, then whatever comes first; of those one with a schema."""
        first: dict[str, Any] = {}
        for kind in sorted(content, key=_media_rank)[:8] if type(content) is dict else ():
            media = self.resolve(content[kind], pointer)
            if type(media) is dict:
                if _schema_of(media) is not None:
                    return media
                first = first or media
        return first

    def body(self, content: Any, pointer: str) -> Any:
        """The schema of that media type, None without one."""
        return _schema_of(self.media(content, pointer))


def literals(schema: Any) -> list[Any]:
    """The values that a schema lists, or the only one that it takes."""
    values = schema.get("enum") if type(schema) is dict else None
    if type(values) is list:
        return values
    return [schema["const"]] if type(schema) is dict and "const" in schema else []


def _schema_of(media: dict[str, Any]) -> Any:
    schema = media.get("schema")
    return media.get("itemSchema") if schema is None else schema  # 3.2


def _example_fields(value: Any) -> dict[str, None]:
    """Dotted names of an example, arrays transparent by their first, as `Schemas.fields` gives them."""
    found: dict[str, None] = {}
    level: list[tuple[str, Any]] = [("", value)]
    for _ in range(_FIELDS_DEPTH):
        below: list[tuple[str, Any]] = []
        for prefix, node in level:
            for _ in range(_FIELDS_DEPTH):
                if type(node) is list and node:
                    node = node[0]
            for name, inner in node.items() if type(node) is dict else ():
                if len(found) >= _FIELDS_SEEN:
                    break
                if type(name) is str and 0 < len(name) <= _FIELD_NAME_MAX:
                    found[prefix + name] = None
                    below.append((f"{prefix}{name}.", inner))
        level = below
    return found


def _best(found: dict[str, None]) -> tuple[str, ...]:
    """At most 64 of these names: those that look like identifiers, then the first."""
    names = list(found)
    if len(names) > _FIELDS_MAX:
        best = sorted(range(len(names)), key=lambda i: (not _IDENTIFIER.search(names[i]), i))[:_FIELDS_MAX]
        names = [names[i] for i in sorted(best)]
    return tuple(INVISIBLE.sub("", name) for name in names)


def _media_rank(kind: str) -> int:
    kind = kind.lower()
    if kind.startswith("application/json"):
        return 0
    if "json" in kind:
        return 1
    return 2 if "form" in kind else 3


def scalar(value: Any) -> str:
    """A text or number as text; "" for anything else."""
    return value if type(value) is str else str(value) if type(value) in (int, float) else ""
