"""Which literal a prompt names."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.types import Call, Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation, query
from tests.pipeline.candidates.test_wish import bound

LEVEL = body(
    "access_level",
    "integer",
    enum=(10, 20, 30, 40),
    description="10 (Guest), 20 (Reporter), 30 (Developer), 40 = Admin",
)
KIND = body("type", enum=("A", "MX", "TXT"))
PRIORITY = body("priority", "integer", required=False, description="0 = No priority, 1 = Urgent, 2 = High, 3 = Normal.")
STATUS = body("status", enum=("acknowledged", "resolved", "stopped"), required=False)
STATUSES = query("statuses", "array", items="string", enum=("open", "closed", "stale"), required=False)


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("add her as a developer", LEVEL, 30),
        ("make them admins", LEVEL, 40),
        ("a reporter instead of a guest", LEVEL, 20),
        ("from guest to reporter", LEVEL, 20),
        ("guest or reporter", LEVEL, None),
        ("an urgent one, ENG-12", PRIORITY, 1),
        ("urgent or high, ENG-12", PRIORITY, None),
        ("an MX thing for it", KIND, "MX"),
        ("type A, for www", KIND, "A"),
        ("A thing like this", KIND, "A"),
        ("A new one, with MX", KIND, None),
        ("resolve it", STATUS, "resolved"),
        ("Stop it", STATUS, "stopped"),
        ("no resolution", STATUS, None),
    ],
)
def test_a_literal_is_named_by_its_word_its_label_or_its_verb(prompt: str, parameter: Parameter, expected: Any) -> None:
    assert bound(prompt, parameter, method="PUT") == expected


@pytest.mark.parametrize(("prompt", "expected"), [("open or stale ones", ["open", "stale"]), ("close it", None)])
def test_a_list_takes_all_literals_that_are_named_and_a_read_none_by_its_verb(prompt: str, expected: Any) -> None:
    assert bound(prompt, STATUSES) == expected


def test_a_literal_of_the_prompt_goes_before_what_the_session_has() -> None:
    member = operation("GET", "/members/{id}")
    read = (member, Call("GET", "/members/7", body={"id": 7, "access_level": 10}))
    change = operation("PUT", "/members/{id}", LEVEL)
    assert after(read, prompt="make her a developer").bind(change).params == {"id": "7", "access_level": 30}
    assert after(read, prompt="change her").bind(change).params == {"id": "7", "access_level": 10}


def test_a_verb_before_what_is_made_is_no_literal() -> None:
    state = body("status", enum=("open", "solved"), required=False)
    create = operation("POST", "/tickets", state)
    assert after(prompt="Open a ticket").bind(create).params == {}
    assert after(prompt="A ticket that is open").bind(create).params == {"status": "open"}


FOUND = query("type", enum=("album", "playlist", "track", "video_track", "-popularity"))
SPAN = query("span", enum=("day", "week"))


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("the playlists of today", FOUND, "playlist"),
        ("all tracks", FOUND, None),  # or video tracks
        ("popularities", FOUND, None),
        ('playlists for "An album"', FOUND, "playlist"),
        ('what is an "album"?', FOUND, "album"),
        ("it takes four days", SPAN, None),
    ],
)
def test_a_plural_says_a_literal_and_quotes_do_where_nothing_else_does(
    prompt: str, parameter: Parameter, expected: Any
) -> None:
    assert bound(prompt, parameter) == expected


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("prompt", "description", "expected"),
    [
        ("make member 88123 gold", "Bronze, Silver or Gold", "Gold"),
        ("upgrade member 88123 from silver to gold", "One of Bronze, Silver, or Gold.", "Gold"),
        ("a high priority for case 88123", "How urgent it is: 'High', 'Medium' or 'Low'", "High"),
        ("a sub-task of it", "Bug, Task or Story", None),
        ("a task of gold", "The Bronze or Silver of the member is kept", None),
        ("golden times", "Bronze, Silver or Gold", None),
        ("open it by name", "Name or Email", None),
    ],
)
def test_what_a_description_lists_is_named_as_an_enum_is(
    prompt: str, description: str, expected: str | None, required: bool
) -> None:
    assert bound(prompt, body("tier", required=required, description=description), method="PATCH") == expected


def test_a_person_is_male_or_female_where_the_literals_are_their_initials() -> None:
    sex = body("sex", enum=("M", "F", "X"))
    assert [bound(f"a patient, {said}", sex, method="POST") for said in ("female", "male", "tall")] == ["F", "M", None]
