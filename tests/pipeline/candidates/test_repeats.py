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
JOBS = operation("GET", "/runs/{run_id}/jobs", Parameter("page", "query", type="integer"))
REPORT = operation("GET", "/runs/{run_id}.{format}")
read, listed = (RUN, Call("GET", "/runs/r-12")), (JOBS, Call("GET", "/runs/r-12/jobs"))


@pytest.mark.parametrize(("one", "made"), [(RUN, (read,)), (RUN, (read, listed)), (JOBS, (read, listed))])
def test_what_was_read_is_not_read_again(one: Operation, made: tuple[Made, ...]) -> None:
    binding = after(*made).bind(one)
    assert (binding.params, binding.missing) == ({}, ("run_id",))


@pytest.mark.parametrize(
    ("one", "made"),
    [
        (RUN, ((START, Call("POST", "/runs")), read)),  # until it is done
        (RUN, (read, (STOP, Call("POST", "/runs/r-12/stop")))),  # what became of it
        (JOBS, (read, (JOBS, Call("GET", "/runs/r-12/jobs", {"page": 1})))),  # the next page
        (JOBS, (read,)),
        (STOP, ((STOP, Call("POST", "/runs/r-12/stop")),)),
    ],
)
def test_what_may_come_again_keeps_its_path(one: Operation, made: tuple[Made, ...]) -> None:
    assert after(*made).bind(one).params["run_id"] == "r-12"


def test_what_the_prompt_names_is_read_again() -> None:
    assert after(read, prompt="show run r-12").bind(RUN).params == {"run_id": "r-12"}


def test_a_part_of_a_segment_is_a_setting() -> None:
    assert after((REPORT, Call("GET", "/runs/r-12.json"))).bind(REPORT).params["format"] == "json"
