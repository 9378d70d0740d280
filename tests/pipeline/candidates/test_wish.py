"""What a prompt gives to a parameter: whole ids, whose they are, days, persons, new values instead of old ones."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.candidates import spans, wish
from pipeline.types import Call, Operation, Parameter
from tests.pipeline.candidates.test_arguments import after, operation, query


def bound(prompt: str, parameter: Parameter, *made: tuple[Operation, Call], method: str = "GET") -> Any:
    """What one parameter of an operation takes; None where it is missing or left out."""
    return after(*made, prompt=prompt).bind(operation(method, "/things", parameter)).params.get(parameter.name)


def ids(prompt: str) -> list[str]:
    return [span.value for span in spans.extract(prompt) if span.kind == "id"]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Invoice INV-2025-0042", ["INV-2025-0042"]),
        ("claim CLM-24-00913 and bill B2025-0519.", ["CLM-24-00913", "B2025-0519"]),
        ("order ORD/2025/117, part AB-12-C", ["ORD/2025/117", "AB-12-C"]),
        ("from DE44 5001 0517 5407 3249 31 MORE", ["DE44500105175407324931"]),
        ("reservations K7QX2M, BZ41QC", ["K7QX2M", "BZ41QC"]),
        ("COVID-19, UTF-16, Q1-2024, ISO-8601 since 2025-05-01, 20MB, 1080P", []),
    ],
)
def test_an_id_is_read_as_a_whole(prompt: str, expected: list[str]) -> None:
    assert ids(prompt) == expected
    assert all(span.kind != "phone" for span in spans.extract(prompt))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("#W2378156", "#W0000000", True),
        ("K7QX2M", "BZ41QC", True),
        ("K7QX2M", "NW732", False),
        ("MRN-0042871", "MRN-0000777", True),
        ("MRN-0042871", "DR-144", False),
        ("CL88120", "DE44", True),
    ],
)
def test_an_example_says_how_an_id_looks_and_by_its_prefix_whose_it_is(one: str, other: str, alike: bool) -> None:
    assert (wish.shape(one) == wish.shape(other)) is alike


def test_an_id_goes_to_the_argument_whose_example_has_its_prefix() -> None:
    record = query("mrn", description="Record number, such as 'MRN-0042871'.")
    assert bound("See DR-144. My record is MRN-0000777", record) == "MRN-0000777"
    assert bound("See DR-144", record) is None
    locator = query("pnr", description="Record locator, such as 'K7QX2M'.")
    assert bound("Flight NW732 was late. It is BZ41QC", locator) == "BZ41QC"
