"""Numbers that a prompt changes by an amount: what they are so far comes from calls and answers."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.types import Call, Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation

READ = operation("GET", "/bookings/{id}")
FIELDS = {"id": "bk_1", "total_bags": 1, "seats": 3, "months": 6, "volume_percent": 50, "party_size": 4, "price": 20}
MADE = (READ, Call("GET", "/bookings/bk_1", body=FIELDS))
BAGS, SEATS, MONTHS = (body(name, "integer", False) for name in ("total_bags", "seats", "months"))
VOLUME, PARTY, PRICE = body("volume_percent", "integer"), body("party_size", "integer", False), body("price", "number")
QUOTA = body("seats", "integer", False, description="Number of chairs.")


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("2 more bags", BAGS, 3),
        ("another bag please", BAGS, 2),
        ("I need an extra bag", BAGS, 2),
        ("4 bags in all", BAGS, 4),
        ("one seat fewer", SEATS, 2),
        ("remove two seats", SEATS, 1),
        ("three more chairs", QUOTA, 6),
        ("extend it by 3 months", MONTHS, 9),
        ("stay two months longer", MONTHS, 8),
        ("turn the volume up by 10", VOLUME, 60),
        ("turn the volume down by ten", VOLUME, 40),
        ("turn the volume up to 80", VOLUME, 80),
        ("two more people are joining", PARTY, 6),
        ("double the seats", SEATS, 6),
        ("raise the price by 2.5", PRICE, 22.5),
        ("raise the price by 10%", PRICE, None),
        ("raise it by 2", SEATS, None),
        ('call it "2 more bags"', BAGS, None),
        ("2 more questions", BAGS, None),
    ],
)
def test_a_number_changes_by_what_is_said(prompt: str, parameter: Parameter, expected: Any) -> None:
    change = operation("PATCH", "/bookings/{id}", parameter)
    assert after(MADE, prompt=prompt).bind(change).params.get(parameter.name) == expected


def test_what_nobody_knows_so_far_is_not_changed_and_nothing_is_changed_twice() -> None:
    change = operation("PATCH", "/bookings/{id}", BAGS)
    assert "total_bags" not in after(prompt="2 more bags for it").bind(change).params
    done = (change, Call("PATCH", "/bookings/bk_1", {"total_bags": 3}, body=FIELDS | {"total_bags": 3}))
    assert "total_bags" not in after(MADE, done, prompt="2 more bags").bind(change).params
    new = operation("POST", "/bookings", BAGS)
    assert "total_bags" not in after(MADE, prompt="with more bags").bind(new).params


def test_an_operation_that_adds_takes_the_amount() -> None:
    extend = operation("PUT", "/bookings/{id}/extend", MONTHS)
    assert after(MADE, prompt="extend it by 3 months").bind(extend).params["months"] == 3
    extra = body("extra_months", "integer", False)
    change = operation("PATCH", "/bookings/{id}", extra)
    assert after(MADE, prompt="extend it by 3 months, 3 extra months").bind(change).params["extra_months"] == 3
