"""Kinds of values whose presence in a prompt can be seen, and which of them an operation demands.

Read by `wish.py` (what a prompt holds) and `relations.py` (what is demanded), which keep their order.
"""

from __future__ import annotations

from pipeline.catalog.stem import split_words
from pipeline.types import Operation

TYPED = ("email", "zip", "name", "date", "phone")
_TYPED_WORDS = {"email": 0, "mail": 0, "zip": 1, "zipcode": 1, "postal": 1, "postcode": 1, "name": 2, "firstname": 2,
                "lastname": 2, "fullname": 2, "surname": 2, "forename": 2, "date": 3, "day": 3, "dob": 3, "birth": 3,
                "birthday": 3, "birthdate": 3, "phone": 4, "telephone": 4, "mobile": 4, "cell": 4, "cellphone": 4,
                "msisdn": 4}  # fmt: skip


def typed_fields(operation: Operation) -> list[bool]:
    """Which of TYPED the operation demands."""
    demanded = [False] * len(TYPED)
    for parameter in operation.parameters:
        if parameter.required and parameter.location in ("query", "body"):
            for word in split_words(parameter.name):
                if word in _TYPED_WORDS:
                    demanded[_TYPED_WORDS[word]] = True
    return demanded
