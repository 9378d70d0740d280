"""Whatever bytes come, the parser answers with a catalog or a clear error; its child dies alone."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import signal
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.catalog.parse import ParseProcess, parse_spec
from pipeline.errors import SpecError, SpecInvalid, TooLarge, Unavailable
from pipeline.settings import load
from pipeline.types import Catalog

LIMITS = load().parse


def spec(paths: Any, **more: Any) -> dict[str, Any]:
    return {"openapi": "3.0.3", "info": {"title": "T", "version": "1"}, "paths": paths, **more}


def parse(document: Any) -> Catalog:
    return parse_spec(document if isinstance(document, bytes) else json.dumps(document).encode(), LIMITS)


def answer(schema: Any) -> dict[str, Any]:
    return {"get": {"responses": {"200": {"content": {"application/json": {"schema": schema}}}}}}


def post(schema: Any) -> dict[str, Any]:
    return {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}


# A spec that uses every corner, to be broken at every node
CORNERS: Any = yaml.safe_load("""
openapi: 3.0.3
info: {title: T, version: "1"}
servers: [{url: "https://x.example/base"}]
paths:
  /a/{id}:
    parameters: [{$ref: "#/components/parameters/Id"}]
    servers: [{url: "/{v}", variables: {v: {default: "1", enum: ["1"]}}}]
    post:
      operationId: doIt
      summary: Do it
      description: d
      tags: [t]
      deprecated: false
      parameters:
        - name: q
          in: query
          required: false
          description: x
          schema: {type: array, items: {enum: [a]}}
          example: [a]
          examples: {x: {value: 1}}
        - {name: c, in: query, content: {application/json: {schema: {type: object}}}}
      requestBody:
        required: true
        content:
          application/json:
            schema:
              allOf:
                - {$ref: "#/components/schemas/A"}
                - {oneOf: [{properties: {z: {const: 3}}}], required: [z]}
      responses:
        "200":
          description: ""
          content:
            application/json:
              schema: {type: array, items: {$ref: "#/components/schemas/A"}}
              examples: {x: {$ref: "#/components/examples/E"}}
          links: {l: {operationId: doIt, parameters: {id: "$response.body#/id"}}}
  /b: {$ref: "#/components/pathItems/B"}
components:
  examples:
    E: {value: [[{e: {f: [1]}}]]}
  parameters:
    Id: {name: id, in: path, required: true, schema: {type: string, minimum: 1}}
  schemas:
    A:
      type: object
      required: [n]
      properties:
        n: {type: [string, "null"], format: f, default: x, enum: [x]}
        a: {$ref: "#/components/schemas/A"}
  pathItems:
    B: {get: {responses: {default: {description: r}}}}
""")


def _places(node: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place, *(p for key, child in below for p in _places(child, (*place, key)))]


def _broken(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    document = copy.deepcopy(document)
    node = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return document


KEYS = ["$ref", "type", "items", "properties", "allOf", "enum", "in", "name", "schema", "get", "/x", "content", "url"]
WORDS = ["#/components/schemas/A", "#", "$ref", "object", "array", "http://[", "{", "2.0", "\u202e"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(WORDS)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), children, max_size=3)
    ),
    max_leaves=8,
)


class TestHostile:
    @pytest.mark.parametrize(
        "value", [None, True, 3, -1.5, "x", [], {}, [None], {"$ref": "#/a"}, {"$ref": 3}, {"": ""}, [[[]]]]
    )
    def test_any_node_may_have_any_type(self, value):
        for place in _places(CORNERS):
            try:
                parse(_broken(CORNERS, place, value))
            except SpecError:
                assert len(place) <= 1

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def test_random_nodes_give_a_catalog_or_a_clear_error(self, data):
        document: Any = CORNERS
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.sampled_from(_places(document)))
            document = _broken(document, place, data.draw(ANYTHING))
        with contextlib.suppress(SpecError, TooLarge):
            assert len(parse(document).warnings) <= 100

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_cut_and_garbled_documents_give_a_catalog_or_a_clear_error(self, data):
        text = bytearray(data.draw(st.sampled_from([json.dumps(CORNERS).encode(), yaml.safe_dump(CORNERS).encode()])))
        if data.draw(st.booleans()):
            text = text[: data.draw(st.integers(0, len(text)))]
        for _ in range(data.draw(st.integers(0, 3))):
            if text:
                text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(SpecError, TooLarge):
            assert isinstance(parse(bytes(text)), Catalog)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
    def test_arbitrary_bytes_give_a_clear_error_or_nothing_to_read(self, data):
        with contextlib.suppress(SpecError, TooLarge):
            assert parse(data).operations == ()  # `paths: {/}` is a document

    def test_huge_shared_defaults_are_looked_at_once_and_left_out(self):
        huge = {"type": "string", "default": ["x" * 50] * 20_000, "enum": [["y"] * 1000] * 300}
        properties = {f"p{i}": {"$ref": "#/components/schemas/H"} for i in range(500)}
        document = spec({"/a": post({"properties": properties})}, components={"schemas": {"H": huge}})
        (operation,) = parse(document).operations
        assert all(p.default is None and p.enum == () for p in operation.parameters)

    def test_deep_but_allowed_documents_are_read(self):
        schema: dict[str, Any] = {"type": "string"}
        for _ in range(25):
            schema = {"type": "array", "items": schema} if _ % 2 else {"properties": {"x": schema}}
        assert parse(spec({"/a": answer(schema)})).operations[0].response_fields == ("x", "x.x", "x.x.x")

    def test_many_unions_of_unions_are_bounded(self):
        names = [f"S{i}" for i in range(300)]
        everyone = [{"$ref": f"#/components/schemas/{name}"} for name in names]
        schemas = {name: {"oneOf": everyone, "properties": {name: {}}} for name in names}
        paths = {f"/p{i}": answer({"$ref": f"#/components/schemas/{name}"}) for i, name in enumerate(names)}
        assert len(parse(spec(paths, components={"schemas": schemas})).operations) == 300

    def test_references_cannot_multiply_parameters_without_end(self):
        item = {"get": {"parameters": [{"name": f"q{i}", "in": "query"} for i in range(200)]}}
        paths = {f"/p{i}": {"$ref": "#/components/pathItems/P"} for i in range(3000)}
        with pytest.raises(TooLarge, match="parameters"):
            parse(spec(paths, components={"pathItems": {"P": item}}))


TINY = json.dumps(spec({"/a": {"get": {}}})).encode()
SLOW = b"openapi: 3.0.0\npaths: {}\nx: [" + b"1," * 1_500_000 + b"1]"


@pytest.fixture
def process():
    process = ParseProcess(LIMITS)
    yield process
    process.close()


def pid_of(process: ParseProcess) -> int:
    assert process._child is not None
    return process._child.pid


class TestProcess:
    async def test_answers_as_the_function_does(self, process, notes_spec, library_spec):
        for data in (notes_spec, library_spec):
            assert await process.parse(data) == parse(data)
        for data in (b"", b"[" * 50_000, b"<html>", b'{"openapi": 3}'):
            with pytest.raises(SpecInvalid) as theirs:
                await process.parse(data)
            with pytest.raises(SpecInvalid) as ours:
                parse(data)
            assert theirs.value.args == ours.value.args

    async def test_too_large_stays_too_large(self):
        process = ParseProcess(LIMITS.model_copy(update={"operations_max": 1}))
        try:
            with pytest.raises(TooLarge):
                await process.parse(json.dumps(spec({"/a": {"get": {}, "put": {}}})).encode())
        finally:
            process.close()

    async def test_catalog_that_would_swamp_the_parent_is_too_large(self, process):
        enum = [f"{i:0200}" for i in range(250)]
        shared = {"name": "q", "in": "query", "schema": {"enum": enum}}
        paths = {f"/p{i}": {"get": {"parameters": [{"$ref": "#/components/parameters/Q"}]}} for i in range(2500)}
        with pytest.raises(TooLarge, match="catalog is larger"):
            await process.parse(json.dumps(spec(paths, components={"parameters": {"Q": shared}})).encode())

    async def test_child_is_kept_for_the_next_parse(self, process):
        await process.parse(TINY)
        first = pid_of(process)
        with pytest.raises(SpecInvalid):
            await process.parse(b"[]")
        await process.parse(TINY)
        assert pid_of(process) == first

    async def test_concurrent_parses_queue(self, process):
        documents = [json.dumps(spec({f"/p{i}": {"get": {}}})).encode() for i in range(12)]
        catalogs = await asyncio.gather(*(process.parse(data) for data in documents))
        assert [c.operations[0].path for c in catalogs] == [f"/p{i}" for i in range(12)]

    async def test_slow_document_is_refused_alone(self):
        process = ParseProcess(LIMITS.model_copy(update={"time_s": 0.3}))
        try:
            with pytest.raises(SpecInvalid, match=r"longer than 0\.3 s"):
                await process.parse(SLOW)
            assert await process.parse(TINY) == parse(TINY)
        finally:
            process.close()

    async def test_greedy_document_is_refused_alone(self):
        process = ParseProcess(LIMITS.model_copy(update={"memory_bytes": 160 << 20}))
        try:
            with pytest.raises(SpecInvalid, match=r"memory|crashed"):
                await process.parse(b'{"openapi": "3.0.0", "paths": {}, "x": [' + b"[]," * 6_000_000 + b"[]]}")
            assert await process.parse(TINY) == parse(TINY)
        finally:
            process.close()

    async def test_death_of_the_child_is_survived(self, process):
        await process.parse(TINY)
        first = pid_of(process)
        os.kill(first, signal.SIGKILL)
        assert await process.parse(TINY) == parse(TINY)
        assert pid_of(process) != first

    async def test_crash_is_tried_again_once_then_refuses_that_document(self, process):
        await process.parse(TINY)
        waiting = asyncio.create_task(process.parse(SLOW))
        crashed = 0
        for _ in range(2):
            await asyncio.sleep(0.3)
            crashed = pid_of(process)
            os.kill(crashed, signal.SIGSEGV)
            while process._child is not None and process._child.pid == crashed:
                await asyncio.sleep(0.005)
            while process._child is None and not waiting.done():
                await asyncio.sleep(0.005)
        with pytest.raises(SpecInvalid, match="crashed"):
            await waiting
        assert await process.parse(TINY) == parse(TINY)

    async def test_event_loop_goes_on_meanwhile(self, process):
        waiting = asyncio.create_task(process.parse(SLOW[:400_000] + b"1]"))
        turns = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            turns += 1
        await waiting
        assert turns > 5

    async def test_close_ends_the_child_and_refuses_more(self, process):
        await process.parse(TINY)
        child = pid_of(process)
        process.close()
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
        with pytest.raises(Unavailable):
            await process.parse(TINY)
        process.close()

    async def test_child_ends_with_its_input(self, process):
        await process.parse(TINY)
        child = process._child
        assert child is not None
        assert child.stdin is not None
        child.stdin.close()
        deadline = time.monotonic() + 10
        while child.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert child.poll() == 0
