"""What a prompt calls things by: names beside nouns, pairs, what is a name everywhere, and what takes one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.keynames import called, is_pair, pairs, takes_name
from pipeline.types import Parameter


@pytest.mark.parametrize(
    ("prompt", "value", "noun"),
    [
        ("raise the quota of project web", "web", "project"),
        ("who is in the core team", "core", "team"),
        ("a page in the space called handbook", "handbook", "space"),
        ("restart billing-api's queue emails-dlq", "emails-dlq", "queue"),
        ("deploy it to staging", "staging", "environment"),
        ("protect main", "main", "branch"),
        ("show branch feature/login", "feature/login", "branch"),
        ("roll back to v2.3.1", "v2.3.1", "release"),
        ("add @lena-k to it", "lena-k", "member"),
        ("follow octocat", "octocat", "user"),
        ("issues of the ruby gem rackety", "rackety", "gem"),
    ],
)
def test_a_name_stands_beside_its_noun(prompt: str, value: str, noun: str) -> None:
    assert noun in {noun for said in called(prompt) if said.value == value for noun in said.nouns}


@pytest.mark.parametrize(
    ("prompt", "value", "is_shaped"),
    [("scale billing-api to 4", "billing-api", True), ("what is new in acme", "acme", False)],
)
def test_a_name_without_a_noun_may_be_anything_s(prompt: str, value: str, is_shaped: bool) -> None:
    assert [(c.nouns, c.is_shaped) for c in called(prompt) if c.value == value] == [((), is_shaped)]


@pytest.mark.parametrize(
    "prompt", ["list all the projects", "show me the latest", "create a new one for me please", "ask a.b@c.org", ""]
)
def test_function_words_are_no_names(prompt: str) -> None:
    assert called(prompt) == ()


def test_pairs_are_of_names_and_say_their_noun() -> None:
    assert [(p.owner, p.value, p.noun) for p in pairs("issues of acme/web and the repo x/y-z.")] == [
        ("acme", "web", ""),
        ("x", "y-z", "repo"),
    ]


@pytest.mark.parametrize(
    "text", ["and/or", "his/her", "approve/reject", "text/plain", "feature/login", "src/app.py", "Europe/Berlin"]
)
def test_alternatives_branches_folders_and_zones_are_no_pairs(text: str) -> None:
    assert not is_pair(text)
    assert pairs(f"see {text} now") == ()


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (Parameter("owner", "path", type="string"), True),
        (Parameter("project_slug", "path", type="string"), True),
        (Parameter("flagKey", "path", type="string"), True),
        (Parameter("cluster", "path", type="string", description="Name of the cluster."), True),
        (Parameter("cluster", "path", type="string", description="The cluster's UUID."), False),
        (Parameter("project", "path", type="integer"), False),
        (Parameter("project_id", "path", type="string"), False),
        (Parameter("project_id", "path", type="string", description="Id or name of the project."), True),
        (Parameter("charge", "path", type="string"), False),
        (Parameter("region", "path", type="string", enum=("eu", "us")), False),
        (Parameter("username", "path", type="string", format="uuid"), False),
    ],
)
def test_a_parameter_takes_a_name_where_it_says_so(parameter: Parameter, expected: bool) -> None:
    assert takes_name(parameter) is expected


@given(st.text(max_size=300))
def test_any_text_is_read_and_every_name_stands_in_it(prompt: str) -> None:
    assert all(said.value in prompt for said in called(prompt))
    assert all(pair.owner in prompt and pair.value in prompt for pair in pairs(prompt))
