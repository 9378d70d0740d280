"""What is of the form that a schema asks for, and that nothing else is filled in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.candidates.formats import takes
from pipeline.types import Call, Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation, query

UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
OTHER = "9b2504e0-4f89-41d3-9a0c-0305e82c3302"


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("uuid", UUID, "4711"),
        ("UUID", UUID.upper(), f"{UUID}0"),
        ("date", "2026-05-03", "2026-02-30"),
        ("date", "2026-05-03", "2026-05-03T10:00:00Z"),
        ("date-time", "2026-05-03T10:00:00.5+02:00", "2026-05-03"),
        ("date-time", "2026-05-03T10:00:00", "yesterday"),
        ("email", "ann@x.org", "ann"),
        ("uri", "https://x.org/hook", "x.org"),
        ("ipv4", "10.0.0.7", "10.0.0.700"),
        ("ipv6", "fe80::1", "10.0.0.7"),
    ],
)
def test_a_text_is_held_against_the_format(form: str, good: str, bad: str) -> None:
    parameter = query("it", format=form)
    assert takes(good, parameter)
    assert not takes(bad, parameter)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"), [("^[A-Z]{4}-[0-9]{4}$", "WXYZ-2024", "99812"), (r"\d{3}", "a123", "a12")]
)
def test_a_text_is_held_against_the_pattern_beside_the_format(pattern: str, good: str, bad: str) -> None:
    assert takes(good, query("it", pattern=pattern))
    assert not takes(bad, query("it", pattern=pattern))
    assert not takes(good, query("it", pattern=pattern, format="uuid"))


def test_a_text_is_as_long_as_its_bounds_allow_and_an_unknown_format_takes_any() -> None:
    bounded = query("it", min_length=2, max_length=3)
    assert [text for text in ("a", "ab", "abc", "abcd") if takes(text, bounded)] == ["ab", "abc"]
    assert takes("anything", query("it", format="snowflake"))
    assert takes("a", Parameter("it", "query", type="any", min_length=5))


@pytest.mark.parametrize(
    ("prompt", "parameter", "value"),
    [
        ("show customer 4711", query("customer_id", format="uuid"), None),
        (f"show customer {UUID}", query("customer_id", format="uuid"), UUID),
        (f"show customer 4711, customer {UUID}", query("customer_id", format="uuid"), UUID),
        ("show voucher 99812", query("voucher_code", pattern="^[A-Z]{4}-[0-9]{4}$"), None),
        ("show voucher WXYZ-2024", query("voucher_code", pattern="^[A-Z]{4}-[0-9]{4}$"), "WXYZ-2024"),
        ("show account 4711", query("account_id", min_length=8, max_length=12), None),
        ("show account 47110815", query("account_id", min_length=8, max_length=12), "47110815"),
        ("show host db-01", query("host", format="ipv4"), None),
        ("write to Ann", body("email", format="email"), None),
    ],
)
def test_a_prompt_gives_only_what_the_schema_takes(prompt: str, parameter: Parameter, value: Any) -> None:
    method = "POST" if parameter.location == "body" else "GET"
    binding = after(prompt=prompt).bind(operation(method, "/things", parameter))
    assert binding.params.get(parameter.name) == value
    assert binding.missing == (() if value else (parameter.name,))


def test_a_session_gives_only_what_the_schema_takes() -> None:
    orders, customer = operation("GET", "/orders", query("customer_id")), query("customer_id", format="uuid")
    bound = operation("POST", "/tickets", body("customer_id", format="uuid"))
    told = (orders, Call("GET", "/orders", {"customer_id": UUID}))
    assert after(told, (orders, Call("GET", "/orders", {"customer_id": "4711"}))).bind(bound).params == {
        "customer_id": UUID
    }
    only = after((orders, Call("GET", "/orders", {"customer_id": "4711"}))).bind(operation("GET", "/carts", customer))
    assert (only.params, only.missing) == ({}, ("customer_id",))


def test_who_the_prompt_names_in_another_form_is_not_who_the_session_knows() -> None:
    read = operation("GET", "/customers/{customer_id}")
    bound = operation("GET", "/customers/{customer_id}/cards", query("page", "integer", required=False))
    customer = Parameter("customer_id", "path", required=True, type="string", format="uuid")
    bound = msgspec.structs.replace(bound, parameters=(customer,))
    session = after((read, Call("GET", f"/customers/{OTHER}")), prompt="show the cards of customer 4711")
    assert session.bind(bound).missing == ("customer_id",)
