"""A list of propositions becomes a catalog, or is refused with what to mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import settings
from pipeline.catalog.embed import operation_card
from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import ParseProcess, parse_spec
from pipeline.errors import SpecInvalid, TooLarge
from pipeline.types import Catalog

LIMITS = settings.load().parse


def read(value: Any) -> Catalog:
    return parse_spec(msgspec.json.encode(value), LIMITS)


def test_a_bare_list_and_a_titled_one_are_the_same_propositions() -> None:
    items = [
        {"id": "home", "title": "Home *insurance*", "description": "Fire and water.", "category": "insurance"},
        {"id": 7, "title": "Car loan"},
    ]
    bare, titled = read(items), read({"title": "Offers", "propositions": items})
    assert bare.operations == titled.operations
    assert (bare.title, titled.title) == ("", "Offers")
    home, car = bare.operations
    assert (home.operation_id, home.summary, home.tags) == ("home", "Home insurance", ("insurance",))
    assert (home.key, home.endpoint, car.endpoint) == ("SHOW /home", "home", "7")
    assert bare.holds_propositions
    assert operation_card(home) == "Home insurance. Fire and water. insurance"


def test_yaml_will_do() -> None:
    assert parse_spec(b"- {id: a, title: First}\n- {id: b, title: Second}\n", LIMITS).operations[1].summary == "Second"


def test_no_proposition_is_destructive_whatever_its_title_says() -> None:
    catalog = read([{"id": "bye", "title": "Cancel and delete your account", "description": "Refund everything."}])
    assert [(o.destructive, o.verb, o.parameters) for o in catalog.operations] == [("", "read", ())]


def test_ids_match_as_they_are_written() -> None:
    ids = ["a.b-c_d", "ä:1", "(x)", "42", "a+b", "~x"]
    matcher = Matcher(read([{"id": id_, "title": "T"} for id_ in ids]))
    found = [matcher.match("SHOW", f"/{id_}") for id_ in ids]
    assert [match and match.index for match in found] == list(range(len(ids)))
    assert matcher.match("SHOW", "/other") is None
    assert matcher.match("GET", "/42") is None


def test_fields_that_are_not_read_are_named_once() -> None:
    catalog = read([{"id": str(i), "title": "T", "price": 3} for i in range(5)])
    assert catalog.warnings == ("#/*/price: this field of a proposition is not read",)


OK = {"id": "a", "title": "T"}


@pytest.mark.parametrize(
    ("value", "where", "says"),
    [
        ([], "#", "at least one proposition"),
        ({"propositions": []}, "#/propositions", "at least one proposition"),
        ({"propositions": {"a": 1}}, "#/propositions", "must be a list"),
        ([OK, "x"], "#/1", "must be an object {id, title"),
        ([{"title": "T"}], "#/0", "`id` is missing"),
        ([{"id": True, "title": "T"}], "#/0", "text or a whole number"),
        ([{"id": "a b", "title": "T"}], "#/0", "without spaces"),
        ([{"id": "a/b", "title": "T"}], "#/0", "without any of"),
        ([{"id": "", "title": "T"}], "#/0", "1 to 128 characters"),
        ([{"id": "x" * 129, "title": "T"}], "#/0", "1 to 128 characters"),
        ([OK, OK], "#/1", "`id` 'a' is that of proposition 0 too"),
        ({"propositions": [OK, {"id": "b"}]}, "#/propositions/1", "`title` is missing"),
        ([{"id": "a", "title": " "}], "#/0", "not blank"),
        ([{"id": "a", "title": "T", "category": ["x"]}], "#/0", "`category` must be a text"),
        ([{"id": "a", "title": "T", "description": 5}], "#/0", "`description` must be a text"),
    ],
)
def test_a_malformed_list_is_refused_with_its_place(value: Any, where: str, says: str) -> None:
    with pytest.raises(SpecInvalid) as refused:
        read(value)
    assert refused.value.where == where
    assert says in refused.value.detail


def test_many_problems_are_told_together_and_not_without_end() -> None:
    with pytest.raises(SpecInvalid) as refused:
        read([{"id": f"p{i}"} for i in range(40)])
    assert "#/0: `title` is missing" in refused.value.detail
    assert "#/4: `title` is missing" in refused.value.detail
    assert refused.value.detail.endswith("and 35 more.")


def test_a_list_has_no_more_propositions_than_a_spec_operations() -> None:
    few = LIMITS.model_copy(update={"operations_max": 3})
    with pytest.raises(TooLarge, match="more than 3 propositions"):
        parse_spec(msgspec.json.encode([{"id": str(i), "title": "T"} for i in range(4)]), few)


def test_an_openapi_document_with_a_field_of_that_name_stays_one() -> None:
    document = {"openapi": "3.0.0", "propositions": 1, "paths": {"/a": {"get": {"responses": {}}}}}
    assert read(document).operations[0].key == "GET /a"


async def test_the_parsing_process_reads_them_too(examples_folder: Path) -> None:
    parser = ParseProcess(LIMITS)
    try:
        data = (examples_folder / "offers.json").read_bytes()
        catalog = await parser.parse(data)
        assert catalog == parse_spec(data, LIMITS)
        assert len(catalog.operations) == 26
        assert not catalog.warnings
    finally:
        parser.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "title", "x"]), inner),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=5))
def test_any_list_is_read_or_refused(value: list[Any]) -> None:
    try:
        catalog = read(value)
    except SpecInvalid:
        return
    assert len({o.key for o in catalog.operations}) == len(value)
