"""Days and times as people write them, and which argument takes them."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from pipeline.candidates import spans
from pipeline.types import Operation
from tests.pipeline.candidates.test_arguments import after, body, operation, query

THURSDAY = datetime.date(2026, 11, 26)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("on 2026-12-03 at 10:00", ["2026-12-03T10:00:00"]),
        ("at 4:30pm on December 4, 2026", ["2026-12-04T16:30:00"]),
        ("tomorrow at 9am", ["2026-11-27T09:00:00"]),
        ("3 December 2026 from 9 to 10:30", ["2026-12-03T09:00:00", "2026-12-03T10:30:00"]),
        ("3 December 2026, from 1 to 2.30 p.m.", ["2026-12-03"]),
        ("3 December 2026, 1-2:30 p.m.", ["2026-12-03"]),
        ("3 December 2026, from 1 to 2:30 p.m.", ["2026-12-03T13:00:00", "2026-12-03T14:30:00"]),
        ("today at noon", ["2026-11-26T12:00:00"]),
        ("2026-12-03 at 25:99", ["2026-12-03"]),
        ("2026-12-03T10:00:00+01:00", ["2026-12-03T10:00:00+01:00"]),
        ("next Tuesday at 3pm", ["2026-12-01T15:00:00"]),
        ("next Thursday", ["2026-12-03"]),
        ("next Friday", []),  # tomorrow, or in a week
        ("on Monday", ["2026-11-30"]),
        ("on Thursday", []),
        ("last Friday", ["2026-11-20"]),
        ("the film Friday", []),
    ],
)
def test_days_and_the_times_beside_them_are_read(prompt: str, expected: list[str]) -> None:
    assert [span.value for span in spans.extract(prompt, THURSDAY) if span.kind == "date"] == expected


def test_a_weekday_is_no_day_where_nobody_knows_what_day_it_is() -> None:
    assert not [span for span in spans.extract("next Tuesday at 3pm") if span.kind == "date"]


MEETING = operation(
    "POST",
    "/meetings",
    body("start_time", required=False, format="date-time"),
    body("end_time", required=False, format="date-time"),
    body("timezone", required=False),
)
TASK = operation(
    "PATCH",
    "/tasks/{task_id}",
    body("due_date", required=False, format="date"),
    body("due_datetime", required=False, format="date-time"),
    body("starts_on", required=False, format="date"),
)
ORDERS = operation(
    "GET",
    "/orders",
    query("created_at_min", required=False, format="date-time"),
    query("updated_at_min", required=False, format="date-time"),
)


@pytest.mark.parametrize(
    ("target", "prompt", "expected"),
    [
        (
            MEETING,
            "a call on 2026-12-02 from 9:00 to 10:30",
            {"start_time": "2026-12-02T09:00:00Z", "end_time": "2026-12-02T10:30:00Z"},
        ),
        (
            MEETING,
            "2026-12-02 at 3pm, Europe/Berlin",
            {"start_time": "2026-12-02T15:00:00", "timezone": "Europe/Berlin"},
        ),
        (MEETING, "the report of 2026-12-02", {}),
        (TASK, "make it due 4 December 2026", {"due_date": "2026-12-04"}),
        (TASK, "it is due 4 December 2026 at 3pm", {"due_datetime": "2026-12-04T15:00:00Z"}),
        (TASK, "what we said on 4 December 2026", {}),
        (ORDERS, "orders since 1 November 2026", {"created_at_min": "2026-11-01T00:00:00Z"}),
        (
            ORDERS,
            "updated since 1 November 2026",
            {"created_at_min": "2026-11-01T00:00:00Z", "updated_at_min": "2026-11-01T00:00:00Z"},
        ),
    ],
)
def test_a_day_goes_to_the_argument_that_is_meant(target: Operation, prompt: str, expected: dict[str, Any]) -> None:
    params = after(prompt=prompt).bind(target).params
    assert {name: value for name, value in params.items() if name != "task_id"} == expected


def test_a_time_zone_is_no_owner_and_repository() -> None:
    repository = operation("GET", "/repos/{owner}/{repo}")
    assert after(prompt="tomorrow, Europe/Berlin").bind(repository).params == {}
    assert after(prompt="ada/engine").bind(repository).params == {"owner": "ada", "repo": "engine"}


def test_a_day_in_any_words_gives_way_to_one_in_a_format() -> None:
    words = body("due_string", required=False, description='Human defined due date, "next Monday".')
    task = operation("POST", "/tasks", words, body("due_date", required=False, format="date"))
    assert after(prompt="it is due 4 December 2026").bind(task).params == {"due_date": "2026-12-04"}


def test_a_time_of_the_day_beside_its_day_is_the_time_alone() -> None:
    book = operation("POST", "/bookings", body("date", format="date"), body("time"))
    bound = after(prompt="book a table on 2026-12-24 at 19:30").bind(book)
    assert bound.params == {"date": "2026-12-24", "time": "19:30"}
    assert after(prompt="book a table on 2026-12-24").bind(book).params == {"date": "2026-12-24"}
    moment = operation("POST", "/bookings", body("time", description="Date and time of the booking."))
    bound = after(prompt="book a table on 2026-12-24 at 19:30").bind(moment)
    assert bound.params == {"time": "2026-12-24T19:30:00"}


def test_a_day_to_the_minute_may_have_another_time_behind_it() -> None:
    meet = operation("POST", "/meetings", *(body(f"{side}_at", format="date-time") for side in ("start", "end")))
    bound = after(prompt="from 2026-05-04 09:00 to 09:30").bind(meet)
    assert bound.params == {"start_at": "2026-05-04T09:00:00Z", "end_at": "2026-05-04T09:30:00Z"}
    assert after(prompt="from 2026-05-04T09:00:30Z on").bind(meet).params == {"start_at": "2026-05-04T09:00:30Z"}


def test_a_day_stands_behind_the_argument_that_it_is_of() -> None:
    book = operation("POST", "/bookings", *(body(name, format="date") for name in ("pickup_date", "dropoff_date")))
    bound = after(prompt="pickup on 4 May 2026 and dropoff on 9 May 2026").bind(book)
    assert bound.params == {"pickup_date": "2026-05-04", "dropoff_date": "2026-05-09"}


def test_a_time_of_day_is_no_day() -> None:
    book = operation("POST", "/bookings", body("time", description="Time of day, HH:MM"))
    assert after(prompt="on 4 May 2026 at 9am").bind(book).params == {"time": "09:00"}
    assert after(prompt="on 4 May 2026").bind(book).params == {}
