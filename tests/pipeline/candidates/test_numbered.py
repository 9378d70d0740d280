"""Keys of numbered things: who takes WEB-15, and that its project's key is WEB."""

from __future__ import annotations

import pytest

from pipeline.candidates import numbered
from pipeline.types import Call, Operation, Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation, query

ISSUE = operation("GET", "/issue/{issueIdOrKey}")
COMMENT = operation("POST", "/issue/{issueIdOrKey}/comment", body("body"))
TICKET = operation("GET", "/tickets/{ticket_key}")
IN_PROJECT = operation("GET", "/projects/{project_key}/issues/{issue_key}")
PROJECT = operation("GET", "/projects/{project_key}")
USER = operation("GET", "/users/{user_id}")
SESSIONS = (
    (),
    ((USER, Call("GET", "/users/u1")),),
    ((ISSUE, Call("GET", "/issue/OPS-3")), (USER, Call("GET", "/users/u1"))),
)


@pytest.mark.parametrize("made", SESSIONS)
@pytest.mark.parametrize(
    ("prompt", "target", "expected"),
    [
        ("open WEB-15", ISSUE, {"issueIdOrKey": "WEB-15"}),
        ("comment on WEB-15", COMMENT, {"issueIdOrKey": "WEB-15"}),
        ("please reopen WEB-15", ISSUE, {"issueIdOrKey": "WEB-15"}),
        ("what is the status of WEB-15", ISSUE, {"issueIdOrKey": "WEB-15"}),
        ("ticket WEB-15", ISSUE, {"issueIdOrKey": "WEB-15"}),
        ("open WEB-15", TICKET, {"ticket_key": "WEB-15"}),
        ("open WEB-15", operation("GET", "/issues/{key}"), {"key": "WEB-15"}),
        ("open WEB-15", IN_PROJECT, {"issue_key": "WEB-15"}),
        (
            "open WEB-15",
            operation("GET", "/issue/{issueIdOrKey}/properties/{propertyKey}"),
            {"issueIdOrKey": "WEB-15"},
        ),
        ("open WEB-15", operation("GET", "/suites/{suiteKey}/cases/{caseKey}"), {}),
        ("open WEB-15", PROJECT, {}),
        ("open WEB-15", operation("GET", "/projects/{key}"), {}),
        ("open WEB-15", operation("GET", "/project/{projectIdOrKey}"), {}),
        ("show the project of WEB-15", PROJECT, {"project_key": "WEB"}),
        ("show the project of the issue WEB-15", PROJECT, {"project_key": "WEB"}),
        ("show WEB-15's project", PROJECT, {"project_key": "WEB"}),
        ("open project WEB", PROJECT, {"project_key": "WEB"}),
    ],
)
def test_a_key_is_taken_by_what_is_numbered_by_it(
    made: tuple[tuple[Operation, Call], ...], prompt: str, target: Operation, expected: dict[str, str]
) -> None:
    binding = after(*made, prompt=prompt).bind(target)
    assert binding.params == expected
    assert set(binding.missing) == {p.name for p in target.parameters} - set(expected)


def test_a_key_of_the_session_gives_way_to_the_one_that_the_prompt_says() -> None:
    made = [(ISSUE, Call("GET", "/issue/OPS-3"))]
    delete = Operation("DELETE", ISSUE.path, parameters=ISSUE.parameters, destructive="delete")
    assert after(*made, prompt="delete WEB-15").bind(delete).params == {"issueIdOrKey": "WEB-15"}
    assert after(*made, prompt="delete it").bind(delete).params == {"issueIdOrKey": "OPS-3"}


def test_another_projects_key_is_not_put_beside_that_of_an_issue() -> None:
    made = [(IN_PROJECT, Call("GET", "/projects/OPS/issues/OPS-3"))]
    binding = after(*made, prompt="open WEB-15").bind(IN_PROJECT)
    assert (binding.params, binding.missing) == ({"issue_key": "WEB-15"}, ("project_key",))
    binding = after(*made, prompt="open OPS-15").bind(IN_PROJECT)
    assert binding.params == {"project_key": "OPS", "issue_key": "OPS-15"}


@pytest.mark.parametrize("prompt", ["cancel order AB-12", "refund my order AB-12", "move WEB-1 to WEB-2"])
def test_a_key_of_another_noun_or_one_of_two_is_no_issue(prompt: str) -> None:
    made = [(USER, Call("GET", "/users/u1"))]
    assert after(*made, prompt=prompt).bind(ISSUE).missing == ("issueIdOrKey",)


def test_of_listed_keys_the_next_one_is_taken() -> None:
    made = [(ISSUE, Call("GET", "/issue/WEB-1"))]
    assert after(*made, prompt="open WEB-1 and WEB-2").bind(ISSUE).params == {"issueIdOrKey": "WEB-2"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/issue/{issueIdOrKey}", "issueIdOrKey"),
        ("/issues/{issue_id}", ""),
        ("/projects/{projectKey}", ""),
        ("/projects/{projectKey}/issues/{issueKey}", "issueKey"),
        ("/suites/{suiteKey}/cases/{caseKey}", ""),
    ],
)
def test_one_parameter_of_a_path_takes_a_key(path: str, expected: str) -> None:
    assert numbered.taker(path) == expected


def test_a_project_gets_no_letters_that_its_key_cannot_be() -> None:
    key = Parameter("project_key", "path", required=True, type="string", pattern="^[a-z]+$")
    target = Operation("GET", PROJECT.path, parameters=(key,))
    assert after(prompt="show the project of WEB-15").bind(target).missing == ("project_key",)


def test_a_query_parameter_takes_no_key_by_its_name_alone() -> None:
    made = [(USER, Call("GET", "/users/u1"))]
    assert after(*made, prompt="open WEB-15").bind(operation("GET", "/search", query("cache_key"))).params == {}
