"""Objects of a body: what only wraps the fields, what says which thing, moments, money; and what is left out."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.candidates.fitting import fit
from pipeline.candidates.seen import at
from pipeline.types import Call, Operation, Parameter
from tests.pipeline.candidates.test_arguments import JSON, after, body, operation

TEXT = body("subject", required=False)


def part(name: str, type: str = "string", required: bool = False, **more: Any) -> Parameter:
    return body(name, type, required, **more)


def whole(name: str, *parts: Parameter, required: bool = False, **more: Any) -> Parameter:
    return body(name, "object", required, fields=tuple(p.name for p in parts), parts=parts, **more)


INTERVAL = part("interval", required=True, enum=("month", "year"))
MONEY = part("currency_code", required=True, description="The ISO-4217 code."), part("value", required=True)
CENTS = part("amount", "integer", description="In the smallest denomination."), part("currency", description="ISO 4217")
MOMENT = part("date", format="date"), part("dateTime", format="date-time"), part("timeZone")
KEY = part("id"), part("key")
COMMENT = whole("comment", part("body"), part("public", "boolean"))
LEVELS = part("priority", enum=("urgent", "low")), part("status", enum=("open", "solved"))
TICKET = operation("POST", "/tickets", whole("ticket", part("subject", required=True), COMMENT, *LEVELS, required=True))
CHANGE = operation("PUT", "/tickets/{ticket_id}", whole("ticket", part("subject"), COMMENT, *LEVELS, required=True))
TASK = operation("POST", "/tasks", whole("data", part("name"), part("due_on", format="date"), part("notes")))
RUN = operation("POST", "/runs", whole(
    "data",
    part("type", required=True, enum=("runs",)),
    whole("attributes", part("message")),
    whole("relationships", whole("workspace", whole("data", part("type", required=True, enum=("workspaces",)),
                                                    part("id", required=True)), required=True), required=True),
    required=True,
))  # fmt: skip
EVENT = operation("POST", "/events", TEXT, *(whole(name, *MOMENT) for name in ("start", "end", "originalStartTime")))
REFUND = operation("POST", "/captures/{capture_id}/refund", whole("amount", *MONEY), part("reason"))
PAY = operation("POST", "/payments", part("note"), whole("amount_money", *CENTS), whole("tip_money", *CENTS))
ISSUE = operation("POST", "/issue", whole("fields", whole("project", *KEY, required=True),
                                          part("summary", required=True), required=True))  # fmt: skip
CUSTOMER = operation(
    "POST", "/customers", part("email"), whole("address", part("city"), part("postal_code")),
    whole("shipping_address", part("city"), part("postal_code")), whole("organizer", part("email"), part("name")),
)  # fmt: skip
SCALE = operation(
    "PUT", "/deployments/{name}/scale", whole("metadata", part("name")), whole("spec", part("replicas", "integer"))
)


@pytest.mark.parametrize(
    ("prompt", "target", "expected"),
    [
        ('urgent ticket titled "Down", subject "Down" and the comment "Help"', TICKET,
         {"ticket": {"subject": "Down", "comment": {"body": "Help"}, "priority": "urgent"}}),
        ("solved: set ticket 35436", CHANGE, {"ticket_id": "35436", "ticket": {"status": "solved"}}),
        ('add the task called "Buy catnip", due 15 March 2026', TASK,
         {"data": {"name": "Buy catnip", "due_on": "2026-03-15"}}),
        ("from 2026-07-06 to 2026-07-18", EVENT, {"start": {"date": "2026-07-06"}, "end": {"date": "2026-07-18"}}),
        ("on 2026-05-04 from 14:00 to 15:30, Europe/Berlin", EVENT, {
            "start": {"dateTime": "2026-05-04T14:00:00", "timeZone": "Europe/Berlin"},
            "end": {"dateTime": "2026-05-04T15:30:00", "timeZone": "Europe/Berlin"}}),
        ("from 2026-05-04 09:00 to 09:30", EVENT, {
            "start": {"dateTime": "2026-05-04T09:00:00Z"}, "end": {"dateTime": "2026-05-04T09:30:00Z"}}),
        ("give back 30 euros of capture 2GG279541U471931P", REFUND,
         {"capture_id": "2GG279541U471931P", "amount": {"currency_code": "EUR", "value": "30"}}),
        ("charge 25 EUR", PAY, {"amount_money": {"amount": 2500, "currency": "EUR"}}),
        ("charge $25", PAY, {"amount_money": {"amount": 2500, "currency": "USD"}}),
        ("charge 1500 JPY", PAY, {"amount_money": {"amount": 1500, "currency": "JPY"}}),
        ("a tip of 3 EUR", PAY, {"tip_money": {"amount": 300, "currency": "EUR"}}),
        ('in project OPS with the summary "It is slow"', ISSUE,
         {"fields": {"project": {"key": "OPS"}, "summary": "It is slow"}}),
        ("jo@x.org, postal code 10003", CUSTOMER, {"email": "jo@x.org", "address": {"postal_code": "10003"}}),
        ("jo@x.org, for the shipping address postal code 10003", CUSTOMER,
         {"email": "jo@x.org", "shipping_address": {"postal_code": "10003"}}),
        ("scale it to 5 replicas", SCALE, {"spec": {"replicas": 5}}),
    ],
)  # fmt: skip
def test_objects_are_made_of_what_the_prompt_says(prompt: str, target: Operation, expected: dict[str, Any]) -> None:
    assert after(prompt=prompt).bind(target).params == expected


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ("how many tickets are there?", TICKET),
        ("open a ticket", TICKET),  # a verb, not its status
        ("refund it", REFUND),
        ("an event on Main Street", EVENT),
        ('the title is "Retro"', operation("PATCH", "/events", TEXT, whole("source", part("title"), part("url")))),
        ("the next month", operation("POST", "/prices", TEXT, whole("recurring", INTERVAL))),
        ("postal code 10003", operation("POST", "/ships", *(whole(f"address_{end}", part("postal_code"), required=True)
                                                            for end in ("from", "to")))),
    ],
)  # fmt: skip
def test_what_is_not_said_of_an_object_is_left_out(prompt: str, target: Operation) -> None:
    assert after(prompt=prompt).bind(target).params == {}


def test_an_object_holds_what_calls_and_answers_had() -> None:
    read = operation("GET", "/workspaces/{workspace_id}")
    answer = {"data": {"id": "ws-8inT", "type": "workspaces", "attributes": {"name": "prod"}}}
    binding = after((read, Call("GET", "/workspaces/ws-8inT", body=answer)), prompt='the message "Rotate"').bind(RUN)
    related = {"workspace": {"data": {"type": "workspaces", "id": "ws-8inT"}}}
    assert binding.params == {"data": {"type": "runs", "attributes": {"message": "Rotate"}, "relationships": related}}
    assert list(binding.params["data"]) == ["type", "attributes", "relationships"]  # as its schema has them
    assert binding.origins == {
        "data.type": ("default", -1),
        "data.attributes.message": ("prompt", -1),
        "data.relationships.workspace.data.type": ("default", -1),
        "data.relationships.workspace.data.id": ("response", 0),
    }
    assert binding.guessed == ("data.type", "data.relationships.workspace.data.type")
    assert binding.missing == ()


def test_a_key_inside_of_what_was_sent_is_taken_again() -> None:
    made = ISSUE, Call("POST", "/issue", params={"fields": {"project": {"key": "OPS"}, "summary": "One"}})
    binding = after(made, prompt='another one with the summary "Two"').bind(ISSUE)
    assert binding.params == {"fields": {"project": {"key": "OPS"}, "summary": "Two"}}
    assert binding.origins["fields.project.key"] == ("params", 0)


def test_what_an_object_lacks_is_named_inside_of_it_and_the_object_where_nothing_is_known() -> None:
    assert after(prompt='a comment saying "Help"').bind(TICKET).missing == ("ticket.subject",)
    assert after().bind(TICKET).missing == ("ticket",)
    assert after(prompt="in project OPS").bind(ISSUE).missing == ("fields.summary",)
    assert after().bind(TASK).missing == ()


def test_what_is_so_far_is_not_set_again() -> None:
    read = operation("GET", "/tickets/{ticket_id}")
    ticket = {"id": 7, "subject": "Help", "status": "open", "comment": {"body": "x"}}
    binding = after((read, Call("GET", "/tickets/7", body={"ticket": ticket}))).bind(CHANGE)
    assert binding.params == {"ticket_id": "7"}
    assert binding.missing == ("ticket",)


def test_a_constant_alone_is_given_only_where_nothing_else_must_be() -> None:
    kind = part("type", required=True, enum=("workspaces",))
    attributes = whole("attributes", part("name", required=True), required=True)
    assert after().bind(operation("POST", "/workspaces", whole("data", kind, attributes, required=True))).params == {}
    assert after().bind(operation("POST", "/workspaces", whole("data", kind, required=True))).params == {
        "data": {"type": "workspaces"}
    }
    assert after().bind(operation("POST", "/workspaces", part("name"), whole("data", kind))).params == {}


def test_the_currency_of_an_earlier_call_goes_before_a_plain_dollar_sign() -> None:
    read = operation("GET", "/payments/{payment_id}")
    call = Call("GET", "/payments/p1", body={"payment": {"id": "p1", "currency": "AUD"}})
    binding = after((read, call), prompt="charge $10").bind(PAY)
    assert binding.params == {"amount_money": {"amount": 1000, "currency": "AUD"}}


def test_a_dotted_name_is_an_argument_of_its_own_or_a_part() -> None:
    params = {"a.b": 1, "ticket": {"comment": {"body": "x"}}}
    assert (at(params, "a.b"), at(params, "ticket.comment.body")) == (1, "x")
    assert (at(params, "ticket.body.x"), at(params, "ticket.comment.body.more"), at(params, "")) == (None, None, None)


PARTS = st.recursive(
    st.builds(
        part,
        st.sampled_from(
            ["id", "name", "type", "value", "currency", "dateTime", "email", "project", "note", "on", "a.b", "_"]
        ),
        st.sampled_from(["string", "integer", "number", "boolean", "any"]),
        st.booleans(),
        enum=st.sampled_from([(), (), ("open",), ("one", "two")]),
        default=st.sampled_from([None, None, "one"]),
    ),
    lambda inner: st.builds(
        lambda name, parts, required: whole(name, *{p.name: p for p in parts}.values(), required=required),
        st.sampled_from(["data", "ticket", "amount", "start", "project", "comment", "fields", "_"]),
        st.lists(inner, min_size=1, max_size=4),
        st.booleans(),
    ),
    max_leaves=12,
)
SAID = st.lists(
    st.sampled_from(
        ['"Two words"', "project OPS", "30 euros", "on 4 May 2026", "ticket 35436", "jo@x.org", "note", "open"]
    )
)


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(PARTS, max_size=4),
    said=SAID,
    answer=JSON,
    sent=st.dictionaries(st.text(max_size=8), JSON, max_size=3),
)
def test_whatever_an_object_is_made_of_fits_its_schema_and_was_seen(
    parts: list[Parameter], said: list[str], answer: Any, sent: dict[str, Any]
) -> None:
    target = operation("POST", "/tickets/{ticket_id}", *{p.name: p for p in parts}.values())
    prompt = ", ".join(said)
    call = Call("POST", "/tickets/7", params=sent, body=answer)
    session = after((target, call), prompt=prompt, today=datetime.date(2026, 1, 1))
    binding = session.bind(target)

    def check(parameter: Parameter, value: Any, place: str) -> None:
        assert binding.origins.keys() & {place} or any(name.startswith(f"{place}.") for name in binding.origins)
        if not parameter.parts:
            assert fit(value, parameter, was_sent=True) == value
            kind = binding.origins.get(place, ("",))[0]
            if kind == "prompt" and isinstance(value, str) and value not in map(str, parameter.enum):
                told = f"{prompt} 2026-05-04 2026-05-04T00:00:00Z EUR".lower()
                assert re.sub(r"\W", "", value.lower()) in re.sub(r"\W", "", told)
            return
        declared = {p.name: p for p in parameter.parts}
        assert isinstance(value, dict)
        assert value
        assert value.keys() <= declared.keys()
        lacks = {name for name, p in declared.items() if p.required} - value.keys()
        assert all(f"{place}.{name}" in binding.missing for name in lacks)
        for name, inner in value.items():
            check(declared[name], inner, f"{place}.{name}")

    for parameter in target.parameters:
        if parameter.name in binding.params and not (parameter.parts and parameter.name in binding.origins):
            check(parameter, binding.params[parameter.name], parameter.name)
    for name in binding.missing:
        assert at(binding.params, name) is None
        head = name.split(".", 1)[0]
        assert head in {p.name for p in target.parameters} or name in {p.name for p in target.parameters}
