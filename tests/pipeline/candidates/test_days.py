"""Days and times as people write them, and which argument takes them."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from pipeline.candidates import days, spans
from pipeline.types import Call, Operation
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


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("on December 3 at 8pm", ["2026-12-03T20:00:00"]),
        ("on 3 May", ["2027-05-03"]),  # the next one
        ("from Dec 9 to 12, or 3 to 5 May", ["2026-12-09", "2026-12-12", "2027-05-03", "2027-05-05"]),
        ("not on 2 July 2026 but on 9 July", ["2026-07-02", "2026-07-09"]),
        ("she was born on 2 July 2014 and flies on 9 July", ["2014-07-02", "2027-07-09"]),
        ("tonight at 19:00", ["2026-11-26T19:00:00"]),
        ("the day after tomorrow", ["2026-11-28"]),
        ("in two weeks, or Monday next week", ["2026-12-10", "2026-11-30"]),
        ("3 days ago", ["2026-11-23"]),
        ("due Friday", ["2026-11-27"]),
        ("may 2 people march 5 miles?", []),
        ("31 April, version 2.12 March", []),
    ],
)
def test_days_are_read_without_their_year(prompt: str, expected: list[str]) -> None:
    assert [span.value for span in spans.extract(prompt, THURSDAY) if span.kind == "date"] == expected


@pytest.mark.parametrize(
    ("method", "raw", "prompt", "expected"),
    [
        ("POST", "date", "on September 1", "2027-09-01"),
        ("GET", "since", "since September 1", "2026-09-01"),
        ("GET", "modified_after", "modified after Monday, by somebody", None),
        ("GET", "modified_after", "modified after January 15", "2026-01-15"),
        ("GET", "from", "from November 20 on", "2026-11-20"),
        ("GET", "from", "from December 20 on", "2026-12-20"),
        ("GET", "from", "from June 1 on", None),
        ("GET", "check_in", "from June 1 on", "2027-06-01"),
    ],
)
def test_a_day_without_its_year_is_the_next_one_unless_it_has_happened(
    method: str, raw: str, prompt: str, expected: str | None
) -> None:
    takes = query(raw, required=True, format="date") if method == "GET" else body(raw, required=True, format="date")
    params = after(prompt=prompt, today=THURSDAY).bind(operation(method, "/things", takes)).params
    assert params.get(raw) == expected


def test_a_number_of_days_from_now_is_a_day_and_a_number() -> None:
    found = [(span.kind, span.value) for span in spans.extract("it ends in 30 days", THURSDAY)]
    assert found == [("date", "2026-12-26"), ("number", "30")]
    assert [span.kind for span in spans.extract("it ends in 30 days")] == ["number"]


def test_the_day_of_the_request_counts_where_no_call_says_when_it_was() -> None:
    assert days.today([Call("GET", "/x"), Call("GET", "/y", ts=1_780_000_000.0), Call("GET", "/z")], THURSDAY) == (
        datetime.date(2026, 5, 28)
    )
    assert days.today([Call("GET", "/x")], THURSDAY) == THURSDAY


@pytest.mark.parametrize(
    ("prompt", "more", "expected"),
    [
        ("a table for tomorrow", [], "2026-11-27"),
        ("tables on 3 December or 4 December", [], None),
        ("tables before 3 December", [], None),
        ("a table for tomorrow", ["until_date"], None),
    ],
)
def test_a_read_by_date_takes_the_only_day(prompt: str, more: list[str], expected: str | None) -> None:
    search = operation("GET", "/tables", *(query(raw, required=False, format="date") for raw in ("date", *more)))
    assert after(prompt=prompt, today=THURSDAY).bind(search).params.get("date") == expected
