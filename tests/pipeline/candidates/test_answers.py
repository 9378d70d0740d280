"""What the answers of calls say: which thing of a list the prompt means, and by what it is called."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.types import Call
from tests.pipeline.candidates.test_arguments import after, body, operation, query

LIST = operation("GET", "/playlists")
READ = operation("GET", "/playlists/{playlist_id}")
FOUND = [
    {"id": "p1", "name": "Road Trip", "mood": "calm", "uri": "x:playlist:p1"},
    {"id": "p2", "name": "Road Trip 2", "mood": "calm", "uri": "x:playlist:p2"},
    {"id": "p3", "name": "Deep Focus at Work", "mood": "calm", "uri": "x:playlist:p3"},
]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("open one of them", "p1"),
        ("open the second one", "p2"),
        ("open the third playlist", "p3"),
        ("the last one of my calm playlists", "p3"),
        ("open Road Trip", "p1"),
        ("open Road Trip 2", "p2"),
        ("open the focus playlist, it is calm", "p3"),
        ("open the fourth one", "p1"),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_the_thing_of_a_list_that_the_prompt_means_is_taken(prompt: str, expected: str, is_wrapped: bool) -> None:
    answer = {"items": [{"playlist": item} for item in FOUND]} if is_wrapped else FOUND
    made = (LIST, Call("GET", "/playlists", body=answer))
    assert after(made, prompt=prompt).bind(READ).params == {"playlist_id": expected}


TASKS = operation("GET", "/tasks", query("playlist_id", required=False), query("q", required=False))
ADD = operation("POST", "/queue", body("uris", "array", required=False, items="string"))


def test_an_optional_id_is_that_of_what_the_prompt_means() -> None:
    made = (LIST, Call("GET", "/playlists", body=FOUND))
    assert after(made, prompt="the tasks of deep focus").bind(TASKS).params == {"playlist_id": "p3"}
    assert after(made, prompt="queue deep focus").bind(ADD).params == {"uris": ["x:playlist:p3"]}
    assert after(made, prompt="what is there to do?").bind(TASKS).params == {}
    read = (READ, Call("GET", "/playlists/p3"))
    assert after(made, read, prompt="look at deep focus, then find tasks").bind(TASKS).params == {}


def test_an_optional_id_is_that_of_a_member_for_who_does_something() -> None:
    people = [{"id": "7", "name": "Alice Meyer"}, {"id": "9", "name": "Bob Lind"}]
    made = (operation("GET", "/collaborators"), Call("GET", "/collaborators", body=people))
    assign = operation("POST", "/tasks/{task_id}", body("assignee_id", required=False))
    assert after(made, prompt="task 12345 is for Bob").bind(assign).params == {"task_id": "12345", "assignee_id": "9"}


@pytest.mark.parametrize("name", ["#1002", 1002])
def test_what_people_call_a_thing_gives_way_to_its_id(name: Any) -> None:
    orders = [{"id": 450789469, "name": "#1001"}, {"id": 450789470, "name": name}]
    made = (operation("GET", "/orders"), Call("GET", "/orders", body={"orders": orders}))
    order = operation("GET", "/orders/{order_id}")
    assert after(made, prompt="get order #1002").bind(order).params == {"order_id": "450789470"}
    assert after(made, prompt="get order #1003").bind(order).params == {"order_id": "1003"}
    numbered = operation("GET", "/orders/{order_number}")
    assert after(made, prompt="get order #1002").bind(numbered).params == {"order_number": "1002"}


def test_who_calls_is_a_user() -> None:
    made = (operation("GET", "/me"), Call("GET", "/me", body={"id": "ada", "country": "DE"}))
    assert after(made).bind(operation("GET", "/users/{user_id}/lists")).params == {"user_id": "ada"}


def test_a_long_number_beside_its_noun_fills_an_optional_id() -> None:
    comments = operation("GET", "/comments", query("task_id", required=False), query("project_id", required=False))
    assert after(prompt="what was said about task 2995104341?").bind(comments).params == {"task_id": "2995104341"}


def test_what_stands_inside_of_a_thing_is_not_meant_with_it() -> None:
    found = [{"id": n, "name": f"web-0{n}", "image": {"id": 70 + n, "name": "Ubuntu"}} for n in (1, 2)]
    made = (operation("GET", "/droplets"), Call("GET", "/droplets", body=found))
    act = operation("POST", "/droplets/{droplet_id}/actions", body("image", "integer", required=False))
    assert after(made, prompt="reboot web-02").bind(act).params == {"droplet_id": "2"}


def test_a_thing_is_named_by_whole_words_of_its_name() -> None:
    states = [{"id": "11", "name": "To do"}, {"id": "31", "name": "Done"}]
    made = (operation("GET", "/states"), Call("GET", "/states", body={"states": states}))
    move = operation("POST", "/tasks/{task_id}/state", body("state_id"))
    assert after(made, prompt="move task 12345 to done").bind(move).params == {"task_id": "12345", "state_id": "31"}


def test_an_account_of_a_user_is_who_does_something() -> None:
    found = [{"accountId": "5b10ac8d", "displayName": "Mia Krystof"}]
    made = (operation("GET", "/user/search"), Call("GET", "/user/search", body=found))
    assign = operation("PUT", "/issues/{issue_key}", body("assignee_id", required=False))
    assert after(made, prompt="OPS-17 is for Mia").bind(assign).params["assignee_id"] == "5b10ac8d"


QUOTES = [
    {"id": "q1", "carrier": "UPS", "price": {"amount": "1450.00"}, "created_at": "2025-03-01", "transit_days": 31},
    {"id": "q2", "carrier": "GLS", "price": {"amount": "980.00"}, "created_at": "2025-01-04", "transit_days": 35},
    {"id": "q3", "carrier": "DHL", "price": {"amount": "1610.50"}, "created_at": "2025-06-30", "transit_days": 35},
]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("show the cheapest one", "q2"),
        ("open the most expensive quote", "q3"),
        ("the oldest of them", "q2"),
        ("open the newest playlist", "q3"),
        ("the fastest one please", "q1"),
        ("the longest one", "q1"),  # two are even
        ("the cheapest one from DHL", "q3"),
        ("the best-rated one", "q1"),  # nobody tells
        ("the cheapest two quotes", "q1"),
    ],
)
def test_the_thing_that_has_most_or_least_of_something_is_meant(prompt: str, expected: str) -> None:
    made = (LIST, Call("GET", "/playlists", body={"quotes": QUOTES}))
    assert after(made, prompt=prompt).bind(READ).params == {"playlist_id": expected}
