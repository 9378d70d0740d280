"""Weeks, months, quarters and years that a prompt names as a whole."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from pipeline.types import Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation, query

TODAY = datetime.date(2025, 9, 10)  # a Wednesday
FROM, TO = (query(name, required=False, format="date") for name in ("from", "to"))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("what is due this week", ("2025-09-08", "2025-09-14")),
        ("orders of last month", ("2025-08-01", "2025-08-31")),
        ("slots next quarter", ("2025-10-01", "2025-12-31")),
        ("sales of last quarter", ("2025-04-01", "2025-06-30")),
        ("visits in November", ("2025-11-01", "2025-11-30")),
        ("visits in March", (None, None)),  # last or next
        ("what was sold in March", ("2025-03-01", "2025-03-31")),
        ("what was sold in December", ("2024-12-01", "2024-12-31")),
        ("orders of February 2024", ("2024-02-01", "2024-02-29")),
        ("the first week of July 2026", (None, None)),
        ("this week or last month", (None, None)),
        ("the last week of it", (None, None)),
        ('a note called "this week"', (None, None)),
        ("on 3 October, this week", (None, None)),
        ("in may or in march we go", (None, None)),
    ],
)
def test_a_read_from_and_until_a_day_takes_both_ends(prompt: str, expected: tuple[str | None, str | None]) -> None:
    params = after(prompt=prompt, today=TODAY).bind(operation("GET", "/things", FROM, TO)).params
    assert (params.get("from"), params.get("to")) == expected


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (query("month", "integer", required=False), 3),
        (query("month", "integer"), 3),
        (query("month", description="Month as YYYY-MM"), "2021-03"),
        (query("month"), None),
        (query("months", "integer"), None),
        (query("start_time_after", required=False, format="date-time"), "2021-03-01T00:00:00Z"),
        (query("start_time_before", required=False, format="date-time"), "2021-03-31T23:59:59Z"),
    ],
)
def test_a_month_is_a_number_or_has_its_year(parameter: Parameter, expected: Any) -> None:
    params = after(prompt="the archive of March 2021", today=TODAY).bind(operation("GET", "/things", parameter)).params
    assert params.get(parameter.name) == expected


def test_a_write_takes_no_period() -> None:
    call = operation("POST", "/things", body("from", required=False, format="date"))
    assert after(prompt="plan it this week", today=TODAY).bind(call).params == {}


@pytest.mark.parametrize("today", [datetime.date.min, datetime.date.max])
@pytest.mark.parametrize("prompt", ["last quarter", "this week", "next month", "in March 0000", "in December 9999"])
def test_a_period_beyond_the_calendar_is_none(prompt: str, today: datetime.date) -> None:
    call = operation("GET", "/tasks", query("from", required=False), query("to", required=False))
    assert set(after(prompt=prompt, today=today).bind(call).params.values()) <= {"0001-01-01", "0001-01-07"}
