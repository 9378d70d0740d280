"""One id of the prompt is of one argument only: the one whose noun, prefix or place it fits best."""

from __future__ import annotations

import re

import pytest

from pipeline.candidates import once
from pipeline.candidates.arguments import Session
from pipeline.candidates.loose import Ids
from pipeline.types import Operation, Parameter


def operation(method: str, path: str, *parameters: Parameter) -> Operation:
    named = [Parameter(name, "path", required=True, type="string") for name in re.findall(r"\{(\w+)\}", path)]
    return Operation(method, path, parameters=(*named, *parameters))


SHARE = operation("POST", "/hooks/{hook_id}/deliveries/{delivery_id}/retry")
CASE = operation("PUT", "/domains/{domain_id}/cases/{case_id}")
EXTRA = operation("DELETE", "/reservations/{reservation_id}/extras/{extra_code}")
PLAN = operation("POST", "/preview", *(Parameter(name, "body", True, "string") for name in ("contract_id", "plan_id")))
COPY = operation("POST", "/mails", *(Parameter(name, "body", True, "string") for name in ("email", "reply_email")))


@pytest.mark.parametrize(
    ("one", "prompt", "params"),
    [
        (SHARE, "retry what failed of hook hk_601", {"hook_id": "hk_601"}),
        (CASE, "close case cs-90121", {"case_id": "cs-90121"}),
        (EXTRA, "no child seat on reservation RR-61200", {"reservation_id": "RR-61200"}),
        (PLAN, "preview it for contract C-88201", {"contract_id": "C-88201"}),
        (COPY, "write to ana@mail.example", {"email": "ana@mail.example", "reply_email": "ana@mail.example"}),
    ],
)
def test_an_id_is_of_one_argument(one: Operation, prompt: str, params: dict[str, str]) -> None:
    assert Session([], [], [], prompt).bind(one).params == params


def test_what_lost_its_value_is_missing() -> None:
    assert Session([], [], [], "close case cs-90121").bind(CASE).missing == ("domain_id",)


def test_a_path_may_declare_what_it_does_not_hold() -> None:
    declared = Operation(
        "GET", "/cases", parameters=tuple(Parameter(n, "path", True, "string") for n in ("a_id", "b_id"))
    )
    bound = {"a_id": ("cs-90121", "prompt", -1), "b_id": ("cs-90121", "prompt", -1)}
    assert once.spare(declared, bound, Ids("", {}, {}, {})) == []
