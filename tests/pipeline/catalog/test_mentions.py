"""What a prompt identifies: values by their shape, attached to the entity whose word stands beside them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog.entities import Entities
from pipeline.catalog.mentions import mentions, ownership, told
from pipeline.types import Catalog, Operation, Parameter


def operation(method: str, path: str, *names: str) -> Operation:
    inside = tuple(Parameter(name=n, location="path", required=True, type="string") for n in names)
    return Operation(method=method, path=path, operation_id="", summary="", verb="read", parameters=inside)


@pytest.fixture(scope="module")
def entities() -> Entities:
    operations = (
        operation("GET", "/charges/{charge_id}", "charge_id"),
        operation("GET", "/customers/{customer_id}", "customer_id"),
        operation("GET", "/orders/{order_id}", "order_id"),
    )
    return Entities(Catalog(digest="sha256:0", title="", version="", operations=operations))


def known(entities: Entities, prompt: str) -> set[str]:
    state = told(prompt, entities).state
    return {" ".join(key) for key, number in entities.ids.items() if state[number] > 0}


def test_a_value_belongs_to_the_entity_named_beside_it(entities: Entities) -> None:
    assert known(entities, "refund charge ch_123 of customer 456") == {"charg", "custom"}
    assert known(entities, "where is order number 17?") == {"order"}


def test_a_bare_number_identifies_only_right_behind_the_entity(entities: Entities) -> None:
    assert known(entities, "2 adults for the order") == set()
    assert known(entities, "the customer wants 50 dollars back") == set()


def test_the_second_of_two_values_belongs_where_the_first_does(entities: Entities) -> None:
    told_ = told("compare orders A-17 and A-18", entities)
    assert told_.loose == 0.0
    assert told_.state.max() > 0.9


def test_a_value_without_such_a_word_is_loose(entities: Entities) -> None:
    assert told("what became of 17-10553-20871?", entities).loose == 1.0
    assert told("what became of it?", entities).loose == 0.0


def test_a_value_belongs_to_the_noun_before_a_label() -> None:
    operations = (
        operation("GET", "/clients/{client_ref}", "client_ref"),
        operation("GET", "/reservations/{locator}", "reservation_locator"),
        operation("GET", "/tokens/{token}", "token"),
        operation("GET", "/orders/{order_id}", "order_id"),
    )
    entities = Entities(Catalog(digest="sha256:0", operations=operations))
    for prompt, key in (
        ("You are client CL20455.", {"client"}),
        ("client reference CL20455", {"client"}),
        ("cancel reservation K7QX2M", {"reserv locat"}),
        ("delete the token tok_17", {"token"}),
        ("order number 17", {"order"}),
    ):
        assert known(entities, prompt) == key


def test_an_identifier_whose_prefix_is_short_for_an_entity_is_that_entitys() -> None:
    names = ("customer", "payment_method", "payment_intent", "subscription", "subscription_item", "label", "card")
    operations = (operation("GET", f"/{name}s/{{{name}_id}}", f"{name}_id") for name in names)
    entities = Entities(Catalog(digest="sha256:0", operations=tuple(operations)))
    for prompt, keys in (
        ("subscribe cus_9s6 to it", {"custom"}),
        ("detach pm_55", {"payment method"}),
        ("remove card pm_55", {"payment method"}),  # not what is said beside it
        ("pause sub_1", {"subscript"}),
        ("drop si_1", {"subscript item"}),
        ("print lbl_7", {"label"}),
        ("what is zz_9?", set()),
    ):
        assert known(entities, prompt) == keys
    assert told("detach pm_55", entities).loose == 0.0


@pytest.mark.parametrize("value", ["INV-2025-0042", "CLM-24-00913", "INV-2025-05-19", "2025-05-19-7", "K7QX2M"])
def test_an_identifier_is_read_whole(value: str) -> None:
    assert [m.value for m in mentions(f"pay {value}, on 2025-05-19.")] == [value]


def test_a_literal_of_an_enum_identifies_what_it_is_a_value_of() -> None:
    environment = Parameter("environment", "path", required=True, type="string", enum=("staging", "production", "eu"))
    freeze = Operation("PUT", "/environments/{environment}/freeze", verb="update", parameters=(environment,))
    entities = Entities(Catalog(digest="sha256:0", operations=(freeze,)))
    assert known(entities, "freeze Production until monday") == {"environ"}
    assert known(entities, "freeze the eu") == set()  # so short a word may mean anything
    assert known(entities, "freeze it") == set()


@pytest.mark.parametrize("text", ["on 2024-05-01 at 10:30", "for $12.50", "the 3rd time", "20 % off"])
def test_dates_times_and_amounts_identify_nothing(entities: Entities, text: str) -> None:
    assert told(f"cancel it {text}", entities).loose == 0.0


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    assert all(m.value for m in mentions(text) if m.shape != "quoted")


@pytest.fixture(scope="module")
def named() -> Entities:
    operations = (
        operation("GET", "/repos/{owner}/{repo}", "owner", "repo"),
        operation("GET", "/repos/{owner}/{repo}/issues", "owner", "repo"),
        operation("GET", "/repos/{owner}/{repo}/branches/{branch}", "owner", "repo", "branch"),
        operation("GET", "/charges/{charge}", "charge"),
    )
    return Entities(Catalog(digest="sha256:1", title="", version="", operations=operations))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("an issue in acme/web", {"owner", "repositori"}),
        ("the web repo of acme", {"owner", "repositori"}),
        ("delete branch wip-2 of acme/web", {"owner", "repositori", "branch"}),
        ("who owns repo web", {"repositori"}),
        ("repo issues", set()),
        ("approve and/or close it", set()),
        ("the charge rent", set()),
    ],
)
def test_what_goes_by_a_name_in_paths_is_told_by_its_name(named: Entities, prompt: str, expected: set[str]) -> None:
    assert known(named, prompt) == expected


def test_who_speaks_is_one_of_those_who_use_the_api(entities: Entities) -> None:
    assert known(entities, "You are mei_davis_8935. I'm in a hurry.") == {"custom"}
    assert known(entities, "I am mei_davis_8935") == {"custom"}
    assert known(entities, "They are mei_davis_8935") == set()


def test_a_prefix_tells_whose_an_identifier_is(entities: Entities) -> None:
    is_own = ownership(entities)
    assert is_own("ch_1a", "/charges/{charge_id}", "charge_id") is True
    assert is_own("ch_1a", "/orders/{order_id}", "order_id") is False
    assert is_own("zz_1a", "/orders/{order_id}", "order_id") is None
    assert is_own("ch_1a", "/charges", "limit") is None
