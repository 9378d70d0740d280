"""Days and times that a prompt moves: when they are so far comes from answers."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.types import Call
from tests.pipeline.candidates.test_arguments import after, body, operation

READ = operation("GET", "/visits/{id}")
FIELDS = {
    "id": "v_1",
    "start": "2025-09-18T10:00:00Z",
    "end": "2025-09-18T10:30:00.000+02:00",
    "due_date": "2025-12-31",
    "remind_at": "soon",
}
MADE = (READ, Call("GET", "/visits/v_1", body=FIELDS))
START, END = (body(name, required=False, format="date-time") for name in ("start", "end"))
DUE, REMIND = body("due_date", required=False, format="date"), body("remind_at", required=False)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("push the due date back by 2 days", {"due_date": "2026-01-02"}),
        ("extend the due date for a week", {"due_date": "2026-01-07"}),
        ("have it due two weeks earlier", {"due_date": "2025-12-17"}),
        ("postpone the due date by 2 months", {"due_date": "2026-02-28"}),
        ("start an hour later", {"start": "2025-09-18T11:00:00Z"}),
        ("push the start out half an hour", {"start": "2025-09-18T10:30:00Z"}),
        ("bring the end forward by 15 minutes", {"end": "2025-09-18T10:15:00.000+02:00"}),
        ("move it an hour later", {}),  # of three days
        ("push the due date back by an hour", {}),
        ("move the due date by 2 days", {}),
        ("move the due date to 2026-01-09, a week later than planned", {"due_date": "2026-01-09"}),
        ("the due date was two weeks ago, a week later than it should", {}),
        ('call it "an hour later"', {}),
    ],
)
def test_a_day_is_moved_from_when_it_was(prompt: str, expected: dict[str, Any]) -> None:
    change = operation("PATCH", "/visits/{id}", START, END, DUE, REMIND)
    params = after(MADE, prompt=prompt).bind(change).params
    assert {name: value for name, value in params.items() if name != "id"} == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("move it an hour later", {"start": "2025-09-18T11:00:00Z", "end": "2025-09-18T11:30:00.000+02:00"}),
        ("make it an hour longer", {"end": "2025-09-18T11:30:00.000+02:00"}),
        ("shorten it by 10 minutes", {"end": "2025-09-18T10:20:00.000+02:00"}),
    ],
)
def test_both_ends_of_a_time_move_and_its_end_alone_makes_it_longer(prompt: str, expected: dict[str, Any]) -> None:
    params = after(MADE, prompt=prompt).bind(operation("PUT", "/visits/{id}", START, END)).params
    assert {name: value for name, value in params.items() if name != "id"} == expected


def test_what_was_moved_once_is_not_moved_again_and_without_an_answer_nothing_is_known() -> None:
    change = operation("PATCH", "/visits/{id}", body("due_date", format="date"))
    moved = (change, Call("PATCH", "/visits/v_1", params={"due_date": "2026-01-02"}))
    assert after(MADE, moved, prompt="push the due date back by 2 days").bind(change).missing == ("due_date",)
    assert after((READ, Call("GET", "/visits/v_1")), prompt="push the due date back by a day").bind(change).params == {
        "id": "v_1"
    }
