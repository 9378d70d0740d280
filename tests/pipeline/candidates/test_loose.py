"""Ids of a prompt against those of the session: which is meant, whose it is, what is not destroyed by mistake."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.candidates.arguments import Session
from pipeline.candidates.fitting import coerce
from pipeline.types import Call, Operation, Parameter
from tests.pipeline.candidates.test_arguments import after, body, operation, query, values_of

CHARGE = operation("GET", "/charges/{charge}")
DISPUTE = Operation("GET", "/disputes/{dispute}", parameters=(Parameter("dispute", "path", True, example="dp_123"),))
REFUND = operation("POST", "/refunds", body("charge"))
CUSTOMER = operation("GET", "/customers/{customer}")
ORDER = operation("GET", "/orders/{order_id}")
BUILD = operation("GET", "/builds/{build_id}")
DEPLOYMENT = operation("GET", "/deployments/{deployment_id}")
ISSUE = operation("GET", "/projects/{project}/issues/{issue}")
COMMENT = operation("POST", "/projects/{project}/issues/{issue}/comments", body("body"))


def destroys(method: str, path: str, *parameters: Parameter) -> Operation:
    made = operation(method, path, *parameters)
    return Operation(method=method, path=path, parameters=made.parameters, destructive="delete")


DELETE = destroys("DELETE", "/projects/{project}/issues/{issue}")
DROP = destroys("DELETE", "/customers/{customer}")
CANCEL_ORDER = destroys("POST", "/orders/{order_id}/cancel")
CANCEL_BUILD = destroys("POST", "/builds/{build_id}/cancel")
CANCEL = destroys("POST", "/deployments/{deployment_id}/cancel")
READ = {CHARGE: "/charges/", CUSTOMER: "/customers/", ORDER: "/orders/", BUILD: "/builds/", DEPLOYMENT: "/deployments/"}
ONE, TWO = "0b7c9a52-1f3e-4d7a-9c55-2f60d1a7e001", "7d1f4c80-88aa-4b6f-8a3e-91c2b3d4e002"


def reading(of: Operation, *ids: str, prompt: str) -> Session:
    return after(*((of, Call("GET", READ[of] + value)) for value in ids), prompt=prompt)


@pytest.mark.parametrize(
    ("read", "ids", "prompt", "target", "expected"),
    [
        (CHARGE, ("ch_456",), "refund ch_123", REFUND, {"charge": "ch_123"}),
        (CHARGE, ("ch_123", "ch_456"), "refund ch_123", REFUND, {"charge": "ch_123"}),
        (CHARGE, ("ch_456",), "refund it", REFUND, {"charge": "ch_456"}),
        (CHARGE, ("ch_123", "ch_456"), "compare ch_123 and ch_456, then refund", REFUND, {"charge": "ch_456"}),
        (CUSTOMER, ("cus_NffrFeUfN",), "delete cus_9s6XKzkN", DROP, {"customer": "cus_9s6XKzkN"}),
        (ORDER, (ONE, TWO), f"cancel {ONE}", CANCEL_ORDER, {"order_id": ONE}),
        (ORDER, (TWO,), f"cancel {ONE}", CANCEL_ORDER, {"order_id": ONE}),
        (BUILD, ("8101",), "cancel 8102", CANCEL_BUILD, {"build_id": "8102"}),
        (BUILD, ("8101",), "cancel it in 10 minutes", CANCEL_BUILD, {"build_id": "8101"}),
        (BUILD, ("8101",), "cancel 8102 and 8103", CANCEL_BUILD, {"build_id": "8102"}),
        (DEPLOYMENT, ("dep_77",), "cancel dep_78", CANCEL, {"deployment_id": "dep_78"}),
    ],
)
def test_the_id_that_the_prompt_says_goes_before_the_session_s(
    read: Operation, ids: tuple[str, ...], prompt: str, target: Operation, expected: dict[str, Any]
) -> None:
    assert reading(read, *ids, prompt=prompt).bind(target).params == expected


@pytest.mark.parametrize(
    ("prompt", "target", "issue"),
    [
        ("delete #15", DELETE, "15"),
        ("delete 15 please", DELETE, "15"),
        ("delete #15 and stay on page 2", DELETE, "15"),
        ("delete the 3 labels of it", DELETE, "12"),
        ("say that it duplicates #15", COMMENT, "12"),
    ],
)
def test_a_bare_number_is_an_id_where_a_verb_acts_on_it(prompt: str, target: Operation, issue: str) -> None:
    session = after((ISSUE, Call("GET", "/projects/web/issues/12")), prompt=prompt)
    assert session.bind(target).params == {"project": "web", "issue": issue}


@pytest.mark.parametrize("prompt", ["clean up behind #15", "not this but #15"])
def test_nothing_is_destroyed_where_the_prompt_may_mean_another(prompt: str) -> None:
    binding = after((ISSUE, Call("GET", "/projects/web/issues/12")), prompt=prompt).bind(DELETE)
    assert (binding.params, binding.missing) == ({"project": "web"}, ("issue",))


def test_what_was_cancelled_does_not_pass_to_what_was_read_then() -> None:
    done = (CANCEL, Call("POST", "/deployments/dep_77/cancel"))
    session = after(done, (DEPLOYMENT, Call("GET", "/deployments/dep_80")), prompt="cancel dep_77")
    assert session.bind(CANCEL).params == {}


def test_an_id_that_goes_to_another_argument_replaces_none() -> None:
    assign = operation("POST", "/orders/{order_id}/assign", body("user_id", format="uuid"))
    assert reading(ORDER, TWO, prompt=f"assign {ONE}").bind(assign).params == {"order_id": TWO, "user_id": ONE}
    under = destroys("DELETE", "/customers/{customer}/orders/{order_id}")
    read = operation("GET", "/customers/{customer}/orders/{order_id}")
    session = after((read, Call("GET", f"/customers/{TWO}/orders/{TWO}")), prompt=f"delete {ONE}")
    assert session.bind(under).params == {"customer": TWO, "order_id": ONE}
    owned = after((CUSTOMER, Call("GET", f"/customers/{ONE}")), (ORDER, Call("GET", f"/orders/{TWO}")), prompt=ONE)
    assert owned.bind(CANCEL_ORDER).params == {"order_id": TWO}


def test_an_optional_reference_is_to_what_the_prompt_says() -> None:
    pay = operation("POST", "/refunds", body("invoice", required=False))
    read = (operation("GET", "/invoices/{invoice}"), Call("GET", f"/invoices/{TWO}"))
    assert after(read, prompt=f"refund {ONE}").bind(pay).params == {"invoice": ONE}
    assert after(read, prompt="refund it").bind(pay).params == {"invoice": TWO}


def test_what_people_call_a_thing_is_no_other_id() -> None:
    orders = {"orders": [{"id": 45078, "name": "#1001"}, {"id": 45079, "name": "#1002"}]}
    made = (operation("GET", "/orders"), Call("GET", "/orders", body=orders))
    assert after(made, prompt="cancel order #1002").bind(CANCEL_ORDER).params == {"order_id": "45079"}


def test_an_id_of_another_entity_is_left_out() -> None:
    assert reading(CHARGE, "ch_456", prompt="get ch_123").bind(DISPUTE).missing == ("dispute",)
    assert reading(DEPLOYMENT, "dep_77", prompt="cancel dep_78").bind(CANCEL_BUILD).missing == ("build_id",)
    example = Parameter("build_id", "path", True, example="bld_5120")
    build = Operation("GET", "/builds/{build_id}", parameters=(example,))
    assert after(prompt="show bld_77").bind(build).params == {"build_id": "bld_77"}
    read = (CUSTOMER, Call("GET", "/customers/cus_1"))
    cards = operation("GET", "/customers/{customer}/cards")
    assert after(read, prompt="cards for ch_123").bind(cards).params == {"customer": "cus_1"}
    user = operation("GET", "/users", query("user_id", example="mei_davis_8935"))
    assert after(read, prompt="I am yusuf_rossi_9620").bind(user).params == {"user_id": "yusuf_rossi_9620"}


def test_a_catalog_tells_whose_prefix_it_is() -> None:
    session = Session([], [], [], "get zz_123", is_own=lambda value, path, name: "zebra" in path)
    example = {"required": True, "example": "dp_123"}
    for noun, expected in (("zebra", {"zebra": "zz_123"}), ("dispute", {})):
        target = Operation("GET", f"/{noun}s/{{{noun}}}", parameters=(Parameter(noun, "path", **example),))
        assert session.bind(target).params == expected


def test_no_whole_number_is_longer_than_the_wire_carries() -> None:
    for value, expected in ((2**63 - 1, 2**63 - 1), (2**63, None), (-(2**63), -(2**63)), (-(2**63) - 1, None)):
        assert coerce(value, query("n", "integer")) == expected
        assert coerce(str(value), query("n", "integer")) == expected


@pytest.mark.parametrize(("status", "expected"), [(None, "e1"), (201, "e1"), (404, None), (500, None)])
def test_what_an_error_says_of_itself_is_no_id(status: int | None, expected: str | None) -> None:
    charges = operation("POST", "/charges")
    call = Call("POST", "/charges", body={"id": "e1", "object": "charge"}, status=status)
    assert after((charges, call)).bind(CHARGE).params.get("charge") == expected
    assert after((charges, call)).bind(operation("POST", "/notes", body("charge", required=False))).params == (
        {"charge": "e1"} if expected else {}
    )


def test_what_the_path_has_is_not_missing_in_the_body() -> None:
    account, change = operation("GET", "/accounts/{id}"), operation("PUT", "/accounts/{id}", body("id"), body("name"))
    binding = after((account, Call("GET", "/accounts/a7"))).bind(change)
    assert (binding.params, binding.missing) == ({"id": "a7"}, ("name",))


@pytest.mark.parametrize("value", [":charge", "\x00", "ch\x1b1", ":charge1"])
def test_a_placeholder_of_a_past_path_is_no_value(value: str) -> None:
    call = Call("GET", f"/charges/{value}")
    session = Session([call], [CHARGE], [values_of(CHARGE, call.path)], "")
    assert session.bind(CHARGE).params == {}
    assert session.bind(REFUND).params == {}
    assert after((None, call)).bind(CHARGE).params == {}


ORDERS = operation("GET", "/orders/{order_id}")
DROP = Operation("DELETE", "/orders/{order_id}", destructive="delete", parameters=ORDERS.parameters)


def orders(method: str, *ids: int) -> list[tuple[Operation, Call]]:
    called = ORDERS if method == "GET" else DROP
    return [(called, Call(method, f"/orders/{id}")) for id in ids]


def test_of_alternatives_none_is_taken_nor_another_destroyed() -> None:
    session = after((ISSUE, Call("GET", "/projects/web/issues/12")), prompt="delete #15 or #16")
    assert session.bind(DELETE).missing == ("issue",)


@pytest.mark.parametrize(
    "prompt", ["cancel 8102 and 8103", "please cancel #8102 and #8103", "cancel 8102, then 8103", "cancel 8102/8103"]
)
def test_of_several_ids_the_first_one_is_taken_that_was_not_called_with(prompt: str) -> None:
    for made, expected in (
        ([], "8102"),
        (orders("GET", 7001), "8102"),
        (orders("GET", 8102), "8102"),
        (orders("GET", 8102) + orders("DELETE", 8102), "8103"),
        (orders("DELETE", 8102) + orders("GET", 7001), "8103"),
        (orders("DELETE", 7001), "8102"),
    ):
        assert after(*made, prompt=prompt).bind(DROP).params == {"order_id": expected}, made


@pytest.mark.parametrize("prompt", ["cancel 8102 and 8103", "cancel 8102"])
def test_when_all_are_done_no_other_id_of_the_session_takes_their_place(prompt: str) -> None:
    made = [*orders("DELETE", 8102, 8103), *orders("GET", 7001)]
    assert after(*made, prompt=prompt).bind(DROP).missing == ("order_id",)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("cancel 8102", {"order_id": "8102"}),
        ("cancel 81020 and 81030", {"order_id": "81020"}),
        ("cancel 12", {}),
        ("move 8102 to 8103", {}),
        ("cancel my order of 1200 cups and 2400 plates", {}),
        ("cancel change 81020", {}),
    ],
)
def test_ids_that_stand_alone_are_one_or_one_list(prompt: str, expected: dict[str, str]) -> None:
    assert after(prompt=prompt).bind(DROP).params == expected


@pytest.mark.parametrize(
    ("prompt", "target", "expected"),
    [
        ("delete issue WEB-15", operation("DELETE", "/issue/{issueIdOrKey}"), {"issueIdOrKey": "WEB-15"}),
        ("comments of issue WEB-15", operation("GET", "/issue/{issueIdOrKey}/comments"), {"issueIdOrKey": "WEB-15"}),
        ("open WEB-15", operation("GET", "/issue/{idOrKey}"), {"idOrKey": "WEB-15"}),
        ("show issue WEB-15", operation("GET", "/project/{projectIdOrKey}"), {}),
        ("board WEB-15", operation("GET", "/boards", query("board_id", "integer")), {}),
        ("issue WEB-15", operation("GET", "/issues", query("number", "integer")), {}),
        (
            "issue WEB-15",
            operation("GET", "/issues", query("number", "integer", description="Number of the issue within its key.")),
            {"number": 15},
        ),
        (
            "open WEB-15",
            operation("GET", "/issues", query("number", "integer", description="15 of WEB-15")),
            {"number": 15},
        ),
        (
            "issue WEB-15",
            operation("GET", "/issues", query("issue_number_in_key", "integer")),
            {"issue_number_in_key": 15},
        ),
    ],
)
def test_a_key_is_taken_whole_unless_its_number_is_asked_for(
    prompt: str, target: Operation, expected: dict[str, Any]
) -> None:
    for made in (
        ([], [(BUILD, Call("GET", "/builds/8101"))]) if prompt.startswith(("issue", "delete", "show")) else ([],)
    ):
        assert after(*made, prompt=prompt).bind(target).params == expected


@pytest.mark.parametrize("prompt", ["compare my two orders, #W2702727 and #W8268610", "orders #W2702727, #W8268610"])
def test_a_list_of_ids_is_of_the_noun_before_it_only(prompt: str) -> None:
    assert after(prompt=prompt).bind(operation("GET", "/users", query("user_id"))).params == {}
    assert (
        after(prompt=prompt).bind(operation("POST", "/swaps", body("item_ids", "array", items="string"))).params == {}
    )
    assert after(prompt=prompt).bind(ORDER).params == {"order_id": "#W2702727"}
