"""A day is written as the description of its parameter shows it, and at no midnight that nobody said."""

from __future__ import annotations

import pytest

from pipeline.candidates import dayforms, days
from pipeline.candidates.arguments import Session
from pipeline.types import Operation, Parameter


@pytest.mark.parametrize(
    ("description", "written"),
    [
        ("The first day, in YYYYMMDD or YYYYMMDDHH format", "20260504"),
        ("The date of the game(s). Examples: 2017-JUL-31, 2017-SEP-01.", "2026-MAY-04"),
        ("day (dd/mm/yyyy)", "04/05/2026"),
        ("ddmmyyyy", "04052026"),
        ("dd-mmm-yyyy", "04-May-2026"),
    ],
)
def test_a_day_is_written_as_it_is_shown(description: str, written: str) -> None:
    games = Operation("GET", "/games/{date}", parameters=(Parameter("date", "path", True, description=description),))
    assert Session([], [], [], "games of 4 May 2026").bind(games).params == {"date": written}


@pytest.mark.parametrize("description", ["", "YYYY-MM-DD", "2026-05-04", "YYYY-MM", "a comma separated list", "add/mm"])
def test_nothing_else_shows_a_form(description: str) -> None:
    assert dayforms.form(description) is None


@pytest.mark.parametrize(
    ("prompt", "params"),
    [
        ("book a slot on 4 May 2026", {"at": "2026-05-04T00:00:00Z"}),
        ("book a slot on 4 May 2026 at 9:30", {"at": "2026-05-04T09:30:00Z"}),
        ("book a slot on 4 May 2026, ten in the morning", {}),
        ("book a slot on 4 May 2026, I can come from three on", {}),
    ],
)
def test_a_time_that_stands_apart_makes_no_midnight(prompt: str, params: dict[str, str]) -> None:
    book = Operation("POST", "/slots", parameters=(Parameter("at", "body", True, "string", "date-time"),))
    assert Session([], [], [], prompt).bind(book).params == params


def test_no_time_is_read_into_other_numbers() -> None:
    assert not any(map(days.says_time, ("arn:aws:eu-west-1:111122223333:x", "12 amps", "16:9:4")))
