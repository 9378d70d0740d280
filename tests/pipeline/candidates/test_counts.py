"""Numbers of a prompt that count those who come along."""

from __future__ import annotations

import pytest

from pipeline.types import Call
from tests.pipeline.candidates.test_arguments import after, body, operation
from tests.pipeline.candidates.test_wish import bound


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("prompt", "raw", "expected"),
    [
        ("Book a table for 4 at 19:30", "party_size", 4),
        ("a table for two at 8pm on 2025-09-20", "guests", 2),
        ("we are 5, tonight", "number_of_people", 5),
        ("there will be 7 of us", "party_size", 7),
        ("party of 8, at 20:00", "party_size", 8),
        ("make it for 6", "party_size", 6),
        ("dinner for 6 people at 18:00", "party_size", 6),
        ("a table for 8 pm", "party_size", None),
        ("a table for 2 hours, at 9", "party_size", None),
        ("hotels for 2 nights", "guests", None),
        ("for 20.50 or 2%", "guests", None),
        ("we are 5 minutes late", "guests", None),
        ('a talk "for 4", at 9', "guests", None),
        ("for 4 at 9, or 6 people", "guests", None),
        ("96 guests for it", "people", None),
        ("a table for 4 at 9", "max_guests", None),
        ("a table for 4 at 9", "tables", None),
    ],
)
def test_who_comes_along_is_counted(prompt: str, raw: str, expected: int | None, required: bool) -> None:
    assert bound(prompt, body(raw, "integer", required), method="POST") == expected


READ = operation("GET", "/products/{product_id}")
ADD = operation("POST", "/cart", body("product_id"), body("quantity", "integer"))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("add 3 of product prd_77", 3),
        ("put five of them in the cart", 5),
        ("12 units of prd_77 please", 12),
        ("add 4 x prd_77", 4),
        ("please order 6 bolts", 6),
        ("add it to the cart", None),
        ("add it to order 6612 and every one of them", None),
        ("take 3 days to add it", None),
        ("add 2 or buy 3 bolts", None),
        ('call it "add 3 bolts"', None),
    ],
)
def test_a_quantity_is_what_is_asked_for_and_not_what_there_is(prompt: str, expected: int | None) -> None:
    answer = (READ, Call("GET", "/products/prd_77", body={"id": "prd_77", "quantity": 540}))
    assert after(answer, prompt=prompt).bind(ADD).params.get("quantity") == expected
