"""Matching of concrete calls, against starlette's router as the oracle."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import compile_path

from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import parse_spec
from pipeline.settings import load
from pipeline.types import Catalog, Operation


def catalog(*keys: str, bases: tuple[str, ...] = ()) -> Catalog:
    operations = []
    for key in keys:
        method, path = key.split(" ", 1)
        operations.append(Operation(method=method, path=path))
    return Catalog(digest="sha256:0", base_paths=bases, operations=tuple(operations))


def matched(of: Catalog, endpoint: str, **params: object) -> tuple[str, dict[str, str]] | None:
    method, path = endpoint.split(" ", 1)
    match = Matcher(of).match(method, path, params)
    return None if match is None else (of.operations[match.index].key, match.path_params)


PETS = catalog(
    "GET /pets",
    "POST /pets",
    "GET /pets/mine",
    "POST /pets/mine",
    "GET /pets/{id}",
    "DELETE /pets/{id}",
    "GET /pets/{id}/toys/{toy}",
    "GET /{kind}/all",
    "GET /reports/{name}.json",
    "GET /reports/{name}.{format}",
    "GET /spans/{from}:{to}",
    "GET /reports/latest.json",
)


@pytest.mark.parametrize(
    ("endpoint", "operation", "params"),
    [
        ("GET /pets", "GET /pets", {}),
        ("get /pets", "GET /pets", {}),
        ("GET /pets/mine", "GET /pets/mine", {}),
        ("GET /pets/7", "GET /pets/{id}", {"id": "7"}),
        ("DELETE /pets/mine", "DELETE /pets/{id}", {"id": "mine"}),
        ("GET /pets/all", "GET /pets/{id}", {"id": "all"}),
        ("GET /cats/all", "GET /{kind}/all", {"kind": "cats"}),
        ("GET /pets/a%2Fb%20c", "GET /pets/{id}", {"id": "a/b c"}),
        ("GET /p%65ts/7", "GET /pets/{id}", {"id": "7"}),
        ("GET /pets/caf%C3%A9", "GET /pets/{id}", {"id": "café"}),
        ("GET /pets/7/", "GET /pets/{id}", {"id": "7"}),
        ("GET //pets//7", "GET /pets/{id}", {"id": "7"}),
        ("GET pets/7", "GET /pets/{id}", {"id": "7"}),
        ("GET /pets/7?toys=/a/b", "GET /pets/{id}", {"id": "7"}),
        ("GET /pets/7#top", "GET /pets/{id}", {"id": "7"}),
        ("GET /pets/7/toys/ball", "GET /pets/{id}/toys/{toy}", {"id": "7", "toy": "ball"}),
        ("HEAD /pets/7", "GET /pets/{id}", {"id": "7"}),
        ("GET /reports/latest.json", "GET /reports/latest.json", {}),
        ("GET /reports/q1.json", "GET /reports/{name}.json", {"name": "q1"}),
        ("GET /reports/q1.v2.csv", "GET /reports/{name}.{format}", {"name": "q1.v2", "format": "csv"}),
        ("GET /spans/1:2", "GET /spans/{from}:{to}", {"from": "1", "to": "2"}),
        ("GET https://example.test/pets/7", "GET /pets/{id}", {"id": "7"}),
        ("GET https://example.test:8443/pets/7?x=1", "GET /pets/{id}", {"id": "7"}),
        ("GET /pets/{id}", "GET /pets/{id}", {}),
        ("GET /pets/{id}/", "GET /pets/{id}", {}),
        ("GET /pets/7/toys/{toy}", "GET /pets/{id}/toys/{toy}", {"id": "7"}),
    ],
)
def test_call_finds_its_operation_and_parameters(endpoint: str, operation: str, params: dict[str, str]) -> None:
    assert matched(PETS, endpoint) == (operation, params)


@pytest.mark.parametrize(
    "endpoint",
    [
        "PUT /pets",
        "HEAD /pets/7/bogus",
        "GET /",
        "GET ",
        "GET /pets/7/toys",
        "GET /pets/7/bogus/bogus",
        "GET /spans/1:",
        "GET /spans/:2",
        "GET /spans/12",
        "GET /reports/.json",
        "GET https://",
        "GET https://pets",
        "POST https://example.test/pets/7",
        "GET /pets/" + "x" * 10_000,
        "GET /pets/\ud800/\ud800",
    ],
)
def test_call_outside_the_spec_finds_nothing(endpoint: str) -> None:
    assert matched(PETS, endpoint) is None


def test_head_of_the_spec_beats_get() -> None:
    of = catalog("GET /files/{id}", "HEAD /files/{id}")
    assert matched(of, "HEAD /files/1") == ("HEAD /files/{id}", {"id": "1"})


def test_literal_branch_that_ends_nowhere_is_left_again() -> None:
    of = catalog("GET /a/b/c/d", "GET /a/{x}/c/{y}", "GET /{p}/b/{q}/e")
    assert matched(of, "GET /a/b/c/z") == ("GET /a/{x}/c/{y}", {"x": "b", "y": "z"})
    assert matched(of, "GET /a/b/c/e") == ("GET /a/{x}/c/{y}", {"x": "b", "y": "e"})
    assert matched(of, "GET /z/b/c/e") == ("GET /{p}/b/{q}/e", {"p": "z", "q": "c"})


def test_template_of_other_parameter_names_is_the_same_shape() -> None:
    of = catalog("GET /users/{username}", "DELETE /users/{user_id}")
    assert matched(of, "DELETE /users/7") == ("DELETE /users/{user_id}", {"user_id": "7"})


class TestBasePaths:
    of = catalog("GET /movie/{id}", "GET /{word}", "GET /{a}/{b}/{c}", bases=("/3", "/api/{version}"))

    @pytest.mark.parametrize(
        "endpoint",
        [
            "GET /movie/5",
            "GET /3/movie/5",
            "GET https://api.example.test/3/movie/5",
            "GET https://api.example.test/movie/5",
            "GET /api/v2/movie/5",
        ],
    )
    def test_prefix_may_be_there_or_not(self, endpoint: str) -> None:
        assert matched(self.of, endpoint) == ("GET /movie/{id}", {"id": "5"})

    def test_url_of_the_base_path_alone_is_no_operation(self) -> None:
        assert matched(catalog("GET /x", bases=("/3",)), "GET https://api.example.test/3") is None

    def test_base_path_alone_is_the_root_operation(self) -> None:
        assert matched(catalog("GET /", bases=("/3",)), "GET /3/") == ("GET /", {})

    def test_prefix_that_is_also_the_first_segment_of_a_template(self) -> None:
        of = catalog("GET /users/{id}", "GET /{x}", bases=("/users",))
        assert matched(of, "GET /users/5") == ("GET /users/{id}", {"id": "5"})
        assert matched(of, "GET https://h.test/users/users/5") == ("GET /users/{id}", {"id": "5"})


class TestSwallowing:
    repo = catalog(
        "GET /repos/{owner}/{repo}",
        "GET /repos/{owner}/{repo}/contents/{path}",
        "GET /repos/{owner}/{repo}/contents/{path}/history",
        "GET /repos/{owner}/{repo}/git/ref/{ref}",
        "GET /users/{username}",
        "GET /s3/{bucket}/{Key+}",
        "GET /raw/{rest:path}",
        "GET /wild/{+name}",
    )

    @pytest.mark.parametrize(
        ("endpoint", "operation", "params"),
        [
            (
                "GET /repos/o/r/contents/a/b/c.md",
                "GET /repos/{owner}/{repo}/contents/{path}",
                {"owner": "o", "repo": "r", "path": "a/b/c.md"},
            ),
            (
                "GET /repos/o/r/contents/a/b/history",
                "GET /repos/{owner}/{repo}/contents/{path}/history",
                {"owner": "o", "repo": "r", "path": "a/b"},
            ),
            (
                "GET /repos/o/r/git/ref/heads/main",
                "GET /repos/{owner}/{repo}/git/ref/{ref}",
                {"owner": "o", "repo": "r", "ref": "heads/main"},
            ),
            ("GET /s3/b/x/y", "GET /s3/{bucket}/{Key+}", {"bucket": "b", "Key": "x/y"}),
            ("GET /raw/x/y/z", "GET /raw/{rest:path}", {"rest": "x/y/z"}),
            ("GET /wild/x/y/z", "GET /wild/{+name}", {"name": "x/y/z"}),
        ],
    )
    def test_last_parameter_takes_several_segments(self, endpoint: str, operation: str, params: dict[str, str]) -> None:
        assert matched(self.repo, endpoint) == (operation, params)

    @pytest.mark.parametrize("endpoint", ["GET /users/x/bogus", "GET /repos/o/r/projects", "POST /raw/x/y"])
    def test_ordinary_parameter_takes_one(self, endpoint: str) -> None:
        assert matched(self.repo, endpoint) is None

    def test_resource_names_of_specs_with_custom_methods(self) -> None:
        of = catalog(
            "GET /v1/{name}",
            "POST /v1/{name}:cancel",
            "POST /v1/{resource}:setIamPolicy",
            "GET /v1/{parent}/apps",
            "GET /v1/items",
        )
        assert matched(of, "POST /v1/projects/p/operations/o:cancel") == (
            "POST /v1/{name}:cancel",
            {"name": "projects/p/operations/o"},
        )
        assert matched(of, "POST /v1/projects/p%3AsetIamPolicy") == (
            "POST /v1/{resource}:setIamPolicy",
            {"resource": "projects/p"},
        )
        assert matched(of, "GET /v1/projects/p/apps") == ("GET /v1/{parent}/apps", {"parent": "projects/p"})
        assert matched(of, "GET /v1/projects/p/apps/a") == ("GET /v1/{name}", {"name": "projects/p/apps/a"})
        assert matched(of, "GET /v1/items") == ("GET /v1/items", {})


class TestOperationsThatShareAPath:
    sns = catalog("POST /#Action=Publish", "POST /#Action=Subscribe")
    s3 = catalog("GET /{Bucket}", "GET /{Bucket}?acl", "GET /{Bucket}#versions&prefix")

    def test_query_of_the_path_decides(self) -> None:
        assert matched(self.sns, "POST /?Action=Subscribe") == ("POST /#Action=Subscribe", {})
        assert matched(self.s3, "GET /b?acl") == ("GET /{Bucket}?acl", {"Bucket": "b"})
        assert matched(self.s3, "GET /b?prefix=x&versions") == ("GET /{Bucket}#versions&prefix", {"Bucket": "b"})

    def test_parameters_of_the_call_decide(self) -> None:
        assert matched(self.sns, "POST /", Action="Publish") == ("POST /#Action=Publish", {})

    def test_nothing_decides(self) -> None:
        assert matched(self.sns, "POST /") is None
        assert matched(self.s3, "GET /b") == ("GET /{Bucket}", {"Bucket": "b"})

    def test_template_itself_is_recognised(self) -> None:
        assert matched(self.sns, "POST /#Action=Subscribe") == ("POST /#Action=Subscribe", {})

    def test_sole_operation_needs_no_query(self) -> None:
        of = catalog("GET /rides?page={page}")
        assert matched(of, "GET /rides") == ("GET /rides?page={page}", {})
        assert matched(of, "GET /rides?page=2") == ("GET /rides?page={page}", {})


@pytest.mark.parametrize("path", ["/a/{", "/a/}", "/a/{}", "/{a/b}", "/a{{b}}", "/{a}{b}", "", "/", "//", "?x", "/{a"])
def test_malformed_templates_are_survived(path: str) -> None:
    matcher = Matcher(catalog(f"GET {path}", bases=("/{", "//")))
    for concrete in ("/a/x", "/xy", "/", "/a/{", "/{a", path):
        matcher.match("GET", concrete)


def test_depth_of_a_template_is_no_recursion() -> None:
    of = catalog("GET /" + "/".join(["a"] * 4000), "GET " + "/{x}" * 4000)
    matcher = Matcher(of)
    assert matcher.match("GET", "/a" * 4000) is not None
    assert matcher.match("GET", "/a" * 3999) is None


def test_every_mixture_of_literal_and_parameter_is_bounded() -> None:
    """2^10 templates that all survive until their last segment: each node is seen once, not once per path to it."""
    keys = []
    for bits in range(2**10):
        keys.append("GET /" + "/".join("a" if bits >> i & 1 else f"{{p{i}}}" for i in range(10)) + "/end")
    matcher = Matcher(catalog(*keys))
    assert matcher.match("GET", "/a" * 10 + "/other") is None
    assert matcher.match("GET", "/a" * 10 + "/end") is not None


@pytest.mark.parametrize("name", ["github", "stripe", "tmdb", "tau2_retail"])
def test_every_operation_of_a_real_spec_matches_itself(name: str, eval_folder: Path) -> None:
    of = parse_spec((eval_folder / "specs" / f"{name}.json").read_bytes(), load("local").parse)
    matcher = Matcher(of)
    prefixes = ["", "https://api.example.test", *of.base_paths, *(f"https://h.test{base}" for base in of.base_paths)]
    for number, operation in enumerate(of.operations):
        values = {}

        def fill(found: re.Match[str], values: dict[str, str] = values, number: int = number) -> str:
            kinds = (f"{number}", f"id_{number}aB", "caf\u00e9 & co", "9f1c-44", "v1.2.3", "user@example.test")
            values[found[1]] = kinds[(number + len(values)) % len(kinds)]
            return quote(values[found[1]], safe="@")

        path = re.sub(r"\{([^{}]+)\}", fill, operation.path)
        for prefix in prefixes:
            match = matcher.match(operation.method, f"{prefix}{path}/?page=2")
            assert match is not None, (operation.key, path)
            same_shape = re.sub(r"\{[^{}]+\}", "{}", of.operations[match.index].path)
            assert same_shape == re.sub(r"\{[^{}]+\}", "{}", operation.path), path
            assert list(match.path_params.values()) == list(values.values())


WORDS = st.sampled_from(["a", "b", "users", "x.json", "me"])
SEGMENTS = st.one_of(
    WORDS, st.just("{p}"), st.just("{p}.json"), st.just("v{p}"), st.just("{p}:{q}"), st.just("x-{p}-{q}.z")
)
TEXTS = st.text(alphabet="abv:.-xjsonz", min_size=1, max_size=8)
CONCRETE = st.one_of(WORDS, TEXTS, st.sampled_from(["a.json", "v1", "a:b:c", "x-1-2.z", "x--a.z", "me:a"]))


def unique_names(segments: list[str]) -> str:
    """The template with a parameter of its own in each segment: starlette refuses a name used twice."""
    return "/" + "/".join(s.replace("{p}", f"{{p{i}}}").replace("{q}", f"{{q{i}}}") for i, s in enumerate(segments))


@settings(max_examples=400, deadline=None)
@given(
    templates=st.lists(st.lists(SEGMENTS, min_size=1, max_size=4), min_size=1, max_size=8),
    concrete=st.lists(CONCRETE, min_size=1, max_size=4),
)
def test_agrees_with_starlette(templates: list[list[str]], concrete: list[str]) -> None:
    paths = list(dict.fromkeys(map(unique_names, templates)))
    path = "/" + "/".join(concrete)
    expected = {}
    for template in paths:
        pattern = compile_path(template)[0]
        found = pattern.match(path)
        if found:
            expected[f"GET {template}"] = found.groupdict()
    answer = matched(catalog(*(f"GET {p}" for p in paths)), f"GET {path}")
    if not expected:
        assert answer is None
    else:
        assert answer is not None
        key, params = answer
        assert expected[key] == params
        assert key == f"GET {path}" or f"GET {path}" not in expected, "the literal template wins"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=10))
def test_no_text_breaks_it(template: str, path: str, base: str) -> None:
    of = Catalog(
        digest="sha256:0",
        base_paths=(base,),
        operations=(Operation(method="GET", path=template), Operation(method="GET", path=path)),
    )
    Matcher(of).match("GET", path)
    Matcher(of).match("GET", template)
    Matcher(of).match("GET", base + template, {"a": 1})
