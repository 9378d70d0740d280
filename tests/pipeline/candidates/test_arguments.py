"""What a candidate is filled with: each source of values, their order, and that nothing is made up."""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.candidates.arguments import Binding, Session
from pipeline.candidates.fitting import coerce, fit
from pipeline.catalog.entities import Entities
from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import parse_spec
from pipeline.settings import load
from pipeline.types import Call, Operation, Parameter


def operation(method: str, path: str, *parameters: Parameter) -> Operation:
    """An operation whose path parameters are declared by its template."""
    named = [Parameter(name, "path", required=True, type="string") for name in re.findall(r"\{(\w+)\}", path)]
    return Operation(method=method, path=path, parameters=(*named, *parameters))


def query(name: str, type: str = "string", required: bool = True, **more: Any) -> Parameter:
    return Parameter(name, "query", required=required, type=type, **more)


def body(name: str, type: str = "string", required: bool = True, **more: Any) -> Parameter:
    return Parameter(name, "body", required=required, type=type, **more)


def values_of(operation: Operation | None, path: str) -> dict[str, str]:
    if operation is None:
        return {}
    found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.path), path)
    return found.groupdict() if found else {}


def after(*made: tuple[Operation | None, Call], prompt: str = "", today: datetime.date | None = None) -> Session:
    return Session(
        [call for _, call in made],
        [operation for operation, _ in made],
        [values_of(operation, call.path) for operation, call in made],
        prompt,
        today,
    )


REPO = operation("GET", "/repos/{owner}/{repo}")
ISSUES = operation("GET", "/repos/{owner}/{repo}/issues", query("state", enum=("open", "closed"), required=False))
OPEN_ISSUE = operation("POST", "/repos/{owner}/{repo}/issues", body("title"))
ISSUE = operation("GET", "/repos/{owner}/{repo}/issues/{issue_number}")
COMMENT = operation("POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments", body("body"))
PET = operation("GET", "/pets/{petId}")
PETS = operation("POST", "/pets", body("name"))
ORDER = operation("GET", "/get_order_details", query("order_id", description="such as '#W0000000'"))
USER = operation("GET", "/get_user_details", query("user_id"))
CHARGE = operation("GET", "/charges/{charge}")
REFUND = operation("POST", "/refunds", body("charge", required=False), body("amount", "integer", required=False))
LIMITED = operation(
    "GET",
    "/limited",
    query("name", enum=("Rex", "Bella")),
    query("count", "integer", minimum=1, maximum=9),
    query("ids", "array", items="integer"),
    query("days", "number", required=False, maximum=30),
)
SEARCH = operation("GET", "/search/movie", query("query"), query("year", "integer", required=False))


def test_values_of_a_path_come_together_from_the_latest_call() -> None:
    session = after(
        (REPO, Call("GET", "/repos/ada/engine")),
        (ISSUE, Call("GET", "/repos/bob/loom/issues/7")),
    )
    binding = session.bind(COMMENT)
    assert binding.params == {"owner": "bob", "repo": "loom", "issue_number": "7"}
    assert binding.missing == ("body",)
    assert set(binding.origins.values()) == {("path", 1)}


def test_a_value_of_another_scope_is_not_mixed_in() -> None:
    session = after(
        (ISSUE, Call("GET", "/repos/ada/engine/issues/7")),
        (REPO, Call("GET", "/repos/bob/loom")),
    )
    assert session.bind(ISSUE) == Binding(
        {"owner": "bob", "repo": "loom"}, ("issue_number",), (), {"owner": ("path", 1), "repo": ("path", 1)}
    )


def test_id_in_an_answer_is_completed_by_its_resource() -> None:
    session = after((PETS, Call("POST", "/pets", {"name": "Rex"}, body={"id": 31, "name": "Rex"})))
    binding = session.bind(PET)
    assert binding.params == {"petId": "31"}
    assert binding.origins == {"petId": ("response", 0)}


def test_number_of_a_new_thing_joins_the_path_it_was_made_under() -> None:
    answer = {"id": 9001, "number": 42, "user": {"login": "ada", "id": 1}}
    session = after((OPEN_ISSUE, Call("POST", "/repos/ada/engine/issues", {"title": "x"}, body=answer)))
    assert session.bind(ISSUE).params == {"owner": "ada", "repo": "engine", "issue_number": "42"}


def test_what_a_thing_was_made_with_is_not_its_id() -> None:
    log = operation("POST", "/issues/{index}/times", body("time", "integer"))
    made = (log, Call("POST", "/issues/6/times", {"time": 3600}))
    drop = operation("DELETE", "/issues/{index}/times/{id}")
    binding = after(made).bind(drop)
    assert binding.params == {"index": "6"}
    assert binding.missing == ("id",)


def test_first_item_of_a_list_is_taken_unless_the_prompt_names_another() -> None:
    found = {"results": [{"id": 1, "name": "Rex"}, {"id": 2, "name": "Bella"}]}
    pets = operation("GET", "/pets")
    assert after((pets, Call("GET", "/pets", body=found))).bind(PET).params == {"petId": "1"}
    assert after((pets, Call("GET", "/pets", body=found)), prompt="feed Bella").bind(PET).params == {"petId": "2"}


def test_who_the_prompt_speaks_of_goes_before_who_was_answered_later() -> None:
    users, shifts = operation("GET", "/users"), operation("GET", "/shifts")
    found = [{"id": "U1", "name": "Bob Dole"}, {"id": "U2", "name": "Ada Brook"}, {"id": "U3", "name": "Ada"}]
    made = (
        (users, Call("GET", "/users", body={"users": found})),
        (shifts, Call("GET", "/shifts", body=[{"user": {"id": "U4"}}])),
    )
    cover = operation("POST", "/covers", body("user_id"))
    assert after(*made, prompt="let Bob cover it").bind(cover).params == {"user_id": "U1"}
    assert after(*made, prompt="let Ada cover it").bind(cover).params == {"user_id": "U3"}
    assert after(*made, prompt="who covers it?").bind(cover).params == {"user_id": "U4"}
    asked = (operation("GET", "/users/{user_id}"), Call("GET", "/users/U4"))
    assert after(*made, asked, prompt="let Bob cover it").bind(cover).params == {"user_id": "U4"}


def test_an_answer_of_empty_objects_is_not_read_through():
    looked: list[object] = []
    answer: object = {"id": {}}
    for _ in range(4):
        answer = [answer] * 20
    Session([Call("GET", "/x", body=answer)], [None], [{}], "", reader_of=looked.append)
    assert 0 < len(looked) <= 1000


def test_an_id_belongs_to_what_the_fields_beside_it_tell():
    crew = operation("GET", "/shows/{show_id}/crew")
    answer = {"id": 3, "cast": [{"id": 819, "born": "1969"}], "prizes": [{"id": 5, "year": 1999}]}
    called = Call("GET", "/shows/3/crew", body=answer)
    session = Session(
        [called],
        [crew],
        [{"show_id": "3"}],
        "",
        reader_of=lambda fields: ("/people/{person_id}", "person_id") if "born" in fields else None,
    )
    person = operation("GET", "/people/{person_id}/shows")
    assert session.bind(person).params == {"person_id": "819"}
    assert after((crew, called)).bind(person).missing == ("person_id",)


def test_what_stands_inside_of_an_argument_is_known_by_its_own_name() -> None:
    subscribe = operation("POST", "/subscriptions", body("items", "array", items="object"))
    price = operation("GET", "/prices/{price}")
    for sent in ({"items": [{"price": "price_9", "quantity": 1}]}, {"items[0][price]": "price_9"}):
        binding = after((subscribe, Call("POST", "/subscriptions", sent))).bind(price)
        assert binding == Binding({"price": "price_9"}, (), (), {"price": ("params", 0)})


def test_an_item_of_a_list_that_was_sent_is_taken_where_one_is_needed() -> None:
    shifts = operation("GET", "/shifts", query("schedule_ids", "array", items="string"))
    made = (shifts, Call("GET", "/shifts", {"schedule_ids": ["PI7", "PI8"]}))
    assert after(made).bind(operation("GET", "/schedules/{schedule_id}")).params == {"schedule_id": "PI7"}
    swaps = operation("GET", "/swaps", query("schedule_ids", "array", items="string"))
    assert after(made).bind(swaps).params == {"schedule_ids": ["PI7", "PI8"]}


@pytest.mark.parametrize(
    ("answer", "target", "expected"),
    [
        ({"latest_charge": "ch_2"}, CHARGE, {"charge": "ch_2"}),
        ({"charge_report": "x_2"}, operation("GET", "/ports/{port}"), {}),
        ({"target_branch": "main"}, operation("DELETE", "/branches/{branch}"), {}),
        ({"managed_clusters": [{"id": "k8"}]}, operation("GET", "/clusters/{cluster_id}"), {"cluster_id": "k8"}),
        ({"id": "sub_1", "object": "subscription"}, operation("GET", "/subscriptions/{subscription_exposed_id}"), None),
        ({"id": "pi_1", "object": "payment_intent"}, operation("GET", "/payment_intents/{intent}"), {"intent": "pi_1"}),
        ({"policy": {"uuid": "u-1"}}, operation("DELETE", "/alerts/{alert_uuid}"), {"alert_uuid": "u-1"}),
        ({"uuid": "u-1", "policy": {"uuid": "u-2"}}, operation("DELETE", "/alerts/{uuid}"), {"uuid": "u-1"}),
    ],
)
def test_an_id_is_found_under_a_kindred_name(answer: Any, target: Operation, expected: Any) -> None:
    session = after((operation("POST", "/alerts"), Call("POST", "/alerts", body=answer)))
    expected = {"subscription_exposed_id": "sub_1"} if expected is None else expected
    assert session.bind(target).params == expected


def test_another_one_of_a_kind_is_not_the_one_at_hand() -> None:
    projects, project = operation("GET", "/projects"), operation("GET", "/projects/{id}")
    found = (projects, Call("GET", "/projects", body=[{"id": 278}, {"id": 512}]))
    move = operation("POST", "/projects/{id}/move", body("to_project_id", "integer"))
    read = (project, Call("GET", "/projects/278"))
    assert after(found, read).bind(move).params == {"id": "278", "to_project_id": 512}
    assert after(read).bind(move).missing == ("to_project_id",)
    several = (projects, Call("GET", "/projects", body=[{"id": 278}, {"id": 512}, {"id": 513}]))
    assert after(several, read).bind(move).missing == ("to_project_id",)


def test_what_a_list_of_all_has_is_of_the_segment_before_and_a_person_is_taken_by_the_id() -> None:
    members = operation("GET", "/members/all")
    made = (members, Call("GET", "/members/all", body=[{"id": 18, "name": "Ada", "access_level": 10}]))
    change = Operation("PUT", "/members/{user_id}", parameters=(Parameter("user_id", "path", True, "integer"),))
    assert after(made).bind(change).params == {"user_id": 18}
    search = operation("GET", "/creators/search", query("name"))
    sought = (search, Call("GET", "/creators/search", {"name": "Ada Brook"}))
    assert after(sought).bind(operation("GET", "/creators/{creatorId}")).missing == ("creatorId",)


def test_object_field_says_what_an_id_is() -> None:
    customer = operation("GET", "/customers/{customer}")
    answer = {"id": "cus_9", "object": "customer", "name": "Jo"}
    session = after((operation("POST", "/people"), Call("POST", "/people", body=answer)))
    assert session.bind(customer).params == {"customer": "cus_9"}


@pytest.mark.parametrize(
    ("prompt", "target", "expected"),
    [
        ("close issue 42 of ada/engine", ISSUE, {"owner": "ada", "repo": "engine", "issue_number": "42"}),
        ("what about order #W2378156?", ORDER, {"order_id": "#W2378156"}),
        ("I am mei_davis_8935 and want my data", USER, {"user_id": "mei_davis_8935"}),
        ("refund charge ch_123", REFUND, {"charge": "ch_123"}),
        ("show ch_123", CHARGE, {"charge": "ch_123"}),
        ("list the closed issues of ada/engine", ISSUES, {"owner": "ada", "repo": "engine", "state": "closed"}),
        ("Who directed The Dark Knight?", SEARCH, {"query": "The Dark Knight"}),
        ('look for "blue velvet"', SEARCH, {"query": "blue velvet"}),
        (
            'comment "works for me" on issue 3 of ada/engine',
            COMMENT,
            {"owner": "ada", "repo": "engine", "issue_number": "3", "body": "works for me"},
        ),
    ],
)
def test_prompt_gives_typed_values(prompt: str, target: Operation, expected: dict[str, Any]) -> None:
    binding = after(prompt=prompt).bind(target)
    assert binding.params == expected
    assert set(binding.origins.values()) == {("prompt", -1)}


@pytest.mark.parametrize(
    ("prompt", "parameter", "expected"),
    [
        ("since yesterday", query("since", format="date-time"), "2025-05-05T00:00:00Z"),
        ("from May 3rd, 2024 on", query("start_date", format="date"), "2024-05-03"),
        ("between 2024-01-01 and 2024-02-01", query("end_date", format="date"), "2024-02-01"),
        ("mail ada@example.com", query("email"), "ada@example.com"),
        ("a room 9-12 May 2026", query("check_in"), "2026-05-09"),
        ("a room from 9 to 12 May 2026", query("check_out", format="date"), "2026-05-12"),
        ("leave July 3-7, 2023", query("LeaveEndDate"), "2023-07-07"),
        ("you are Ada, born 12.04.1988, and come on 3 May 2026", query("birthDate"), "1988-04-12"),
        ("you are Ada, born 12.04.1988, and come on 3 May 2026", query("date", format="date"), "2026-05-03"),
        ("found my card, +31 6 22334455", query("phone"), "+31622334455"),
        ("home games of the Lakers in March 2024", query("keyword"), "Lakers"),
        ("results from the last 3 days", query("days", "integer"), 3),
        ("a chili under 45 mins", query("maxMinutes", "integer"), 45),
        ("the byes of 2023", query("season"), "2023"),
        ("food near 37.7786, -122.3893", query("lat", "number"), 37.7786),
        ("food near 37.7786, -122.3893", query("lng", "number"), -122.3893),
        ("about 2,000 calories", query("calories", "integer"), 2000),
        ("I live in zip code 80217", query("zip"), "80217"),
        ("I live in Denver, 80217", query("zip"), "80217"),
        ("You are Mei Davis in Denver", query("last_name"), "Davis"),
        ("a new user Tom Reyes wants a list", query("firstName"), "Tom"),
        ("You are mei_davis_8935", query("first_name"), "Mei"),
        ("You are mei_davis_8935, sign up", body("last_name", required=False), "Davis"),
        ("pay $12.50", body("amount", "integer", description="in cents"), 1250),
        ("id 123e4567-e89b-12d3-a456-426614174000", query("id", format="uuid"), "123e4567-e89b-12d3-a456-426614174000"),
    ],
)
def test_typed_span_takes_the_form_the_parameter_declares(prompt: str, parameter: Parameter, expected: Any) -> None:
    session = after(prompt=prompt, today=datetime.date(2025, 5, 6))
    assert session.bind(operation("POST", "/things", parameter)).params == {parameter.name: expected}


@pytest.mark.parametrize(
    ("prompt", "target", "expected"),
    [
        ("more like 715415 please", operation("GET", "/recipes/{id}/similar"), {"id": "715415"}),
        ("what about task 1205561234098761?", operation("GET", "/tasks/{task_gid}"), {"task_gid": "1205561234098761"}),
        (
            "look into page b55c9c91-384d-452b-81db-d1ef79372b75",
            operation("GET", "/v1/blocks/{id}"),
            {"id": "b55c9c91-384d-452b-81db-d1ef79372b75"},
        ),
        (
            "planner of account lena_k, hash 7f1c2ab9",
            operation("GET", "/planner/{username}", query("hash")),
            {"username": "lena_k", "hash": "7f1c2ab9"},
        ),
        (
            "accept dispute 5039911720",
            operation("POST", "/accept", query("payment_dispute_id")),
            {"payment_dispute_id": "5039911720"},
        ),
        ("order label was se-91230007", operation("GET", "/labels/{label_id}"), {"label_id": "se-91230007"}),
        (
            "cut stream aA02skpHXoLrbQm49qIz",
            operation("GET", "/live/{STREAM_ID}"),
            {"STREAM_ID": "aA02skpHXoLrbQm49qIz"},
        ),
        ("what does @NASA say", operation("GET", "/users/by/{username}"), {"username": "NASA"}),
        ("mark order 12-08472-90113 as sent", operation("GET", "/orders/{orderId}"), {"orderId": "12-08472-90113"}),
    ],
)
def test_an_id_of_any_form_goes_where_it_belongs(prompt: str, target: Operation, expected: dict[str, Any]) -> None:
    assert after(prompt=prompt).bind(target).params == expected


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ("why did the last deploy of docs-aurora fail?", operation("GET", "/deploys/{deploy_id}")),
        ("rename the field in project 1206001122334455", operation("GET", "/workspaces/{workspace_gid}")),
        ("compare 715415 with 715416", operation("GET", "/recipes/{id}")),
        ("it is 7f1c2ab9", operation("GET", "/orders", query("api_key"))),
        ("journey on 14 May 2024", operation("GET", "/journeys", query("from"))),
        ("order 40 bags of coffee", operation("GET", "/orders/{order_id}")),
        ("call me on +49 30 5550123", operation("GET", "/accounts/{account_id}")),
        ("born 6 June 1966", operation("POST", "/moves", body("to_store_id"))),
        ("a room 30-31 February 2024", operation("GET", "/rooms", query("check_in"))),
        ("sell the LED strip", operation("POST", "/answers", body("shipping_query_id"))),
        ("who gave over 45 minutes", operation("GET", "/things", query("maxMinutes", "integer"))),
    ],
)
def test_what_another_thing_is_named_by_stays_missing(prompt: str, target: Operation) -> None:
    assert after(prompt=prompt).bind(target).params == {}


def test_an_id_that_nothing_names_is_not_taken_after_a_call() -> None:
    made = (operation("GET", "/workspaces"), Call("GET", "/workspaces"))
    assert after(made, prompt="look at 715415").bind(operation("GET", "/recipes/{id}")).missing == ("id",)


def test_json_is_guessed_where_a_format_must_be_chosen() -> None:
    target = operation("GET", "/weeks", query("format", enum=("xml", "json"), default="xml"))
    assert after().bind(target) == Binding({"format": "json"}, (), ("format",), {"format": ("default", -1)})


def test_settings_of_the_last_call_stay_and_texts_do_not() -> None:
    pages = operation(
        "GET",
        "/things",
        query("per_page", "integer", required=False),
        query("sort", enum=("up", "down"), required=False),
        query("q", required=False),
    )
    made = (pages, Call("GET", "/things", {"per_page": 50, "sort": "up", "q": "blue"}))
    binding = after(made).bind(pages)
    assert binding.params == {"per_page": 50, "sort": "up"}
    assert set(binding.origins.values()) == {("params", 0)}
    note = operation("POST", "/notes", body("text", required=False), body("pinned", "boolean", required=False))
    assert after((note, Call("POST", "/notes", {"text": "hi", "pinned": True}))).bind(note).params == {}


def test_what_two_operations_shared_is_what_the_session_is_about() -> None:
    zone = query("zone", required=False)
    hosts, disks = operation("GET", "/hosts", zone), operation("GET", "/disks", zone)
    made = [(hosts, Call("GET", "/hosts", {"zone": "eu-1"})), (disks, Call("GET", "/disks", {"zone": "eu-1"}))]
    networks = operation("GET", "/networks", zone)
    assert after(*made[:1]).bind(networks).params == {}
    assert after(*made).bind(networks).params == {"zone": "eu-1"}
    moved = (disks, Call("GET", "/disks", {"zone": "us-2"}))
    assert after(*made, moved).bind(networks).params == {}


def test_an_optional_id_of_the_last_call_stays_for_a_read() -> None:
    hooks = operation("GET", "/hooks", query("site_id", required=False), query("id", required=False))
    forms = operation("GET", "/forms", query("site_id", required=False), query("id", required=False))
    made = (hooks, Call("GET", "/hooks", {"site_id": "s9", "id": "h1"}))
    assert after(made).bind(forms).params == {"site_id": "s9"}


def test_a_plain_setting_comes_from_the_last_call_and_a_new_text_does_not() -> None:
    target = operation("POST", "/shipments", body("state"), body("message"))
    made = (operation("POST", "/orders"), Call("POST", "/orders", {"state": "TX", "message": "hi"}))
    assert after(made).bind(target) == Binding({"state": "TX"}, ("message",), (), {"state": ("params", 0)})


def test_the_id_of_another_resource_does_not_limit_the_scope() -> None:
    members = operation("POST", "/lists/{id}/members", body("user_id"))
    made = (members, Call("POST", "/lists/77/members", {"user_id": "5"}))
    pin = operation("POST", "/users/{id}/pinned_lists", body("list_id"))
    assert after(made, prompt="user 5").bind(pin).params == {"id": "5", "list_id": "77"}


@pytest.mark.parametrize(
    ("value", "parameter", "expected"),
    [
        ("Open", query("state", enum=("open", "closed")), "open"),
        ("merged", query("state", enum=("open", "closed")), None),
        (["a", "B"], query("tags", "array", items="string", enum=("a", "b")), ["a", "b"]),
        (["a", "c"], query("tags", "array", items="string", enum=("a", "b")), None),
        ("7", query("page", "integer", minimum=1, maximum=5), None),
        ("3", query("page", "integer", minimum=1, maximum=5), 3),
    ],
)
def test_a_value_keeps_to_the_literals_and_bounds_of_its_schema(
    value: Any, parameter: Parameter, expected: Any
) -> None:
    assert fit(value, parameter) == expected


def test_a_literal_stays_as_the_client_writes_it() -> None:
    assert fit("JSON", query("format", enum=("json", "xml")), was_sent=True) == "JSON"


def test_a_repeated_write_goes_to_the_next_thing_with_the_same_details() -> None:
    move = operation("POST", "/change_order_address", body("order_id"), body("city"), body("country"))
    session = after(
        (ORDER, Call("GET", "/get_order_details", {"order_id": "#W11"})),
        (ORDER, Call("GET", "/get_order_details", {"order_id": "#W22"})),
        (move, Call("POST", "/change_order_address", {"order_id": "#W22", "city": "Austin", "country": "USA"})),
    )
    assert session.bind(move).params == {"order_id": "#W11", "city": "Austin", "country": "USA"}


def test_what_was_searched_for_is_not_searched_for_again() -> None:
    games = operation("GET", "/games", query("search", required=False))
    made = (games, Call("GET", "/games", {"search": "Celeste"}))
    assert after(prompt="what else did the makers of Celeste do?").bind(games).params == {"search": "Celeste"}
    assert after(made, prompt="what else did the makers of Celeste do?").bind(games).params == {}


def test_an_id_the_prompt_names_beats_the_history() -> None:
    session = after((ISSUE, Call("GET", "/repos/ada/engine/issues/7")), prompt="comment on issue 42")
    assert session.bind(COMMENT).params == {"owner": "ada", "repo": "engine", "issue_number": "42"}


def test_second_order_of_the_prompt_follows_the_first() -> None:
    session = after(
        (ORDER, Call("GET", "/get_order_details", {"order_id": "#W11"})), prompt="check orders #W11 and #W22"
    )
    assert session.bind(ORDER).params == {"order_id": "#W22"}


def test_a_read_is_not_repeated_as_it_was() -> None:
    made = (ORDER, Call("GET", "/get_order_details", {"order_id": "#W11"}))
    assert after(made).bind(ORDER) == Binding({}, ("order_id",), (), {})
    listed = (USER, Call("GET", "/get_user_details", {"user_id": "u_1"}, body={"orders": ["#W11", "#W22"]}))
    assert after(listed, made).bind(ORDER).params == {"order_id": "#W22"}


def test_reading_again_after_a_write_keeps_the_value() -> None:
    cancel = operation("POST", "/cancel_pending_order", body("order_id"))
    session = after(
        (ORDER, Call("GET", "/get_order_details", {"order_id": "#W11"})),
        (cancel, Call("POST", "/cancel_pending_order", {"order_id": "#W11"})),
    )
    assert session.bind(ORDER).params == {"order_id": "#W11"}


def test_what_is_new_may_refer_to_what_was_just_read() -> None:
    binding = after((CHARGE, Call("GET", "/charges/ch_123"))).bind(REFUND)
    assert binding.params == {"charge": "ch_123"}
    assert binding.origins == {"charge": ("path", 0)}


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "ch_1", "object": "charge", "customer": {"id": "cus_2"}},
        {"charge": {"id": "ch_1"}},
        {"object": "list", "data": [{"id": "ch_1", "object": "charge"}]},
        [{"id": "ch_1", "object": "charge"}],
    ],
)
def test_what_is_new_may_refer_to_the_only_thing_that_was_answered_with(answer: Any) -> None:
    charges = operation("GET", "/charges")
    assert after((charges, Call("GET", "/charges", body=answer))).bind(REFUND).params == {"charge": "ch_1"}
    bill = operation("POST", "/bills", body("customer", required=False))
    assert after((charges, Call("GET", "/charges", body=answer))).bind(bill).params == {}


def test_what_is_new_refers_to_none_of_several() -> None:
    charges = operation("GET", "/charges")
    answer = {"data": [{"id": "ch_1", "object": "charge"}, {"id": "ch_2", "object": "charge"}]}
    assert after((charges, Call("GET", "/charges", body=answer))).bind(REFUND).params == {}


def test_headers_and_cookies_are_never_filled() -> None:
    secrets = (Parameter("user_id", "header", required=True), Parameter("session", "cookie", required=True))
    session = after((USER, Call("GET", "/get_user_details", {"user_id": "u_1", "session": "s"})))
    assert session.bind(operation("GET", "/orders", *secrets)) == Binding({}, ("user_id", "session"), (), {})


def test_a_header_is_missing_where_nothing_gives_it() -> None:
    def header(name: str, **more: Any) -> Parameter:
        return Parameter(name, "header", **{"required": True, "type": "string"} | more)

    given = (
        header("Authorization"),
        header("accept"),
        header("Content-Type"),
        header("X-Api-Key", is_key=True),
        header("X-Version", enum=("2026-01-01",)),
        header("X-Locale", default="en"),
        header("X-Trace", required=False),
    )
    binding = after().bind(
        operation("POST", "/orders", *given, header("Idempotency-Key"), body("note", required=False))
    )
    assert (binding.params, binding.missing) == ({}, ("Idempotency-Key",))


def test_a_setting_in_a_path_is_no_id_of_the_word_before_it() -> None:
    sort = Parameter("sort", "path", required=True, type="string", enum=("likes", "new"))
    listed = Operation(method="GET", path="/movies/{id}/comments/{sort}", parameters=(sort,))
    like = operation("POST", "/comments/{id}/like")
    assert after((listed, Call("GET", "/movies/x/comments/likes"))).bind(like).missing == ("id",)


def test_a_credential_is_what_calls_were_given_and_never_missing() -> None:
    token = query("token", description="Authentication token. Requires scope: `users:read`")
    users, talks = operation("GET", "/users", token), operation("GET", "/talks", token)
    assert after(prompt="token ab12cd34").bind(users) == Binding({}, (), (), {})
    assert after((users, Call("GET", "/users", {"token": "x1"}))).bind(talks).params == {"token": "x1"}
    keyed = operation("GET", "/users", query("key", is_key=True))
    assert after(prompt="key ab12cd34").bind(keyed) == Binding({}, (), (), {})
    revoke = operation("POST", "/tokens/revoke", body("token", description="The OAuth token."))
    assert after().bind(revoke).missing == ("token",)


def test_what_query_and_body_both_need_is_missing_once() -> None:
    assert after().bind(operation("PUT", "/follow", query("ids"), body("ids"))).missing == ("ids",)


def test_an_everyday_word_of_the_prompt_is_no_body_of_a_read() -> None:
    people = body("body", enum=("people", "films"), required=False)
    assert after(prompt="what do people say?").bind(operation("GET", "/comments", people)).params == {}


def test_default_of_a_required_parameter_is_marked_as_a_guess() -> None:
    pages = operation("GET", "/things", query("page", "integer", default=1), query("limit", "integer", required=False))
    assert after().bind(pages) == Binding({"page": 1}, (), ("page",), {"page": ("default", -1)})


def test_values_are_cast_to_the_declared_type_or_left_out() -> None:
    assert coerce("42", query("n", "integer")) == 42
    assert coerce("4.5", query("n", "number")) == 4.5
    assert str(coerce("639620", query("n", "number"))) == "639620"
    assert coerce("nan", query("n", "number")) is None
    assert coerce({}, query("n", "number")) is None
    assert coerce(True, query("n", "integer")) is None
    assert coerce("Ada", body("owner", "object")) is None
    assert coerce("True", query("n", "boolean")) is True
    assert coerce("perhaps", query("n", "boolean")) is None
    assert coerce("x", query("n", "array", items="string")) == ["x"]
    assert coerce("x", query("n", "array", items="integer")) is None
    assert coerce(["a", "b"], query("n")) is None


def test_bind_is_the_session_for_one_operation() -> None:
    call = Call("GET", "/repos/ada/engine")
    assert Session([call], [REPO], [{"owner": "ada", "repo": "engine"}], "").bind(ISSUES).params == {
        "owner": "ada",
        "repo": "engine",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(prompt=st.text(max_size=300), answer=JSON, sent=st.dictionaries(st.text(max_size=12), JSON, max_size=4))
def test_whatever_was_sent_binds_without_an_error_and_invents_nothing(
    prompt: str, answer: Any, sent: dict[str, Any]
) -> None:
    session = after(
        (PETS, Call("POST", "/pets", sent, body=answer)),
        (None, Call("GET", "/elsewhere/12/x")),
        prompt=prompt,
        today=datetime.date(2025, 5, 6),
    )
    everything = f"{prompt}\n{json.dumps([answer, sent], ensure_ascii=False)}\n/elsewhere/12/x"
    for target in (PET, COMMENT, REFUND, ORDER, SEARCH, LIMITED):
        binding = session.bind(target)
        needed = {p.name for p in target.parameters if p.required}
        assert needed == (needed & set(binding.params)) | set(binding.missing)
        declared = {p.name: p for p in target.parameters}
        for name, value in binding.params.items():
            assert name in declared
            assert fit(value, declared[name], was_sent=True) == value  # as the schema wants it
            if isinstance(value, str):
                assert value in everything or json.dumps(value, ensure_ascii=False)[1:-1] in everything


@pytest.mark.parametrize(
    "text",
    [
        "1-1" * 1400,
        "1,000" * 800,
        "1.25,1.25" * 450,
        "a1" * 2048,
        "I am a_b_" * 450,
        "Ab " * 1300,
        "live in " * 500,
        "a-" * 2048,
        "A " * 2048,
        "a_1 " * 1024,
        "1-" * 2048,
        "'a" * 2048,
        "#" * 4096,
        "a@a." * 1024,
        "I am Ab " * 500,
        "I am" + " " * 4000,
        "AB12 " * 800,
        "zip A1A " * 500,
        "A-1" * 1400,
        "AA/1/" * 800,
        "a1." * 1300,
        "1." * 2048,
        "turn " * 800,
        "no a " * 800,
    ],
)
def test_hostile_prompts_take_no_longer_than_their_length(text: str) -> None:
    after(prompt=text).bind(ORDER)  # quadratic patterns would hang here


def test_arguments_of_recorded_github_calls(eval_folder) -> None:  # type: ignore[no-untyped-def]
    """Given the right operation: at least the floor of what is known, hardly anything that was not seen."""
    catalog = parse_spec((eval_folder / "specs" / "github.json").read_bytes(), load("local").parse)
    matcher, knows = Matcher(catalog), Entities(catalog).knows
    operations = {operation.key: operation for operation in catalog.operations}
    right = said = gold = whole = paths = invented = 0
    for line in (eval_folder / "dev" / "github_pygithub.jsonl").read_text().splitlines():
        case = json.loads(line)
        calls = [Call(*event["endpoint"].split(" ", 1), event["params"] or {}) for event in case["events"]]
        matches = [matcher.match(call.method, call.path) for call in calls]
        target = operations[case["next"]]
        session = Session(
            calls,
            [None if match is None else catalog.operations[match.index] for match in matches],
            [{} if match is None else match.path_params for match in matches],
            case["prompt"] or "",
            knows=knows,
        )
        binding = session.bind(target)
        wanted = {name: _plain(value) for name, value in case["next_params"].items()}
        given_ = {name: _plain(value) for name, value in binding.params.items()}
        right += sum(wanted.get(name) == value for name, value in given_.items())
        said, gold = said + len(given_), gold + len(wanted)
        in_path = [p.name for p in target.parameters if p.location == "path"]
        paths += bool(in_path)
        whole += bool(in_path) and all(given_.get(name) == wanted.get(name) for name in in_path)
        seen = json.dumps([case["prompt"], case["events"]], ensure_ascii=False)
        declared = {p.name: (*p.enum, p.default, p.example) for p in target.parameters}
        invented += sum(v not in seen and binding.params[n] not in declared[n] for n, v in given_.items())
    f1 = 2 * right / (said + gold)
    assert f1 >= 0.70, f1
    assert whole / paths >= 0.655, whole / paths
    assert invented / said <= 0.002, invented / said


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    ("sent", "asked"),
    [({"rooms": 2}, "room_id"), ({"rooms": "2"}, "room_id"), ({"guests": 2}, "guest_name"), ({"forks": 4}, "fork_id")],
)
def test_how_many_there_are_is_nobodys_id_or_name(sent: dict[str, Any], asked: str) -> None:
    search = operation("GET", "/search", *(query(name, required=False) for name in sent))
    for made in (Call("GET", "/search", sent), Call("GET", "/search", body=sent)):
        assert asked not in after((search, made)).bind(operation("POST", "/hold", body(asked))).params
    several = Call("GET", "/search", {"room_ids": [5]})
    assert after((search, several)).bind(operation("GET", "/rooms/{room_id}")).params == {"room_id": "5"}
