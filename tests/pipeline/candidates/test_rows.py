"""Lists of objects that stand in the prompt alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.candidates.test_arguments import body
from tests.pipeline.candidates.test_wish import bound

LEO = {"first_name": "Leo", "last_name": "Kim", "dob": "2014-07-02"}
MIA = {"first_name": "Mia", "last_name": "van der Kim", "dob": "2016-05-11"}
PASSENGERS = "passengers", ("first_name", "last_name", "dob")
GUESTS = "guests", ("first_name", "last_name", "email")
ITEMS = "items", ("sku", "quantity")


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("prompt", "taken", "expected"),
    [
        ("Book for Leo Kim, born 2014-07-02, and Mia van der Kim, born on 11 May 2016", PASSENGERS, [LEO, MIA]),
        ("Fly Leo Kim (2014-07-02) and Mia van der Kim (2016-05-11) home", PASSENGERS, [LEO, MIA]),
        ("from San Diego to New York on 2025-06-01", PASSENGERS, None),
        ("from San Diego, on 2025-06-01", PASSENGERS, None),
        (
            "passengers Leo Kim and Ada Wu",
            PASSENGERS,
            [{"first_name": "Leo", "last_name": "Kim"}, {"first_name": "Ada", "last_name": "Wu"}],
        ),
        ("a room for Leo Kim (leo@x.io)", GUESTS, [{"first_name": "Leo", "last_name": "Kim", "email": "leo@x.io"}]),
        ("mail Leo Kim <leo@x.io>", ("to", ("email", "name")), [{"email": "leo@x.io", "name": "Leo Kim"}]),
        ("invite a@x.io and b@x.io", ("attendees", ("email", "optional")), [{"email": "a@x.io"}, {"email": "b@x.io"}]),
        ("I am Leo Kim, my mail is a@x.io", ("attendees", ("email", "optional")), None),
        (
            "2 of SKU-1001 and one SKU-2002",
            ITEMS,
            [{"sku": "SKU-1001", "quantity": 2}, {"sku": "SKU-2002", "quantity": 1}],
        ),
        ("SKU-1001 x 3", ITEMS, [{"sku": "SKU-1001", "quantity": 3}]),
        ("3x SKU-1001", ITEMS, [{"sku": "SKU-1001", "quantity": 3}]),
        ("2 things of order SKU-1001", ITEMS, None),
        ("2 of SKU-1001", ("items", ("sku", "product_id", "quantity")), None),
        ('the questions "How?" and "Why?"', ("questions", ("text", "kind")), [{"text": "How?"}, {"text": "Why?"}]),
        ("questions about it", ("questions", ("text", "kind")), None),
    ],
)
def test_objects_are_made_of_what_stands_together(
    prompt: str, taken: tuple[str, tuple[str, ...]], expected: Any, required: bool
) -> None:
    raw, fields = taken
    assert bound(prompt, body(raw, "array", required, items="object", fields=fields), method="POST") == expected
