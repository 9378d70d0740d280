"""What the words beside a value say of it: of what it is a key or a number, who is introduced."""

from __future__ import annotations

import pytest

from pipeline.types import Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("a bug in project OPS", body("project_key"), "OPS"),
        ("a bug in project Ops", body("project_key"), None),
        ("tracking number 1Z001985YW99744790", body("tracking_number", required=False), "1Z001985YW99744790"),
        ("the default is pm_1MqLiJLkd", body("default_payment_method", required=False), "pm_1MqLiJLkd"),
        ("add the customer Leo Brandt", body("last_name", required=False), "Brandt"),
        ("register Leo Brandt", body("lastname", required=False), "Brandt"),
        ("a contact for Leo Brandt", body("firstname", required=False), "Leo"),
        ("new contact: Leo Brandt", body("firstname"), "Leo"),
        ("set the phone number to +1 415 555 0199", body("phonenumber", required=False), "+14155550199"),
        ("I am Leo Brandt", body("last_name", required=False), None),
    ],
)
def test_keys_numbers_and_people_go_by_the_noun_before_them(
    prompt: str, parameter: Parameter, expected: str | None
) -> None:
    assert after(prompt=prompt).bind(operation("POST", "/things", parameter)).params.get(parameter.name) == expected


CALLED = "Phone number to call, in E.164."


@pytest.mark.parametrize(
    ("prompt", "one", "other", "expected"),
    [
        ("swap CS-101 for MA-201", body("drop_course_id"), body("add_course_id"), ("CS-101", "MA-201")),
        ("replace item 4410 with 4498", body("old_item_id"), body("new_item_id"), ("4410", "4498")),
        ("drop PH-110 and add CH-120", body("drop_course_id"), body("add_course_id"), ("PH-110", "CH-120")),
        ("move it from list 5 to list 8", body("from_list_id"), body("target_list_id"), ("5", "8")),
        ("12 from loc_1 to loc_2", body("from_location_id"), body("to_location_id"), ("loc_1", "loc_2")),
        (
            "call +44 20 7946 0958 from +1 415 555 0100",
            body("from", description=CALLED),
            body("to", description=CALLED),
            ("+14155550100", "+442079460958"),
        ),
        (
            "call +44 20 7946 0958",
            body("from", description=CALLED),
            body("to", description=CALLED),
            (None, "+442079460958"),
        ),
    ],
)
def test_of_two_things_of_a_kind_each_goes_to_its_side(
    prompt: str, one: Parameter, other: Parameter, expected: tuple[str | None, str]
) -> None:
    found = after(prompt=prompt).bind(operation("POST", "/things", one, other)).params
    assert (found.get(one.name), found.get(other.name)) == expected


START = body("start", required=False, format="date-time")
END = body("end", required=False, format="date-time")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("grow it from 100 GB to 200 GB", {"size_gb": 200}),
        ("move it from 2 May 2026 10am to 3 May 2026 2pm", {"start": "2026-05-03T14:00:00Z"}),
        ("move it to 3 May 2026 at 9am", {"start": "2026-05-03T09:00:00Z"}),
        ("change the owner email from a@x.io to b@y.io", {"owner_email": "b@y.io"}),
        (
            "book it from 2 May 2026 10am to 3 May 2026 2pm",
            {"start": "2026-05-02T10:00:00Z", "end": "2026-05-03T14:00:00Z"},
        ),
    ],
)
def test_what_is_changed_takes_what_it_is_changed_to(prompt: str, expected: dict[str, object]) -> None:
    size, mail = body("size_gb", "integer", False), body("owner_email", required=False, format="email")
    assert after(prompt=prompt).bind(operation("PATCH", "/things", size, mail, START, END)).params == expected


def test_a_side_in_a_name_is_its_last_word_and_what_is_handed_to_somebody_has_no_day() -> None:
    calls = [body(name, required=False, format="date-time") for name in ("start_time_after", "start_time_before")]
    shares = body("assigned_to", required=False, description="ID of the user it is assigned to")
    bound = after(prompt="since 2026-05-04").bind(operation("POST", "/calls/search", *calls, shares)).params
    assert bound == {"start_time_after": "2026-05-04T00:00:00Z"}


def test_a_quote_behind_the_thing_is_no_text_of_what_is_said_of_the_thing() -> None:
    task = operation("POST", "/tasks", body("title"), body("priority", required=False))
    assert after(prompt='a high priority task "Call Acme"').bind(task).params == {"title": "Call Acme"}
    assert after(prompt='a task "Call Acme" with priority "High"').bind(task).params["priority"] == "High"
