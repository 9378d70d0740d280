"""What is no spec is refused with a sentence; YAML is read as JSON would have it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalog.document import load as load_document
from pipeline.catalog.parse import parse_spec
from pipeline.errors import SpecInvalid, TooLarge
from pipeline.settings import load
from pipeline.types import Catalog, Operation

LIMITS = load().parse


def parse(data: bytes) -> Catalog:
    return parse_spec(data, LIMITS)


def only(data: bytes) -> Operation:
    (operation,) = parse(data).operations
    return operation


def spec(paths: Any) -> bytes:
    return json.dumps({"openapi": "3.0.3", "paths": paths}).encode()


def test_a_key_that_stands_twice_is_told_with_its_place():
    yaml = "openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n  /b:\n    get: {}\n    get: {}\n  /a:\n    put: {}\n"
    told = parse(yaml.encode())
    assert {o.key for o in told.operations} == {"PUT /a", "GET /b"}
    assert told.warnings == (
        "#: line 7: key 'get' stands twice; the last one counts",
        "#: line 8: key '/a' stands twice; the last one counts",
    )
    merged = "openapi: 3.0.0\nx-base: &base {get: {}}\npaths:\n  /a:\n    <<: *base\n    get: {}\n"
    assert parse(merged.encode()).warnings == ()


@pytest.mark.parametrize("colon", [":", ": ", " : "])
def test_a_key_that_stands_twice_in_json_is_told_too(colon: str):
    told = parse(
        '{"openapi"="3.0.0", "paths"={"/a~\\""={"get"={"summary"="x\\"= y"}, "get"={}}, "/b"={"get"={}},'
        ' "/b"={"put"={}}}}'.replace("=", colon).encode()
    )
    assert len(told.operations) == 2
    assert told.warnings == (
        "#: key '/b' stands twice in #/paths; the last one counts",
        "#: key 'get' stands twice in #/paths/~1a~0\"; the last one counts",
    )
    nested = b'{"openapi":"3.0.0","x":' + b"[" * 1000 + b"]" * 1000 + b',"x":1,"paths":{"/a":{"get":{}}}}'
    (warning,) = parse(nested).warnings  # in what the second one replaces
    assert "stands twice" in warning
    assert parse(b'{"openapi":"3.0.0","paths":{"/a":{"get":{"summary":"\\":\\\\"}}}}').warnings == ()


REFUSED = [
    (b"", "empty"),
    (b"  \n", "empty"),
    (b"# only a comment\n", "empty"),
    (b"[]", "a list"),
    (b"- a\n- b\n", "a list"),
    (b"Not Found", "a text"),
    (b"3", "single value"),
    (b"<!doctype html><html></html>", "web page"),
    (b'{"openapi": "3.0.0", "paths": {', "cut off"),
    (b'{"a": NaN}', "JSON"),
    (b"openapi: 3.0.0\npaths: {}\nx: .nan", "no JSON number"),
    (b'{"a": "\\ud800"}', "JSON"),
    (b'openapi: "\\ud800"', "YAML"),
    (b'{"a": "\xff"}', "UTF-8"),
    (b"\xff\xfe\x00", "UTF-16"),
    (b"\x1f\x8b\x08\x00", "gzip"),
    (b"PK\x03\x04\x00\x00", "binary"),
    (b"a: b: c", "YAML"),
    (b"a: *nobody", "anchor"),
    (b"---\na: 1\n---\nb: 2\n", "several documents"),
    (b'{"message": "Not Found"}', "no `paths`"),
    (b'{"openapi": "3.1.0", "components": {}}', "components only"),
    (b'{"info": {}, "item": []}', "Postman"),
    (b'{"asyncapi": "3.0.0"}', "AsyncAPI"),
    (b'{"swaggerVersion": "1.2", "apis": []}', "Swagger 1"),
    (b'{"openapi": "3.0.0", "paths": []}', "`paths` is not an object"),
    (b'{"paths": {"@/*": ["./*"]}}', "no path"),
    (b"[" * 50_000, "nested deeper"),
    (b'{"a":' * 50_000, "nested deeper"),
    (b'{"openapi": "3.0.0", "paths": {}, "x": ' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper"),
    (b"a: " + b"[" * 50_000, "nested deeper"),
    (b"a:\n" + b"".join(b" " * i + b"- \n" for i in range(1, 200)), "nested deeper"),
    (b"a: &a [1]\n" + b"".join(b"k%d: *a\n" % i for i in range(1001)), "aliases"),
]


class TestRefusals:
    @pytest.mark.parametrize(("data", "says"), REFUSED, ids=[f"{i}-{says}" for i, (_, says) in enumerate(REFUSED)])
    def test_what_is_no_spec_is_refused_with_a_sentence(self, data, says):
        with pytest.raises(SpecInvalid, match=says) as error:
            parse(data)
        assert error.value.detail.endswith(".")

    def test_error_says_where(self):
        with pytest.raises(SpecInvalid) as error:
            parse(b'{"openapi":\n "3.0.0",\n oops}')
        assert error.value.where == "line 3, column 2"

    def test_billion_laughs_costs_nothing(self):
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 60)]
        catalog = parse(
            "\n".join([*lines, "openapi: 3.0.0", "paths: {/a: {get: {tags: *a59, parameters: *a59}}}"]).encode()
        )
        assert len(catalog.operations) == 1

    def test_laughs_of_mappings_stay_within_the_budgets(self):
        lines = ["s0: &s0 {type: object, properties: {id: {type: string}}}"]
        for i in range(1, 40):
            fields = ", ".join(f"f{j}: *s{i - 1}" for j in range(9))
            lines.append(
                f"s{i}: &s{i} {{type: object, properties: {{{fields}}}, example: *s{i - 1}, default: *s{i - 1}}}"
            )
        lines += ["content: &c {a/json: {schema: *s39}}", "openapi: 3.0.0", "paths:", "  /a:", "    post:"]
        lines += ["      requestBody: {content: *c}", "      responses: {200: {content: *c}}"]
        operation = only("\n".join(lines).encode())
        assert len(operation.parameters) == 9
        assert len(operation.response_fields) == 64

    def test_merge_keys_are_merged_within_a_budget(self):
        data = b"d: &d {summary: s, deprecated: true}\nopenapi: 3.0.0\npaths: {/a: {get: {<<: *d, deprecated: false}}}"
        assert (only(data).summary, only(data).deprecated) == ("s", False)
        bomb = ["a: &a {" + ", ".join(f"k{i}: 1" for i in range(2000)) + "}"]
        bomb += [f"b{i}: {{<<: [*a, *a]}}" for i in range(100)]
        with pytest.raises(SpecInvalid, match="merge keys"):
            parse("\n".join(bomb).encode())

    def test_cyclic_aliases_are_read(self):
        data = b"openapi: 3.0.0\npaths: &p\n  /a: {get: &g {parameters: &l [*l, *g, *p], summary: *p, tags: *l}}\n"
        assert len(parse(data).operations) == 1

    def test_yaml_keys_and_scalars_are_what_is_written(self):
        data = b"""openapi: 3.1
info: {version: 2020-01-01, title: yes}
paths:
  /a:
    get:
      responses:
        200: {description: x}
        ? [a]
        : 1
      on: 1
      deprecated: true
"""
        catalog = parse(data)
        assert (catalog.title, catalog.version, catalog.operations[0].deprecated) == ("yes", "2020-01-01", True)
        assert catalog.warnings == ("#: line 8: a key that is no text is left out",)

    def test_too_many_operations_are_too_large(self):
        limits = LIMITS.model_copy(update={"operations_max": 20_000})
        paths = {f"/p{i}": {"get": {}, "post": {}} for i in range(10_000)}
        assert len(parse_spec(spec(paths), limits).operations) == 20_000
        paths["/one/more"] = {"get": {}}
        with pytest.raises(TooLarge, match="20000 operations"):
            parse_spec(spec(paths), limits)

    def test_too_many_yaml_events_are_too_large(self):
        with pytest.raises(TooLarge):
            parse_spec(b"a: [1, 2, 3]", LIMITS.model_copy(update={"yaml_events_max": 5}))

    def test_warnings_are_at_most_a_hundred(self):
        warnings = parse(spec({f"/p{i}": 3 for i in range(500)})).warnings
        assert len(warnings) == 100
        assert warnings[-1] == "#: 401 more"


PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PRINTABLE,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(PRINTABLE, children, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(PRINTABLE, JSON, max_size=4))
def test_json_read_as_yaml_is_the_same_document(document):
    text = json.dumps(document, ensure_ascii=False).encode()
    assert load_document(b"--- " + text, LIMITS, []) == load_document(text, LIMITS, [])
