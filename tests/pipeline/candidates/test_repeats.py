"""A call that comes again: what it keeps of the last one, and when it lacks what it is about."""

from __future__ import annotations

import re

import pytest

from pipeline.candidates.arguments import Session
from pipeline.types import Call, Operation, Parameter

Made = tuple[Operation, Call]


def operation(method: str, path: str, *parameters: Parameter) -> Operation:
    named = [Parameter(name, "path", required=True, type="string") for name in re.findall(r"\{(\w+)\}", path)]
    return Operation(method, path, parameters=(*named, *parameters))


def after(*made: Made, prompt: str = "") -> Session:
    values = []
    for one, call in made:
        found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/.]+)", one.path), call.path)
        values.append(found.groupdict() if found else {})
    return Session([call for _, call in made], [one for one, _ in made], values, prompt)


RUN = operation("GET", "/runs/{run_id}")
START = operation("POST", "/runs")
STOP = operation("POST", "/runs/{run_id}/stop")
NOTE = operation("POST", "/runs/{run_id}/notes", Parameter("text", "body", True, "string"))
JOBS = operation("GET", "/runs/{run_id}/jobs", Parameter("page", "query", type="integer"))
REPORT = operation("GET", "/runs/{run_id}.{format}")
read, listed = (RUN, Call("GET", "/runs/r-12")), (JOBS, Call("GET", "/runs/r-12/jobs"))
stopped = STOP, Call("POST", "/runs/r-12/stop")


@pytest.mark.parametrize(
    ("one", "made"), [(RUN, (read,)), (RUN, (read, listed)), (JOBS, (read, listed)), (STOP, (stopped,))]
)
def test_what_was_done_is_not_done_again(one: Operation, made: tuple[Made, ...]) -> None:
    binding = after(*made).bind(one)
    assert (binding.params, binding.missing) == ({}, ("run_id",))


@pytest.mark.parametrize(
    ("one", "made"),
    [
        (RUN, ((START, Call("POST", "/runs")), read)),  # until it is done
        (RUN, (read, stopped)),  # what became of it
        (JOBS, (read, (JOBS, Call("GET", "/runs/r-12/jobs", {"page": 1})))),  # the next page
        (JOBS, (read,)),
        (NOTE, ((NOTE, Call("POST", "/runs/r-12/notes", {"text": "slow"})),)),
    ],
)
def test_what_may_come_again_keeps_its_path(one: Operation, made: tuple[Made, ...]) -> None:
    assert after(*made).bind(one).params["run_id"] == "r-12"


def test_what_the_prompt_names_is_read_again() -> None:
    assert after(read, prompt="show run r-12").bind(RUN).params == {"run_id": "r-12"}


@pytest.mark.parametrize(
    ("prompt", "done", "following"),
    [
        ("stop run-a, run-b and run-c, they hang", ("run-a",), "run-b"),
        ("stop run-a, run-b and run-c, they hang", ("run-a", "run-b"), "run-c"),
        ("stop Nightly Build and Weekly Build", ("Nightly Build",), "Weekly Build"),
        ("stop 'alpha' or 'beta' for me", ("alpha",), "beta"),
        ("stop run-a and tell me", ("run-a",), None),
        ("stop alpha and check", ("alpha",), None),
        ("İ" * 60 + " restart worker-a and worker-b", ("worker-a",), "worker-b"),  # longer in lower case
    ],
)
def test_what_the_prompt_lists_comes_next(prompt: str, done: tuple[str, ...], following: str | None) -> None:
    made = [(STOP, Call("POST", f"/runs/{run}/stop")) for run in done]
    assert after(*made, prompt=prompt).bind(STOP).params.get("run_id") == following


def test_a_part_of_a_segment_is_a_setting() -> None:
    assert after((REPORT, Call("GET", "/runs/r-12.json"))).bind(REPORT).params["format"] == "json"


LISTED = operation(
    "GET",
    "/contacts",
    *(Parameter(name, "query", type=kind) for name, kind in (("company", "string"), ("page", "integer"))),
    *(Parameter(name, "query", type="integer") for name in ("offset", "limit")),
)


@pytest.mark.parametrize(
    ("sent", "prompt", "expected"),
    [
        ({"company": "Acme", "page": 1}, "next page", {"company": "Acme", "page": 2}),
        ({"company": "Acme", "page": "3"}, "show the next page of contacts", {"company": "Acme", "page": 4}),
        ({"page": 3}, "back to the previous page", {"page": 2}),
        ({"offset": 50, "limit": 50}, "next page please", {"offset": 100, "limit": 50}),
        ({"offset": 0, "limit": 50}, "previous page", {"limit": 50}),
    ],
)
def test_the_next_page_is_of_the_same_list(sent: dict, prompt: str, expected: dict) -> None:
    bound = after((LISTED, Call("GET", "/contacts", sent)), prompt=prompt).bind(LISTED).params
    assert {name: bound.get(name) for name in expected} == expected
