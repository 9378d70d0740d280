"""Flags and texts that a prompt words: what is wanted or not, what a thing is to be called."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.types import Operation, Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation, query


def flag(name: str, required: bool = False) -> Operation:
    return operation("POST", "/notes", body(name, "boolean", required=required))


@pytest.mark.parametrize(
    ("prompt", "name", "expected"),
    [
        ("make it private", "public", False),
        ("a public list", "public", True),
        ("not a public list", "public", False),
        ("public or private?", "public", None),
        ('a list called "Public places"', "public", None),
        ("collaborative and not public", "collaborative", True),
        ("unpin it and archive it", "pinned", False),
        ("unpin it and archive it", "archived", True),
        ("pin it", "pinned", True),
        ("make it a favorite", "is_favorite", True),
        ("Don't restock", "restock", False),
        ("notify the customer", "notify_customer", True),
        ("payment is still pending", "payment_pending", True),
        ("pending, and no payment", "payment_pending", None),
        ("turn shuffle off", "state", False),
        ("turn on shuffle", "enabled", True),
        ("please disable it", "enabled", False),
        ("on the way", "enabled", None),
        ("with and without a waiver", "waiver", None),
        ("note it", "noted", True),
        ("the note of today", "note", None),  # the operation is called so
        ("the test of the text", "text", None),
        ("all of them", "all", None),
    ],
)
@pytest.mark.parametrize("required", [False, True])
def test_a_flag_is_what_the_prompt_says_of_it(prompt: str, name: str, expected: bool | None, required: bool) -> None:
    assert after(prompt=prompt).bind(flag(name, required)).params.get(name) is expected


TASK = operation(
    "PATCH",
    "/tasks",
    body("name", required=False),
    body("description", required=False),
    body("body", required=False),
    body("owner_id", required=False),
)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a task called Garden", {"name": "Garden"}),
        ("rename the task Home to Household", {"name": "Household"}),
        ('rename "A b" to "C d"', {"name": "C d"}),
        (
            'the task "Rain" with the description "slow songs"',
            {"name": "Rain", "description": "slow songs"},
        ),
        ("change the description of the task to 'All of 2025'", {"description": "All of 2025"}),
        ("titled 'Ideas', saying 'rent bikes'", {"name": "Ideas", "body": "rent bikes"}),
        ("a task called Road trip with all of it", {"name": "Road trip"}),
        ("the name Garden", {"name": "Garden"}),
        ("first name Hana", {}),
        ("move Home to Berlin", {}),
        ("the task Home", {}),
    ],
)
def test_a_text_is_what_the_prompt_says_a_thing_is_called(prompt: str, expected: dict[str, Any]) -> None:
    assert after(prompt=prompt).bind(TASK).params == expected


def test_a_text_that_a_thing_needs_stands_beside_its_noun() -> None:
    comment = operation("POST", "/comments", body("content"))
    prompt = "close 'Call the dentist' and add a comment \"done on the phone\""
    assert after(prompt=prompt).bind(comment).params == {"content": "done on the phone"}
    assert after(prompt="rename the comment 'a' to 'b'").bind(comment).params == {}


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ('with the key "AWS_REGION"', body("key"), "AWS_REGION"),
        ('the discount code "SUMMER20"', body("code"), "SUMMER20"),
        ('"SUMMER20" for the rest', body("code"), None),
        ('a comment saying "Help"', body("subject"), None),
        ('the subject "Help"', body("body"), None),
        ('write "Help"', body("subject"), "Help"),
    ],
)
def test_a_quote_is_of_the_noun_before_it(prompt: str, parameter: Parameter, expected: str | None) -> None:
    assert after(prompt=prompt).bind(operation("POST", "/things", parameter)).params.get(parameter.name) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ('send "see you" to bob@y.io', {"to": "bob@y.io", "body": "see you"}),
        ('email bob@y.io titled "Lunch"', {"to": "bob@y.io", "subject": "Lunch"}),
        ('email bob@y.io, subject "Lunch"', {"to": "bob@y.io", "subject": "Lunch"}),
    ],
)
def test_a_quote_is_one_text_and_not_what_a_preposition_behind_it_says(prompt: str, expected: dict[str, str]) -> None:
    fields = body("to", format="email"), body("subject"), body("body")
    assert after(prompt=prompt).bind(operation("POST", "/messages", *fields)).params == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ('named "Summer" with subject "Hot deals"', {"name": "Summer", "subject": "Hot deals"}),
        ('with the subject "Hot deals", named "Summer"', {"name": "Summer", "subject": "Hot deals"}),
    ],
)
def test_a_quote_behind_its_own_word_is_not_what_another_is_called(prompt: str, expected: dict[str, str]) -> None:
    campaign = operation("POST", "/campaigns", body("subject"), body("name"))
    assert after(prompt=prompt).bind(campaign).params == expected


def test_what_a_thing_is_renamed_to_is_no_place() -> None:
    move = operation("POST", "/events/{event_id}/move", body("destination"))
    assert "destination" not in after(prompt='move it to room 5 and rename it to "Daily sync"').bind(move).params


@pytest.mark.parametrize("name", ["text", "message", "body"])
@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ('post "v2 is live" in #deploys', "v2 is live"),
        ('comment "Nice work" on it', "Nice work"),
        ('delete "Nice work"', None),
        ('post "one" and "two"', None),
    ],
)
def test_what_a_verb_of_saying_quotes_is_the_optional_text(prompt: str, expected: str | None, name: str) -> None:
    message = operation("POST", "/messages", body(name, required=False))
    assert after(prompt=prompt).bind(message).params.get(name) == expected


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("with size s-2vcpu-2gb and image debian-12-x64", {"size": "s-2vcpu-2gb", "image": "debian-12-x64"}),
        ("the image is debian-12-x64", {"image": "debian-12-x64"}),
        ("of s-2vcpu-2gb", {}),
        ("size large", {}),
    ],
)
def test_a_word_with_a_digit_is_of_the_noun_before_it(prompt: str, expected: dict[str, str], required: bool) -> None:
    create = operation("POST", "/droplets", body("size", required=required), body("image", required=required))
    assert after(prompt=prompt).bind(create).params == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hotels in Vienna", "Vienna"),
        ("a cardiologist near Hamburg", "Hamburg"),
        ("hotels in Germany", None),
        ("hotels in English", None),
        ("hotels in May", None),
        ("trains from Vienna", None),
        ("in Vienna or in Graz", None),
    ],
)
def test_a_city_is_looked_in_where_the_prompt_says(prompt: str, expected: str | None) -> None:
    search = operation("GET", "/hotels", query("city", required=False))
    assert after(prompt=prompt).bind(search).params.get("city") == expected
    move = operation("PATCH", "/me", body("city", required=False))
    assert "city" not in after(prompt=prompt).bind(move).params
