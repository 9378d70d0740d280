"""Branches that a prompt names, and whose they are."""

from __future__ import annotations

import pytest

from pipeline.types import Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation, query
from tests.pipeline.candidates.test_wish import bound

REF = body("ref", description="Branch name or commit SHA")
SIDE = "The commit SHA or branch name"


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("merge fix-login into main", body("target_branch"), "main"),
        ("a request from fix-login into main", body("source_branch"), "fix-login"),
        ("cherry-pick it onto release-2.1", body("branch"), "release-2.1"),
        ("revert it on main, please", body("branch"), "main"),
        ("run it on branch develop of project 278", REF, "develop"),
        ("the client of main street", body("ref", description="The client's reference"), None),
        ("from develop to main", query("to", description=SIDE), "main"),
        ("from Berlin to main station", query("to", description="Where to"), None),
        ("on the main street", body("street"), None),
        ("on main or on develop", body("branch"), None),
        ("the main thing on it", body("branch"), None),
    ],
)
def test_a_branch_goes_to_its_side(prompt: str, parameter: Parameter, expected: str | None) -> None:
    assert bound(prompt, parameter, method="POST") == expected


def test_a_branch_that_is_made_is_not_what_it_is_made_from() -> None:
    make = operation("POST", "/branches", body("branch"), REF)
    made = after(prompt="create a branch named feature/login from develop").bind(make)
    assert made.params == {"branch": "feature/login", "ref": "develop"}
