"""Numbers of a prompt that count those who come along."""

from __future__ import annotations

import pytest

from tests.pipeline.candidates.test_arguments import body
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
