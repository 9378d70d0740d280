"""What the alternatives of a request body require, each by itself."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pipeline.types import Alternative
from tests.pipeline.catalog.test_parse import only, parse, post, spec

CARD = {"required": ["type", "number"], "properties": {"type": {"const": "card"}, "number": {}, "note": {}}}
BANK = {"required": ["type", "iban"], "properties": {"type": {"enum": ["bank"]}, "iban": {}, "note": {}}}
GROUP = (
    Alternative(names=("number",), required=("type", "number"), literals=(("type", "card"),)),
    Alternative(names=("iban",), required=("type", "iban"), literals=(("type", "bank"),)),
)


def choices(schema: Any, **schemas: Any) -> tuple[tuple[Alternative, ...], ...]:
    return only(spec({"/a": post(schema)}, components={"schemas": schemas})).choices


def objects(*names: str) -> dict[str, Any]:
    return {"type": "object", "required": list(names), "properties": {name: {} for name in names}}


@pytest.mark.parametrize("key", ["oneOf", "anyOf"])
def test_each_alternative_has_its_names_what_it_requires_and_its_literals(key: str) -> None:
    assert choices({key: [CARD, BANK]}) == (GROUP,)
    assert choices({"allOf": [{key: [{"type": "null"}, CARD, BANK]}, objects("owner")]}) == (GROUP,)


def test_what_is_required_of_properties_beside_the_alternatives_is_theirs() -> None:
    schema = {"properties": {"a": {}, "b": {}, "c": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}]}
    ((first, second),) = choices(schema)
    assert (first.names, set(second.names), set(second.required)) == (("a",), {"b", "c"}, {"b", "c"})


@pytest.mark.parametrize(
    ("mapping", "values"),
    [
        ({}, ["Cat", "Dog"]),
        ({"mapping": {"meow": "#/components/schemas/Cat", "woof": "Dog"}}, ["meow", "woof"]),
        ({"mapping": {"meow": "#/components/schemas/Cat"}}, ["meow", "Dog"]),
        ({"mapping": [1]}, ["Cat", "Dog"]),
    ],
)
def test_a_discriminator_tells_the_alternatives(mapping: dict[str, Any], values: list[str]) -> None:
    pets = {"Cat": objects("kind", "lives"), "Dog": objects("kind", "bark")}
    either = [{"$ref": f"#/components/schemas/{name}"} for name in pets]
    (group,) = choices({"oneOf": either, "discriminator": {"propertyName": "kind", **mapping}}, **pets)
    assert [dict(one.literals) for one in group] == [{"kind": value} for value in values]


def test_alternatives_of_objects_within_have_dotted_names() -> None:
    inner = {"type": "object", "properties": {"pay": {"oneOf": [CARD, BANK]}}}
    ((first, _),) = choices({"type": "object", "properties": {"data": inner}})
    assert first.names == ("data.pay.number",)
    assert first.required == ("data.pay.type", "data.pay.number")
    assert first.literals == (("data.pay.type", "card"),)


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [CARD]},
        {"oneOf": [CARD, {"type": "null"}]},
        {"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"oneOf": [objects(f"a{n}") for n in range(9)]},
        {"oneOf": [objects(*(f"a{n}" for n in range(60))), CARD]},
        {"oneOf": "x", "anyOf": [], "allOf": [3, None]},
        {"oneOf": [3, None, {"$ref": "#/nowhere"}]},
        {"type": "array", "items": {"oneOf": [CARD, BANK]}},
        {"type": "string"},
    ],
)
def test_one_alternative_many_large_or_broken_ones_are_no_choice(schema: Any) -> None:
    assert choices(schema) == ()


def test_what_only_answers_have_is_not_required() -> None:
    given = {"required": ["id", "a"], "properties": {"id": {"readOnly": True}, "a": {}}}
    ((first, _),) = choices({"oneOf": [given, objects("b")]})
    assert first == Alternative(names=("a",), required=("a",))


def test_a_hostile_document_of_alternatives_costs_little() -> None:
    names = [f"S{n}" for n in range(100)]
    some = [[{"$ref": f"#/components/schemas/{names[(n + k) % 100]}"} for k in range(8)] for n in range(100)]
    schemas = {
        name: {"oneOf": some[n], "required": ["x" * 400 + name], "properties": {name: {"oneOf": some[n]}}}
        for n, name in enumerate(names)
    }
    paths = {f"/p{n}": post({"$ref": f"#/components/schemas/{names[n % 100]}"}) for n in range(900)}
    start = time.perf_counter()
    operations = parse(spec(paths, components={"schemas": schemas})).operations
    assert time.perf_counter() - start < 20
    texts = [text for o in operations for group in o.choices for one in group for text in (*one.names, *one.required)]
    assert sum(map(len, texts)) <= 2_000_000
