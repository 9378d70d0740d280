"""What a call lacks of the alternative of a body that its arguments pick."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.candidates.choices import lacking
from pipeline.candidates.standing import standing
from pipeline.types import Alternative, Operation, Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation

CARD = Alternative(names=("number", "cvc"), required=("type", "number"), literals=(("type", "card"),))
BANK = Alternative(names=("iban",), required=("type", "iban"), literals=(("type", "bank"),))
PAY = operation(
    "POST",
    "/payments",
    body("type", enum=("card", "bank")),
    body("number", required=False),
    body("cvc", required=False),
    body("iban", required=False),
    body("note", required=False),
)
EITHER = msgspec.structs.replace(PAY, choices=((CARD, BANK),))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"type": "card"}, ["number"]),
        ({"type": "bank"}, ["iban"]),
        ({"type": "card", "number": "4"}, []),
        ({"type": "card", "iban": "DE1"}, ["number"]),
        ({"cvc": "123"}, ["type", "number"]),
        ({"iban": "DE1"}, ["type"]),
        ({"cvc": "123", "iban": "DE1"}, []),
        ({"note": "x"}, []),
        ({"type": "cash"}, []),
        ({}, []),
    ],
)
def test_a_literal_or_what_only_one_has_picks_an_alternative(params: dict[str, Any], expected: list[str]) -> None:
    assert lacking(EITHER, params) == expected


def test_what_is_no_parameter_and_a_credential_are_not_lacking() -> None:
    odd = Alternative(names=("iban",), required=("iban", "nowhere", "api_key"))
    target = operation("POST", "/payments", *PAY.parameters, body("api_key", required=False, is_key=True))
    assert lacking(msgspec.structs.replace(target, choices=((CARD, odd),)), {"iban": "DE1"}) == []


def test_names_in_objects_are_looked_up_where_they_are() -> None:
    group = tuple(
        Alternative(
            names=tuple(f"pay.{name}" for name in one.names),
            required=tuple(f"pay.{name}" for name in one.required),
            literals=tuple((f"pay.{name}", value) for name, value in one.literals),
        )
        for one in (CARD, BANK)
    )
    whole = Parameter("pay", "body", type="object", parts=PAY.parameters)
    target = Operation("POST", "/orders", parameters=(whole,), choices=(group,))
    assert lacking(target, {"pay": {"type": "card"}}) == ["pay.number"]
    assert lacking(target, {"pay": {"iban": "DE1"}}) == ["pay.type"]
    assert lacking(target, {}) == lacking(target, {"pay": "x"}) == []


def test_what_the_prompt_picks_is_missing_and_counts_for_nothing() -> None:
    session = after(prompt="pay by bank")
    plain, bound = session.bind(PAY), session.bind(EITHER)
    assert (bound.params, bound.missing, bound.chosen) == ({"type": "bank"}, ("iban",), ("iban",))
    assert standing(EITHER, bound, []) == standing(PAY, plain, [])
    assert session.bind(msgspec.structs.replace(EITHER, parameters=PAY.parameters[1:])).missing == ()
