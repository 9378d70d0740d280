"""Reading of specs: what is understood, and what becomes a warning."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest
import yaml

from pipeline.catalog.parse import parse_spec
from pipeline.settings import load
from pipeline.types import Catalog, Operation, Parameter

LIMITS = load().parse


def spec(paths: Any, **more: Any) -> dict[str, Any]:
    return {"openapi": "3.0.3", "info": {"title": "T", "version": "1"}, "paths": paths, **more}


def parse(document: Any) -> Catalog:
    return parse_spec(document if isinstance(document, bytes) else json.dumps(document).encode(), LIMITS)


def only(document: Any) -> Operation:
    (operation,) = parse(document).operations
    return operation


def parameters(operation: Operation) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in operation.parameters}


def get(**more: Any) -> dict[str, Any]:
    return {"get": {"responses": {"200": {"description": "ok"}}, **more}}


def answer(schema: Any) -> dict[str, Any]:
    return get(responses={"200": {"description": "", "content": {"application/json": {"schema": schema}}}})


def post(schema: Any, kind: str = "application/json", **more: Any) -> dict[str, Any]:
    return {"post": {"requestBody": {"content": {kind: {"schema": schema}}, **more}, "responses": {}}}


class TestWhole:
    def test_yaml_of_openapi_31_becomes_a_catalog(self, notes_spec):
        catalog = parse(notes_spec)
        assert [o.key for o in catalog.operations] == [
            "GET /notes",
            "POST /notes",
            "GET /notes/search",
            "GET /notes/{note_id}",
            "DELETE /notes/{note_id}",
        ]
        assert (catalog.title, catalog.version, catalog.base_paths) == ("Notes", "1", ("/api",))
        assert catalog.warnings == ()
        listed, made, found, read, deleted = catalog.operations
        assert listed.response_fields == ("id", "text", "folder")
        assert made.parameters[0] == Parameter("text", "body", required=True, type="string")
        assert found.parameters == (Parameter("q", "query", required=True, type="string"),)
        assert read.parameters == deleted.parameters == (Parameter("note_id", "path", required=True, type="string"),)
        assert (deleted.verb, deleted.destructive) == ("delete", "delete")

    @pytest.mark.parametrize(
        "response",
        [
            {"content": {"application/json": {"example": {"films": [{"id": 1, "title": "x"}]}}}},
            {"content": {"application/json": {"examples": {"one": {"value": {"films": [{"id": 1, "title": "x"}]}}}}}},
            {"content": {"application/json": {"examples": {"one": {"$ref": "#/components/examples/E"}}}}},
            {
                "content": {
                    "application/json": {"schema": {"type": "object", "example": {"films": [{"id": 1, "title": 2}]}}}
                }
            },
        ],
    )
    def test_an_example_tells_the_fields_where_no_schema_names_an_identifier(self, response):
        examples = {"E": {"value": {"films": [{"id": 1, "title": "x"}]}}}
        read = only(spec({"/films": get(responses={"200": response})}, components={"examples": examples}))
        assert read.response_fields == ("films", "films.id", "films.title")

    def test_an_example_of_version_2_tells_the_fields(self):
        response = {"examples": {"application/json": {"films": [{"id": 1, "title": "x"}]}}}
        read = only({"swagger": "2.0", "paths": {"/films": get(responses={"200": response})}})
        assert read.response_fields == ("films", "films.id", "films.title")

    def test_an_example_that_lies_elsewhere_tells_nothing(self):
        media = {"examples": {"one": {"summary": "One", "externalValue": "https://x.example/one.json"}}}
        read = only(spec({"/films": get(responses={"200": {"content": {"application/json": media}}})}))
        assert read.response_fields == ()

    def test_a_schema_that_names_an_identifier_needs_no_example(self):
        media = {"schema": {"properties": {"id": {}}}, "example": {"other": 1}}
        read = only(spec({"/films": get(responses={"200": {"content": {"application/json": media}}})}))
        assert read.response_fields == ("id",)

    def test_swagger_2_body_and_form_parameters_are_read(self, library_spec):
        catalog = parse(library_spec)
        assert catalog.base_paths == ("/v2",)
        _, add, lend = catalog.operations
        assert [(p.name, p.location, p.required) for p in add.parameters] == [
            ("id", "body", False),
            ("title", "body", True),
        ]
        assert add.response_fields == ("id", "title")
        assert [(p.name, p.location) for p in lend.parameters] == [("book_id", "path"), ("member", "body")]

    def test_json_and_yaml_of_the_same_document_agree(self, eval_folder):
        data = (eval_folder / "specs" / "tmdb.json").read_bytes()
        as_yaml = yaml.safe_dump(json.loads(data), sort_keys=False).encode()
        assert parse(as_yaml).operations == parse(data).operations

    def test_digest_is_the_sha256_of_the_bytes(self):
        data = b'{"openapi":"3.0.0","paths":{}}'
        assert parse(data).digest == f"sha256:{hashlib.sha256(data).hexdigest()}"

    @pytest.mark.parametrize(
        ("name", "count"), [("github.json", 1223), ("stripe.json", 468), ("tmdb.json", 54), ("tau2_retail.json", 16)]
    )
    def test_real_specs_parse_whole_and_without_warning(self, eval_folder, name, count):
        catalog = parse((eval_folder / "specs" / name).read_bytes())
        assert len(catalog.operations) == count
        assert catalog.warnings == ()
        for operation in catalog.operations:
            assert len(operation.response_fields) <= 64
            assert len(operation.description) <= 600
            assert all(len(p.description) <= 200 for p in operation.parameters)

    def test_packaged_example_parses_without_warning(self, billing_spec):
        catalog = parse(billing_spec)
        assert catalog.operations
        assert catalog.warnings == ()


class TestParameters:
    def test_operation_overrides_parameters_of_the_path(self):
        item = get(parameters=[{"name": "q", "in": "query", "schema": {"type": "integer"}}])
        item["parameters"] = [{"name": "q", "in": "query", "schema": {"type": "string"}}, {"name": "h", "in": "header"}]
        found = parameters(only(spec({"/a": item})))
        assert (found["q"].type, found["h"].location) == ("integer", "header")

    def test_path_parameters_follow_the_template(self):
        declared = [{"name": n, "in": "path", "schema": {"type": "string"}} for n in ("id", "ghost")]
        catalog = parse(spec({"/a/{id}/{other}": get(parameters=declared)}))
        assert set(parameters(catalog.operations[0])) == {"id", "other"}
        assert all(p.required for p in catalog.operations[0].parameters)
        assert len(catalog.warnings) == 2

    def test_placeholder_in_a_query_string_is_a_query_parameter(self):
        found = parameters(only(spec({"/search?q={q}": get(parameters=[{"name": "q", "in": "path"}])})))
        assert found["q"].location == "query"

    def test_schema_details_are_kept(self):
        schema = {"type": "integer", "format": "int32", "minimum": 1, "maximum": 100, "default": 30, "example": 7}
        described = {"name": "n", "in": "query", "schema": schema, "description": "How <b>many</b>\nof `them`"}
        (found,) = only(spec({"/a": get(parameters=[described])})).parameters
        assert found == Parameter(
            "n", "query", False, "integer", "int32", "", (), 30, 7, 1.0, 100.0, "How many of them"
        )

    @pytest.mark.parametrize(
        ("schema", "kind", "items"),
        [
            ({"type": ["null", "string"]}, "string", ""),
            ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, "integer", ""),
            ({"allOf": [{"$ref": "#/components/schemas/Name"}], "description": "x"}, "string", ""),
            ({"type": "array", "items": {"type": "integer"}}, "array", "integer"),
            ({"items": {"$ref": "#/components/schemas/Name"}}, "array", "string"),
            ({"properties": {"a": {}}}, "object", ""),
            ({"enum": ["a", "b"]}, "string", ""),
            ({}, "any", ""),
            (True, "any", ""),
            ({"type": "weird"}, "any", ""),
        ],
    )
    def test_type_is_found_through_nulls_unions_and_references(self, schema, kind, items):
        document = spec(
            {"/a": get(parameters=[{"name": "p", "in": "query", "schema": schema}])},
            components={"schemas": {"Name": {"type": "string"}}},
        )
        (found,) = only(document).parameters
        assert (found.type, found.items) == (kind, items)

    @pytest.mark.parametrize(
        "key",
        [
            "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
            "ghp_" + "a" * 36,
            "AKIA" + "IOSFODNN7EXAMPLE",
            "xoxb-" + "123456789012-abcdef",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
        ],
        ids=["stripe", "github", "aws", "slack", "jwt"],
    )
    def test_a_key_that_was_left_in_a_text_or_an_example_is_not_kept(self, key: str):
        about = f"Call it with {key} to try."
        value = {"name": "v", "in": "query", "description": about, "schema": {"type": "string", "example": key}}
        whole = spec({"/a": get(summary=about, description=about, parameters=[value], tags=["x"])})
        operation = only(whole)
        assert key not in str(msgspec.to_builtins(operation))
        assert operation.summary == "Call it with … to try."
        assert parameters(operation)["v"].example is None

    def test_secrets_keep_neither_default_nor_example(self):
        entries = [{"name": "api_key", "in": "header", "schema": {"type": "string", "default": "k"}, "example": "sk"}]
        (found,) = only(spec({"/a": get(parameters=entries)})).parameters
        assert (found.default, found.example) == (None, None)

    def test_parameter_by_content_has_its_schema(self):
        entry = {"name": "f", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}}
        assert only(spec({"/a": get(parameters=[entry])})).parameters[0].type == "object"

    @pytest.mark.parametrize(
        "entry",
        [None, 3, "x", [], {}, {"name": "a"}, {"name": "a", "in": "nowhere"}, {"name": "a", "in": ["query"]},
         {"name": "", "in": "query"}, {"name": ["a"], "in": "query"}, {"name": "a\u202eb", "in": "query"},
         {"$ref": "#/nowhere"}, {"$ref": "https://evil.example/p.json"}, {"name": "x" * 600, "in": "query"}],
    )  # fmt: skip
    def test_broken_parameter_is_left_out_with_a_warning_that_points_at_it(self, entry):
        catalog = parse(spec({"/a": get(parameters=[entry, {"name": "good", "in": "query"}])}))
        assert [p.name for p in catalog.operations[0].parameters] == ["good"]
        assert len(catalog.warnings) == 1
        assert catalog.warnings[0].startswith("#/paths/~1a/get/parameters/0: ")

    def test_duplicate_parameter_warns_and_the_last_counts(self):
        entries = [{"name": "a", "in": "query", "schema": {"type": t}} for t in ("string", "integer")]
        catalog = parse(spec({"/a": get(parameters=entries)}))
        assert [p.type for p in catalog.operations[0].parameters] == ["integer"]
        assert len(catalog.warnings) == 1


class TestBodies:
    def test_top_level_properties_become_parameters(self):
        schema = {
            "allOf": [{"required": ["a"], "properties": {"a": {"type": "string"}}}, {"properties": {"b": {}}}],
            "oneOf": [{"required": ["c"], "properties": {"c": {"type": "integer"}}}, {"properties": {"d": {}}}],
            "required": ["b"],
            "properties": {"id": {"type": "string", "readOnly": True}},
        }
        found = parameters(only(spec({"/a": post(schema)})))
        assert {name: p.required for name, p in found.items()} == {"a": True, "b": True, "c": False, "d": False}
        assert {p.location for p in found.values()} == {"body"}

    @pytest.mark.parametrize("key", ["oneOf", "anyOf"])
    def test_what_all_alternatives_require_is_required(self, key):
        base = {"required": ["owner"], "properties": {"owner": {"type": "string"}}}
        card = {"required": ["type", "number"], "properties": {"type": {"enum": ["card"]}, "number": {}}}
        bank = {"required": ["type", "iban"], "properties": {"type": {"const": "bank"}, "iban": {}}}
        schema = {
            key: [{"allOf": [{"$ref": "#/components/schemas/Base"}, card]}, {"$ref": "#/components/schemas/Bank"}]
        }
        schemas = {"Base": base, "Bank": {"allOf": [{"$ref": "#/components/schemas/Base"}, {key: [bank]}]}}
        found = parameters(only(spec({"/a": post(schema)}, components={"schemas": schemas})))
        required = {name for name, p in found.items() if p.required}
        assert (required, set(found)) == ({"owner", "type"}, {"owner", "type", "number", "iban"})
        assert found["type"].enum == ("card", "bank")

    def test_what_one_alternative_leaves_open_is_not_closed_by_another(self):
        closed = {"required": ["type"], "properties": {"type": {"type": "string", "enum": ["card"]}}}
        opened = {"required": ["type"], "properties": {"type": {"type": "string"}}}
        for branches in ([closed, opened], [opened, closed]):
            found = parameters(only(spec({"/a": post({"oneOf": branches})})))["type"]
            assert (found.required, found.enum) == (True, ())

    def test_alternatives_that_share_nothing_require_nothing(self):
        either = {"anyOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {}, "b": {}}}
        loop = {
            "Loop": {"oneOf": [{"$ref": "#/components/schemas/Loop"}, {"required": ["a"]}], "properties": {"a": {}}}
        }
        listed = {"oneOf": [{"required": ["a"], "properties": {"a": {}}}, {"type": "array", "items": {}}]}
        for schema in (either, listed, {"$ref": "#/components/schemas/Loop"}):
            found = parameters(only(spec({"/a": post(schema)}, components={"schemas": loop})))
            assert not any(p.required for name, p in found.items() if name != "body")

    def test_a_null_among_alternatives_requires_nothing_else(self):
        schema = {"oneOf": [{"type": "null"}, {"required": ["a"], "properties": {"a": {}}}]}
        assert parameters(only(spec({"/a": post(schema)})))["a"].required

    @pytest.mark.parametrize(
        "kind", ["application/x-www-form-urlencoded", "multipart/form-data", "application/hal+json", "*/*"]
    )
    def test_forms_and_other_media_are_read(self, kind):
        assert [p.name for p in only(spec({"/a": post({"properties": {"x": {}}}, kind)})).parameters] == ["x"]

    def test_json_is_preferred_to_other_media(self):
        item = post({"properties": {"form": {}}}, "multipart/form-data")
        item["post"]["requestBody"]["content"]["application/json"] = {"schema": {"properties": {"json": {}}}}
        assert [p.name for p in only(spec({"/a": item})).parameters] == ["json"]

    @pytest.mark.parametrize(
        ("schema", "kind"),
        [({"type": "array", "items": {}}, "array"), ({"type": "string"}, "string"), ({"type": "object"}, "object")],
    )
    def test_body_that_is_no_object_is_one_parameter(self, schema, kind):
        (found,) = only(spec({"/a": post(schema, required=True)})).parameters
        assert (found.name, found.location, found.required, found.type) == ("body", "body", True, kind)

    def test_objects_of_a_body_say_their_fields(self):
        item = {"type": "object", "properties": {"flight": {"type": "string"}, "date": {"type": "string"}}}
        wide = {"type": "object", "properties": {f"f{n}": {} for n in range(25)}}
        properties = {
            "flights": {"type": "array", "items": item},
            "first": item,
            "wide": wide,
            "seat": {"type": "string"},
        }
        read = parameters(only(spec({"/book": post({"type": "object", "properties": properties})})))
        assert {name: p.fields for name, p in read.items()} == {
            "flights": ("flight", "date"),
            "first": ("flight", "date"),
            "wide": (),
            "seat": (),
        }

    def test_objects_of_a_body_have_parts_as_deep_as_there_is_room(self):
        link = {
            "type": "object",
            "required": ["id"],
            "properties": {"type": {"enum": ["jobs"]}, "id": {"type": "string"}},
        }
        key = {"oneOf": [{"$ref": "#/components/schemas/Key"}, {"type": "string"}]}
        job = {
            "allOf": [{"properties": {"name": {"type": "string"}}, "required": ["name"]}],
            "properties": {
                "owner": {"type": "object", "properties": {"data": link}},
                "project": key,
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "steps": {"type": "array", "items": link},
                "created": {"type": "string", "readOnly": True},
            },
        }
        wide = {"type": "object", "properties": {f"f{n}": {} for n in range(60)}}
        deep = {"type": "object", "properties": {**{f"f{n}": {} for n in range(40)}, "x": link, "y": wide, "z": key}}
        for _ in range(9):
            deep = {"type": "object", "properties": {"in": deep}}
        body = {"type": "object", "properties": {"job": job, "wide": wide, "deep": deep, "seat": {"type": "string"}}}
        schemas = {"Key": {"properties": {"key": {}, "self": {"$ref": "#/components/schemas/Key"}}}}
        read = parameters(only(spec({"/book": post(body)}, components={"schemas": schemas})))

        def tree(parts):
            return {p.name + "!" * p.required: tree(p.parts) for p in parts}

        own = {"key": {}, "self": {"key": {}, "self": {"key": {}}}}
        assert tree(read["job"].parts) == {"name!": {}, "owner": {"data": {"type": {}, "id!": {}}}, "project": own}
        assert tree([read["wide"], read["seat"]]) == {"wide": {}, "seat": {}}
        assert tree(read["deep"].parts) == {}

    def test_a_body_has_only_so_many_parts_those_of_required_objects_first(self):
        some = {"type": "object", "properties": {f"f{n}": {} for n in range(40)}}
        body = {"type": "object", "required": ["o9"], "properties": {f"o{n}": some for n in range(10)}}
        read = parameters(only(spec({"/book": post(body)})))
        assert [name for name, p in read.items() if p.parts] == ["o0", "o1", "o9"]

    def test_empty_body_has_no_parameter(self):
        schema = {"type": "object", "properties": {}, "additionalProperties": False}
        assert only(spec({"/a": post(schema)})).parameters == ()


class TestResponses:
    def test_fields_are_dotted_with_arrays_transparent_to_three_levels(self):
        owner = {"properties": {"id": {"properties": {"too_deep": {}}}}}
        item = {"type": "object", "properties": {"id": {}, "owner": owner}}
        schema = {
            "type": "object",
            "properties": {"data": {"type": "array", "items": item}, "next": {"type": "string"}},
        }
        assert only(spec({"/a": answer(schema)})).response_fields == (
            "data", "next", "data.id", "data.owner", "data.owner.id",
        )  # fmt: skip

    def test_many_fields_keep_identifiers_first(self):
        schema = {"properties": {f"field{i}": {} for i in range(100)} | {"customer_id": {}}}
        fields = only(spec({"/a": answer(schema)})).response_fields
        assert len(fields) == 64
        assert "customer_id" in fields

    def test_success_is_the_first_2xx_then_the_default(self):
        def with_field(name):
            return {"description": "", "content": {"application/json": {"schema": {"properties": {name: {}}}}}}

        responses = {"default": with_field("d"), "404": with_field("e"), "202": with_field("b"), "200": with_field("a")}
        assert only(spec({"/a": get(responses=responses)})).response_fields == ("a",)
        assert only(spec({"/a": get(responses={"default": with_field("d")})})).response_fields == ("d",)

    def test_links_name_their_operation(self):
        links = {
            "one": {"operationId": "getUser", "parameters": {"id": "$response.body#/id"}},
            "two": {"operationRef": "#/paths/~1users~1{id}/get"},
            "far": {"operationRef": "https://x.example/#/paths/~1a/get"},
        }
        catalog = parse(spec({"/a": get(responses={"201": {"description": "", "links": links}})}))
        one, two = catalog.operations[0].links
        assert (one.operation, one.parameters) == ("getUser", {"id": "$response.body#/id"})
        assert two.operation == "GET /users/{id}"
        assert len(catalog.warnings) == 1


class TestPaths:
    def test_extensions_and_unknown_keys_are_no_operations(self):
        item = {**get(), "x-get": {}, "summary": "s", "servers": [], "query": {}, "trace": {}}
        assert [o.method for o in parse(spec({"/a": item, "x-paths": get()})).operations] == ["GET", "TRACE"]

    def test_openapi_32_has_query_and_additional_operations(self):
        item = {
            **get(),
            "query": {"operationId": "q"},
            "additionalOperations": {"COPY": {"operationId": "c"}, "a b": {}},
        }
        found = parse({**spec({"/a": item}), "openapi": "3.2.0"}).operations
        assert [o.method for o in found] == ["GET", "QUERY", "COPY"]
        assert found[1].verb == "read"

    def test_path_item_reference_is_followed(self):
        document = spec({"/a": {"$ref": "#/components/pathItems/P"}}, components={"pathItems": {"P": get()}})
        assert only(document).key == "GET /a"

    def test_upper_case_methods_are_read_once(self):
        catalog = parse(spec({"/a": {"GET": {"operationId": "x"}, "get": {"operationId": "y"}}}))
        assert [o.operation_id for o in catalog.operations] == ["x"]
        assert len(catalog.warnings) == 1

    def test_servers_give_base_paths_with_variables_at_their_defaults(self):
        servers = [
            {"url": "https://{region}.x.example/{version}/", "variables": {"version": {"default": "v3"}}},
            {"url": "/relative/"},
            {"url": "https://x.example"},
            {"url": "http://[broken"},
            {"url": 5},
            7,
        ]
        catalog = parse(spec({"/a": get()}, servers=servers))
        assert catalog.base_paths == ("/v3", "/relative")

    def test_identifiers_are_kept_as_written_and_descriptions_are_not(self):
        operation = only(spec({"/a": get(operationId="_get__thing_", summary="**Get** [it](http://x) <br/>now\u202e")}))
        assert operation.operation_id == "_get__thing_"
        assert operation.summary == "Get it now"

    def test_webhooks_alone_are_a_catalog_without_operations(self):
        assert parse({"openapi": "3.1.0", "webhooks": {"w": get()}}).operations == ()


class TestReferences:
    def test_loops_end(self):
        loop = {"properties": {"self": {"$ref": "#/components/schemas/Loop"}, "id": {}}}
        document = spec(
            {"/a": answer({"$ref": "#/components/schemas/Loop"}), "/b": {"$ref": "#/paths/~1b"}},
            components={
                "schemas": {
                    "Loop": loop,
                    "X": {"$ref": "#/components/schemas/Y"},
                    "Y": {"$ref": "#/components/schemas/X"},
                }
            },
        )
        document["paths"]["/a"]["post"] = post({"$ref": "#/components/schemas/X"})["post"]
        catalog = parse(document)
        assert catalog.operations[0].response_fields == (
            "self", "id", "self.self", "self.id", "self.self.self", "self.self.id",
        )  # fmt: skip
        assert any("back to itself" in warning for warning in catalog.warnings)

    def test_reference_through_itself_ends(self):
        document = spec({"/a": answer({"$ref": "#/components/x/y"})}, components={"x": {"$ref": "#/components/x/y"}})
        assert parse(document).operations[0].response_fields == ()

    @pytest.mark.parametrize(
        "reference",
        ["other.yaml#/X", "file:///etc/passwd", "http://169.254.169.254/", "#anchor", "#/no/where", "#/" + "a/" * 99],
    )
    def test_reference_that_leads_out_or_nowhere_is_a_warning(self, reference):
        catalog = parse(spec({"/a": answer({"$ref": reference})}))
        assert catalog.operations[0].response_fields == ()
        assert len(catalog.warnings) == 1

    def test_pointer_escapes_and_percent_encoding_are_decoded(self):
        document = spec({"/a": answer({"$ref": "#/components/schemas/A~1B%20C~0"})})
        document["components"] = {"schemas": {"A/B C~": {"properties": {"id": {}}}}}
        assert only(document).response_fields == ("id",)

    def test_exponential_inlining_costs_one_visit_each(self):
        schemas: dict[str, Any] = {
            f"S{i}": {"allOf": [{"$ref": f"#/components/schemas/S{i + 1}"}] * 2, "properties": {f"p{i}": {}}}
            for i in range(60)
        }
        schemas["S60"] = {"properties": {"end": {}}}
        operation = only(spec({"/a": post({"$ref": "#/components/schemas/S0"})}, components={"schemas": schemas}))
        assert len(operation.parameters) == 61

    def test_same_remote_reference_warns_once(self):
        paths = {f"/a{i}": answer({"$ref": "https://x.example/s.json"}) for i in range(5)}
        assert len(parse(spec(paths)).warnings) == 1


def test_a_parameter_that_a_security_scheme_names_is_a_key() -> None:
    scheme = {"key": {"type": "apiKey", "in": "query", "name": "appid"}, "broken": 1, "other": {"type": "http"}}
    declared = [{"name": "appid", "in": "query", "required": True}, {"name": "q", "in": "query"}]
    paths = {"/weather": get(parameters=declared)}
    for more in ({"components": {"securitySchemes": scheme}}, {"securityDefinitions": scheme}):
        assert {p.name: p.is_key for p in only(spec(paths, **more)).parameters} == {"appid": True, "q": False}
    headers = [{"name": "X-API-Key", "in": "header", "required": True}, {"name": "X-Tenant", "in": "header"}]
    scheme = {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}
    found = only(spec({"/weather": get(parameters=headers)}, components={"securitySchemes": scheme})).parameters
    assert {p.name: p.is_key for p in found} == {"X-API-Key": True, "X-Tenant": False}
    for more in ({}, {"components": {"securitySchemes": 1}}, {"components": 1}, {"securityDefinitions": {"key": []}}):
        assert not any(p.is_key for p in only(spec(paths, **more)).parameters)


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ({"type": "string", "format": "uuid", "pattern": "^[0-9a-f-]{36}$"}, "^[0-9a-f-]{36}$"),
        ({"type": "string", "pattern": "^[A-Z]{4}-[0-9]{4}$"}, "^[A-Z]{4}-[0-9]{4}$"),
        ({"type": "string", "pattern": r"^(?:prod|test)_\d+$"}, r"^(?:prod|test)_\d+$"),
        ({"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2}$"}}, "^[a-z]{2}$"),
        ({"type": "string", "pattern": "plain"}, "plain"),
        ({"type": "string", "pattern": "^(a+)+$"}, ""),
        ({"type": "string", "pattern": "^a*a*a*$"}, ""),
        ({"type": "string", "pattern": r"^(a|aa){9}$"}, ""),
        ({"type": "string", "pattern": "^(?=a)b$"}, ""),
        ({"type": "string", "pattern": "^[z-a]$"}, ""),
        ({"type": "string", "pattern": 7}, ""),
    ],
)
def test_a_pattern_is_kept_where_it_cannot_take_long(schema: dict[str, Any], pattern: str) -> None:
    (found,) = only(spec({"/a": get(parameters=[{"name": "p", "in": "query", "schema": schema}])})).parameters
    assert found.pattern == pattern


def test_a_text_is_bounded_by_its_length() -> None:
    schema = {"type": "string", "minLength": 2, "maxLength": 9, "minimum": 1}
    (found,) = only(spec({"/a": get(parameters=[{"name": "p", "in": "query", "schema": schema}])})).parameters
    assert (found.min_length, found.max_length, found.minimum) == (2, 9, 1.0)
    for nonsense in (-1, 2.5, "2", True, 10**30):
        schema = {"type": "string", "minLength": nonsense, "maxLength": nonsense}
        (found,) = only(spec({"/a": get(parameters=[{"name": "p", "in": "query", "schema": schema}])})).parameters
        assert (found.min_length, found.max_length) == (0, None)
