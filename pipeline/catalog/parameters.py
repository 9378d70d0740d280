"""The parameters of an operation: declared ones, and the properties of its body, objects with what they are made of.

Reads OpenAPI 2 (`in: body`, `formData`) and 3 (`requestBody`, `content`) alike; what is broken is left out with a
warning. `schema` resolves and merges schemas. Called by `operations`, one reader per document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

import msgspec

from pipeline.catalog.patterns import harmless
from pipeline.catalog.schema import Schemas, Warnings, escape, scalar
from pipeline.catalog.text import INVISIBLE, Texts, label, without_credentials
from pipeline.types import Parameter

NAME_MAX = 512  # characters of an operation id or a parameter's name
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_LOCATIONS = {"path", "query", "header", "cookie"}
_TYPES = {"string", "integer", "number", "boolean", "array", "object"}
_PARAMETERS_MAX = 256  # of one operation
_ENUM_MAX = 256
_FIELDS_MAX = 24  # of the objects of an argument; more of them are no form to be filled
_PARTS_MAX = 48  # in one argument, objects within it counted too: of a larger one only the upper levels
_PARTS_DEPTH = 4  # `data.relationships.workspace.data.id`
_BODY_PARTS_MAX = 128  # in all arguments of a body
_SCHEMES_MAX = 100  # security schemes that are looked at
_VALUE_NODES = 64  # of a default or example
_OBJECTS = frozenset(("properties", "allOf", "oneOf", "anyOf"))  # what a schema without a type has that is an object
_SECRET = re.compile(r"password|secret|token|api[-_]?key|authorization|credential|private[-_]?key", re.I)


class Parameters:
    """Reads the parameters of one document's operations; what several of them share is read once."""

    def __init__(
        self, schemas: Schemas, texts: Texts, warnings: Warnings, is_v2: bool, keys: Collection[tuple[str, str]] = ()
    ) -> None:
        self._keys = keys
        self._schemas = schemas
        self._text = texts.plain
        self._warnings = warnings
        self._is_v2 = is_v2
        self._known: dict[int, tuple[Parameter, ...]] = {}
        self._bodies: dict[int, tuple[Parameter, ...]] = {}
        self._flat: dict[int, list[tuple[Parameter, Any]]] = {}
        self._parts_of: dict[tuple[int, int], tuple[tuple[Parameter, ...], int]] = {}  # schema, levels -> parts, count

    def read(
        self, path: str, node: dict[str, Any], shared: Any, pointer: str, item_pointer: str
    ) -> tuple[Parameter, ...]:
        """Path-level parameters, overridden and followed by the operation's own, then the body's."""
        merged: dict[tuple[str, str], Parameter] = {}
        for source, where in (
            (shared, f"{item_pointer}/parameters"),
            (node.get("parameters"), f"{pointer}/parameters"),
        ):
            if source is None:
                continue
            if type(source) is not list:
                self._warnings.add(where, "not a list")
                continue
            own: set[tuple[str, str]] = set()
            for index, entry in enumerate(source[: 4 * _PARAMETERS_MAX]):
                for parameter in self._parameter(entry, f"{where}/{index}"):
                    key = (parameter.name, parameter.location)
                    if key in own and parameter.location != "body":
                        self._warnings.add(f"{where}/{index}", f"parameter {parameter.name} twice; the last one counts")
                    own.add(key)
                    merged[key] = parameter
        if "requestBody" in node and not self._is_v2:
            for parameter in self._request_body(node["requestBody"], f"{pointer}/requestBody"):
                merged[parameter.name, "body"] = parameter
        self._place(path, merged, pointer)
        if len(merged) > _PARAMETERS_MAX:
            self._warnings.add(pointer, f"more than {_PARAMETERS_MAX} parameters; required ones are kept first")
            return tuple(sorted(merged.values(), key=lambda p: not p.required)[:_PARAMETERS_MAX])
        return tuple(merged.values())

    def _place(self, path: str, merged: dict[tuple[str, str], Parameter], pointer: str) -> None:
        """Make the path parameters those that the path has, in RFC 6570's writings too (`{+name}`, `{key*}`)."""
        place, _, rest = path.partition("?")
        named = [name.lstrip("+#./;&").rstrip("*") for name in PLACEHOLDER.findall(place)]
        for name in named:
            if name and (name, "path") not in merged and len(name) <= NAME_MAX:
                self._warnings.add(pointer, f"path parameter {name[:100]} is not declared")
                merged[name, "path"] = Parameter(name, "path", required=True, type="string")
        for name in PLACEHOLDER.findall(rest):  # `/search?q={q}`
            declared = merged.pop((name, "path"), None)
            if (name, "query") not in merged and 0 < len(name) <= NAME_MAX:
                given = declared or Parameter(name, "path", required=True, type="string")
                merged[name, "query"] = msgspec.structs.replace(given, location="query")
        for name in [name for name, location in merged if location == "path" and name not in named]:
            self._warnings.add(pointer, f"path parameter {name[:100]} is not in the path; it is left out")
            del merged[name, "path"]

    def _parameter(self, entry: Any, pointer: str) -> tuple[Parameter, ...]:
        """What one entry of a parameter list declares; a body of OpenAPI 2 declares several."""
        node = self._schemas.resolve(entry, pointer)
        if type(node) is not dict:
            if node is not None or entry is None:
                self._warnings.add(pointer, "a parameter that is not an object is left out")
            return ()
        known = self._known.get(id(node))
        if known is None:
            known = self._known[id(node)] = self._read_parameter(node, pointer)
        return known

    def _read_parameter(self, node: dict[str, Any], pointer: str) -> tuple[Parameter, ...]:
        name, location = scalar(node.get("name")), node.get("in")
        if location == "body":
            return self._body(node.get("schema"), node.get("required") is True, pointer)
        if not _is_name(name):
            self._warnings.add(pointer, "a parameter without a usable name is left out")
            return ()
        if location == "formData":
            schema: Any = node
            location = "body"
        elif type(location) is not str or location not in _LOCATIONS:
            self._warnings.add(pointer, f"parameter {name[:100]} is in {scalar(location)[:40]!r}, no place for one")
            return ()
        elif "schema" in node:
            schema = node["schema"]
        else:
            schema = node if self._is_v2 else self._schemas.body(node.get("content"), pointer) or node
        return (self._named(name, location, schema, location == "path" or node.get("required") is True, pointer, node),)

    def _named(
        self, name: str, location: str, schema: Any, required: bool, pointer: str, outer: dict[str, Any]
    ) -> Parameter:
        """A parameter of this name and schema; what `outer` says of it overrides its schema."""
        own = schema if type(schema) is dict else {}
        schema = self._schemas.resolve(schema, pointer)
        schema = schema if type(schema) is dict else {}
        kind, detail = self._kind(schema, pointer)
        items = self._schemas.resolve(detail.get("items"), pointer) if kind == "array" else None
        items_kind, items_detail = self._kind(items, pointer) if type(items) is dict else ("", {})
        is_secret = bool(_SECRET.search(name)) or detail.get("format") == "password"
        values = detail.get("enum") or items_detail.get("enum")
        values = values if type(values) is list else [detail["const"]] if "const" in detail else []
        description = outer.get("description") or own.get("description") or schema.get("description")
        return Parameter(
            name=name,
            location=location,
            required=required,
            type=kind,
            format=label(detail.get("format") or items_detail.get("format"), 40),
            items=items_kind,
            enum=tuple(v for v in map(_value, values[:_ENUM_MAX]) if v is not None),
            default=None if is_secret else _value(own.get("default", detail.get("default"))),
            example=None if is_secret else _example(outer, own, detail),
            minimum=_number(detail.get("minimum"), detail.get("exclusiveMinimum")),
            maximum=_number(detail.get("maximum"), detail.get("exclusiveMaximum")),
            min_length=_length(detail.get("minLength")) or 0,
            max_length=_length(detail.get("maxLength")),
            pattern=harmless(detail.get("pattern") or items_detail.get("pattern")),
            description=self._text(description, 200),
            fields=_fields(detail, items_detail, location),
            is_key=(_key_name(name, location), location) in self._keys,
        )

    def _kind(self, schema: dict[str, Any], pointer: str) -> tuple[str, dict[str, Any]]:
        """JSON type of a schema and the (sub)schema that says most of it; `null` alternatives do not count."""
        for _ in range(8):
            kind = schema.get("type")
            if type(kind) is list:
                kind = next((k for k in kind if type(k) is str and k != "null"), None)
            if kind == "file":
                return "string", {**schema, "format": "binary"}
            if type(kind) is str and kind.lower() in _TYPES:
                return kind.lower(), schema
            if "properties" in schema or "additionalProperties" in schema:
                return "object", schema
            if "items" in schema:
                return "array", schema
            if type(schema.get("enum")) is list and all(type(v) is str for v in schema["enum"][:_ENUM_MAX]):
                return "string", schema
            parts: list[Any] = next((schema[k] for k in ("allOf", "oneOf", "anyOf") if type(schema.get(k)) is list), [])
            targets = [t for t in (self._schemas.resolve(p, pointer) for p in parts[:32]) if type(t) is dict]
            typed = [
                t for t in targets if t.get("type") != "null" and not t.keys() <= {"description", "title", "nullable"}
            ]
            if not typed:
                return "any", schema
            schema = {**typed[0], **{k: v for k, v in schema.items() if k not in ("allOf", "oneOf", "anyOf")}}
        return "any", schema

    def _request_body(self, node: Any, pointer: str) -> tuple[Parameter, ...]:
        node = self._schemas.resolve(node, pointer)
        if type(node) is not dict:
            if node is not None:
                self._warnings.add(pointer, "not an object")
            return ()
        return self._body(self._schemas.body(node.get("content"), pointer), node.get("required") is True, pointer)

    def _body(self, schema: Any, is_required: bool, pointer: str) -> tuple[Parameter, ...]:
        """The top-level properties of a body; one parameter `body` where it is no object."""
        schema = self._schemas.resolve(schema, pointer)
        if type(schema) is not dict:
            return ()
        known = self._bodies.get(id(schema))
        if known is None:
            properties, required = self._schemas.properties(schema, pointer)
            known = tuple(
                self._named(name, "body", value, name in required, f"{pointer}/{escape(name)}", {})
                for name, value in properties.items()
                if _is_name(name) and not (type(value) is dict and value.get("readOnly") is True)
            )
            known = self._bodies[id(schema)] = self._with_parts(known, properties, pointer)
        if (
            known
            or (schema.get("properties") is not None and not is_required)
            or schema.get("additionalProperties") is False
        ):
            return known
        return (self._named("body", "body", schema, is_required, pointer, {}),)

    def _with_parts(
        self, parameters: tuple[Parameter, ...], properties: dict[str, Any], pointer: str
    ) -> tuple[Parameter, ...]:
        """A body's parameters, its objects with their parts as deep as there is room, those of required ones first."""
        left, found = _BODY_PARTS_MAX, {}
        objects = [parameter for parameter in parameters if parameter.type == "object"]
        for parameter in sorted(objects, key=lambda p: not p.required):
            used = 0
            for levels in range(1, _PARTS_DEPTH + 1):
                parts, count = self._parts(properties[parameter.name], levels, pointer)
                if count > min(left, _PARTS_MAX):
                    break
                found[parameter.name], used = parts, count
            left -= used
        return tuple(
            msgspec.structs.replace(parameter, parts=found[parameter.name]) if found.get(parameter.name) else parameter
            for parameter in parameters
        )

    def _parts(self, schema: Any, levels: int, pointer: str) -> tuple[tuple[Parameter, ...], int]:
        """What an object of this schema is made of, so many levels deep, and how many parts these are.

        Left out is what nobody has to give and no single value fills: objects of any names, lists of objects.
        """
        node = self._object(schema, pointer)
        if node is None:
            return (), 0
        known = self._parts_of.get((id(node), levels))
        if known is not None:
            return known
        self._parts_of[id(node), levels] = (), 0  # what holds itself ends there
        parts: list[Parameter] = []
        count = 0
        for part, inner in self._properties(node, pointer):
            within: tuple[tuple[Parameter, ...], int] = (), 0
            if part.type == "object" and levels > 1:
                within = self._parts(inner, levels - 1, pointer)
            if part.required or within[0] or "object" not in (part.type, part.items):
                parts.append(msgspec.structs.replace(part, parts=within[0]) if within[0] else part)
                count += 1 + within[1]
        found = self._parts_of[id(node), levels] = tuple(parts), count
        return found

    def _properties(self, node: dict[str, Any], pointer: str) -> list[tuple[Parameter, Any]]:
        """The properties of an object, each with its schema, without parts; none of an object that has too many."""
        known = self._flat.get(id(node))
        if known is None:
            properties, required = self._schemas.properties(node, pointer)
            known = self._flat[id(node)] = [
                (self._named(name, "body", value, name in required, f"{pointer}/{escape(name)}", {}), value)
                for name, value in (properties.items() if len(properties) <= _PARTS_MAX else ())
                if _is_name(name) and not (type(value) is dict and value.get("readOnly") is True)
            ]
        return known

    def _object(self, schema: Any, pointer: str) -> dict[str, Any] | None:
        """The schema that has an object's properties: of alternatives the only one that is an object, else all."""
        for _ in range(8):
            schema = self._schemas.resolve(schema, pointer)
            if type(schema) is not dict or "properties" in schema or "allOf" in schema:
                break
            branches: list[Any] = next((schema[k] for k in ("oneOf", "anyOf") if type(schema.get(k)) is list), [])
            targets = [t for t in (self._schemas.resolve(b, pointer) for b in branches[:32]) if type(t) is dict]
            objects = [t for t in targets if t.get("type") == "object" or not _OBJECTS.isdisjoint(t)]
            if len(objects) != 1:
                return schema if objects else None
            schema = objects[0]
        return schema if type(schema) is dict else None


def _is_name(name: str) -> bool:
    return 0 < len(name) <= NAME_MAX and not INVISIBLE.search(name)


def _value(value: Any) -> Any:
    """A default, example or enum value that is small, JSON and holds no key or token; None otherwise."""
    pending, seen = [value], 0
    while pending:
        node = pending.pop()
        seen += 1
        if type(node) is dict:
            pending.extend(list(node)[:_VALUE_NODES])
            pending.extend(list(node.values())[:_VALUE_NODES])
        elif type(node) is list:
            pending.extend(node[:_VALUE_NODES])
        elif type(node) is str:
            if len(node) > 200 or without_credentials(node) != node:
                return None
        elif type(node) is int and not -(2**63) <= node < 2**63:
            return None
        if seen + len(pending) > _VALUE_NODES:
            return None
    return value


def _example(outer: dict[str, Any], own: dict[str, Any], schema: dict[str, Any]) -> Any:
    """The first example that anything gives: parameter, reference, schema."""
    for node in (outer, own, schema):
        for key in ("example", "x-example"):
            if node.get(key) is not None:
                return _value(node[key])
        several = node.get("examples")
        if type(several) is dict and several:
            several = [e.get("value") for e in list(several.values())[:4] if type(e) is dict]
        if type(several) is list and several:
            return _value(several[0])
    return None


def key_names(document: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """Names under which a document's security schemes want an API key, and where (OpenAPI 2 and 3)."""
    components = document.get("components")
    schemes = components.get("securitySchemes") if type(components) is dict else document.get("securityDefinitions")
    found = list(schemes.values())[:_SCHEMES_MAX] if type(schemes) is dict else []
    keys = ((s.get("name"), s.get("in")) for s in found if type(s) is dict and s.get("type") == "apiKey")
    return frozenset((_key_name(n, place), place) for n, place in keys if type(n) is str and type(place) is str)


def _key_name(name: str, location: str) -> str:
    return name.lower() if location == "header" else name  # RFC 9110, 5.1


def _fields(detail: dict[str, Any], items: dict[str, Any], location: str) -> tuple[str, ...]:
    """Names of the properties of an object, or of an array's objects, in a body."""
    properties = items.get("properties") or detail.get("properties")
    if location != "body" or type(properties) is not dict or len(properties) > _FIELDS_MAX:
        return ()
    return tuple(name for name in properties if _is_name(name))


def _length(bound: Any) -> int | None:
    return bound if type(bound) is int and 0 <= bound < 2**31 else None


def _number(bound: Any, exclusive: Any) -> float | None:
    for value in (bound, exclusive):
        if type(value) in (int, float) and -1e308 < value < 1e308 and math.isfinite(value):
            return float(value)
    return None
