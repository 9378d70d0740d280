"""How far a candidate's arguments are known, and whether a call that comes again has new ones."""

from __future__ import annotations

import pytest

from pipeline.candidates.arguments import Session
from pipeline.candidates.standing import standing
from pipeline.types import Call, Operation, Parameter

SEARCH = Operation("GET", "/trains", parameters=(Parameter("from", "query", True), Parameter("to", "query", True)))
TRIP = Operation("GET", "/trips/{trip_id}", parameters=(Parameter("trip_id", "path", True),))
PAGES = Operation("GET", "/trips", parameters=(Parameter("page", "query"),))


USER = Operation("GET", "/user_details", verb="read", parameters=(Parameter("user_id", "query", True),))
BY_MAIL = Operation("GET", "/members", verb="read", parameters=(Parameter("email", "query"),))
CLOSE = Operation("POST", "/close_account", verb="action", parameters=(Parameter("user_id", "body", True),))


def found(operation: Operation, prompt: str, *trips: str) -> tuple[int, ...]:
    calls = [Call("GET", f"/trips/{trip}") for trip in trips]
    session = Session(calls, [TRIP] * len(trips), [{"trip_id": trip} for trip in trips], prompt)
    return standing(operation, session.bind(operation), session.past(operation))


def test_a_header_that_lacks_is_not_counted() -> None:
    keyed = Operation(
        "GET", "/trips", parameters=(Parameter("X-Tenant", "header", True), Parameter("q", "query", True))
    )
    assert found(keyed, "")[:2] == (2, 1)


@pytest.mark.parametrize(
    ("operation", "prompt", "trips", "expected"),
    [
        (PAGES, "", (), (0, 0, 0, 0)),
        (TRIP, "", (), (1, 1, 0, 0)),
        (TRIP, "show trip T-4410", (), (1, 0, 1, 0)),
        (SEARCH, "", ("T-4410",), (2, 2, 0, 0)),
        (TRIP, "cancel trips T-4410 and T-4411", ("T-4410",), (1, 0, 1, 1)),  # the next one
        (TRIP, "show trip T-4410", ("T-4410",), (1, 0, 1, -1)),  # the same again
    ],
)
def test_what_is_required_missing_told_and_new_is_counted(operation, prompt, trips, expected) -> None:
    assert found(operation, prompt, *trips)[:4] == expected


@pytest.mark.parametrize(
    ("operation", "prompt", "is_caller"),
    [
        (USER, "You are mei_davis_8935 and want to cancel trip T-4410", True),
        (BY_MAIL, "it's ada@corp.example, cancel my trip", True),
        (USER, "cancel trip T-4410", False),
        (CLOSE, "You are mei_davis_8935, close your account", False),  # changes something
        (TRIP, "You are mei_davis_8935 and want to see trip T-4410", False),
    ],
)
def test_who_calls_is_read_by_what_the_prompt_says(operation, prompt, is_caller) -> None:
    assert bool(found(operation, prompt)[4]) == is_caller


def test_who_comes_along_is_not_who_calls() -> None:
    guests = Parameter("guests", "query", True, "integer")
    assert found(Operation("GET", "/tables", verb="read", parameters=(guests,)), "tables for 4 guests")[-1] == 0
