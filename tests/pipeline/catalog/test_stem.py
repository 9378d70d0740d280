"""Splitting and stemming: forms of a word meet, different words do not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalog.stem import split_words, stem, stems


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("issueNumber", ["issue", "number"]),
        ("issue_number", ["issue", "number"]),
        ("getHTTPResponse", ["get", "http", "response"]),
        ("userIDs", ["user", "id"]),
        ("/v2/pet-store/{petId}", ["v", "pet", "store", "pet", "id"]),
        ("Müller größer", ["müller", "größer"]),
        ("", []),
    ],
)
def test_identifiers_and_prose_split_into_lower_case_words(name: str, words: list[str]) -> None:
    assert split_words(name) == words


@pytest.mark.parametrize(
    "forms",
    [
        ("repository", "repositories", "repo", "repos"),
        ("create", "created", "creating", "creation"),
        ("delete", "deletes", "deletion"),
        ("movie", "movies"),
        ("invite", "invitation"),
        ("status", "statuses"),
        ("address", "addresses"),
        ("organization", "organisation", "orgs"),
        ("person", "people"),
        ("shelf", "shelves"),
        ("alias", "aliases"),
        ("menu", "menus"),
    ],
)
def test_forms_of_a_word_have_one_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1


@pytest.mark.parametrize(("one", "other"), [("user", "use"), ("order", "border"), ("pull", "pulse"), ("tag", "tax")])
def test_different_words_have_different_stems(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_function_words_and_numbers_are_no_stems() -> None:
    assert stems("give me all of the 3 orders") == (stem("give"), stem("orders"))


@settings(deadline=None)
@given(st.text())
def test_any_text_has_stems(text: str) -> None:
    assert all(isinstance(s, str) and s for s in stems(text))
