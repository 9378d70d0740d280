"""Names of a prompt meet the arguments that take names."""

from __future__ import annotations

import pytest

from pipeline.candidates.arguments import Session
from pipeline.types import Call, Operation
from tests.pipeline.candidates.test_arguments import OPEN_ISSUE, REPO, after, operation

PIPELINE = operation("POST", "/orgs/{org}/pipelines/{pipeline}/builds")
ENVIRONMENT = operation("POST", "/apps/{app_name}/environments/{environment}/restart")
TEAM = operation("PUT", "/orgs/{org}/teams/{team_slug}/members/{username}")
USER = operation("GET", "/users/{username}")
ITEM = operation("POST", "/items/{itemKey}/transition")
MERGE = operation("PUT", "/accounts/{account_id}/merges/{merge_id}")
PULL = operation("PUT", "/repos/{owner}/{repo}/pulls/{pull_number}/merge")


@pytest.mark.parametrize(
    ("prompt", "asked", "expected"),
    [
        ("an issue in acme/web", REPO, {"owner": "acme", "repo": "web"}),
        ("the web repo of acme", REPO, {"owner": "acme", "repo": "web"}),
        ("build pipeline acme/deploy", PIPELINE, {"org": "acme", "pipeline": "deploy"}),
        ("restart billing-api on staging", ENVIRONMENT, {"app_name": "billing-api", "environment": "staging"}),
        ("add @lena to team core of acme", TEAM, {"org": "acme", "team_slug": "core", "username": "lena"}),
        ("merge PR 44 in acme/web", PULL, {"owner": "acme", "repo": "web", "pull_number": "44"}),
        ("invite joost to mika/notes", REPO, {"owner": "mika", "repo": "notes"}),
        ("follow octo-lena", USER, {"username": "octo-lena"}),
        ("what is new in berlin", USER, {}),
        ("approve/reject it", REPO, {}),
        ("push branch spike/ice", REPO, {}),
        ("start a build of parcel-api", REPO, {}),
        ("invite selma@acme.example", USER, {}),
        ("check deploy.yml on beta.acme.example", ITEM, {}),
        ("the merge of issue 44 in acme/web", MERGE, {}),
        ("move OPS-12 to review", ITEM, {"itemKey": "OPS-12"}),
    ],
)
def test_names_go_to_what_takes_them(prompt: str, asked: Operation, expected: dict[str, str]) -> None:
    bound = after(prompt=prompt).bind(asked)
    assert {name: str(value) for name, value in bound.params.items()} == expected


def test_a_word_that_the_api_knows_is_no_name() -> None:
    prompt = "organization: team members"
    assert Session([], [], [], prompt).bind(TEAM).params == {}
    assert Session([], [], [], "team alerts", knows=lambda word: word == "alerts").bind(TEAM).params == {}
    assert Session([], [], [], "team alerts").bind(TEAM).params == {"team_slug": "alerts"}


def test_the_prompt_s_pair_goes_before_the_last_call_s() -> None:
    call = Call("GET", "/repos/acme/web", params={})
    assert after((REPO, call), prompt="now an issue in acme/api").bind(OPEN_ISSUE).params["repo"] == "api"
    assert after((REPO, call), prompt="now an issue").bind(OPEN_ISSUE).params["repo"] == "web"


@pytest.mark.parametrize("prompt", ["domain availability please", "which domain exists", "the domain wasn't renewed"])
def test_what_is_said_of_a_thing_is_not_its_name(prompt: str) -> None:
    domain = operation("GET", "/domains/{domain}")
    assert Session([], [], [], prompt).bind(domain).params == {}
