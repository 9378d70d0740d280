"""Names taken apart: the same entity in every convention."""

from __future__ import annotations

import pytest

from pipeline.candidates import names


@pytest.mark.parametrize(
    ("raw", "resource", "entity", "kind"),
    [
        ("order_id", "", "order", "id"),
        ("orderId", "", "order", "id"),
        ("id", "order", "order", "id"),
        ("OrderIDs", "", "order", "id"),
        ("issue_number", "issue", "issue", "number"),
        ("username", "", "user", "name"),
        ("commit_sha", "", "commit", "sha"),
        ("charge", "charge", "charge", ""),
        ("firstname", "contact", "first", "name"),
        ("postalcode", "", "postal", "code"),
        ("phonenumber", "", "phone", "number"),
        ("hostname", "", "hostname", ""),
        ("update", "", "update", ""),
    ],
)
def test_name_says_its_entity_and_kind(raw: str, resource: str, entity: str, kind: str) -> None:
    name = names.name(raw, resource)
    assert (name.entity, name.kind) == (entity, kind)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("issues", "issue"),
        ("companies", "company"),
        ("addresses", "address"),
        ("status", "status"),
        ("boxes", "box"),
        ("bus", "bus"),
    ],
)
def test_singular(word: str, expected: str) -> None:
    assert names.singular(word) == expected


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        ("pulls", "pull"),
        ("get_order_details", "order"),
        ("find_user_id_by_email", "user"),
        ("check-runs", "checkrun"),
        ("list", "list"),
    ],
)
def test_resource_of_a_segment(segment: str, expected: str) -> None:
    assert names.resource_of(segment) == expected


def test_template_knows_what_comes_before_each_parameter() -> None:
    template = names.template("/repos/{owner}/{repo}/issues/{issue_number}/labels")
    assert template.names == ("owner", "repo", "issue_number")
    assert template.prefixes == (("/repos/{}/{}/issues/{}", 3), ("/repos/{}/{}", 2), ("/repos/{}", 1))
    assert template.resources == {"owner": "", "repo": "repo", "issue_number": "issue"}
    assert template.pair == ("owner", "repo")
    assert template.last == "label"


def test_path_of_no_operation_still_shows_its_ids() -> None:
    assert names.guess_path_values("/v9/repositories/1234/topics") == (("repository", "1234"),)


def test_an_internal_id_is_another_key_than_the_id() -> None:
    iid = names.name("iid", "issue")
    assert (iid.kind, iid.entity, iid.is_generic) == ("number", "issue", True)
    assert names.name("issue_iid", "issue").kind == "number"


def test_what_takes_an_id_or_a_key_is_the_thing() -> None:
    for raw in ("issueIdOrKey", "issue_id_or_slug", "idOrKey"):
        taken = names.name(raw, "issue")
        assert (taken.full, taken.entity, taken.kind) == ("issue", "issue", "")
    assert names.name("true_or_key", "issue").kind == "key"
