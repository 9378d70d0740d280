"""docs/api.md says what is: its routes, fields and errors are the code's, and its examples are answered so.

Those of its section Models are asked in `test_models.py`, where there is a registry.
"""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from pipeline import errors
from pipeline.errors import OpenSesameError
from serve import documents, outcomes, schemas
from serve.calls import Wire
from serve.envelope import status_of
from serve.identity import ACCESS
from serve.metrics import TAGS
from serve.suggest import SuggestRequest
from tests import api_examples
from tests.documented import every
from tests.serve.conftest import App
from train import gate

PAGE = api_examples.PAGE.read_text()
EXAMPLES = list(api_examples.examples(PAGE))


def rows(head: str) -> list[list[str]]:
    """Cells of the table whose first head cell is `head`."""
    lines = PAGE[PAGE.index(f"| {head} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


async def test_every_example_is_answered_as_shown(app: App) -> None:
    asked = [example for example in EXAMPLES if example.section != "Models"]
    assert len(asked) > 12
    await _ready(app)
    for example in asked:
        await api_examples.ask(app.client, example)


def test_every_request_and_every_answer_is_part_of_an_example() -> None:
    assert len(EXAMPLES) == len(every("docs/api.md", "curl"))
    shown = [example.answer for example in EXAMPLES if example.answer is not None]
    assert [json.loads(text) for text in every("docs/api.md", "json")] == shown


async def _ready(app: App) -> None:
    """Wait until the vectors of the examples' catalogs are made: what is shown has them."""
    upload = next(example for example in EXAMPLES if example.path == "/catalogs/shop" and example.body)
    await api_examples.ask(app.client, upload)
    async with asyncio.timeout(60):
        for name in ("billing", "offers", "shop"):
            while not (await app.client.get(f"/catalogs/{name}")).json()["embedded"]:
                await asyncio.sleep(0.05)
        while (await app.client.get("/ready")).status_code != 200:
            await asyncio.sleep(0.05)


def test_every_route_is_told_with_its_scopes_and_has_an_example() -> None:
    told = {tuple(named(route)[0].split(" ", 1)): tuple(named(scopes)) for route, scopes, _ in rows("route")}
    assert told == ACCESS
    shown = {f"{example.method} {example.path}" for example in EXAMPLES}
    for method, path in ACCESS:
        if path != "/metrics":
            pattern = re.compile(f"{method} {re.sub('{[a-z_]+}', '[^/]+', path)}$")
            assert any(pattern.match(line) for line in shown), f"{method} {path}"


@pytest.mark.parametrize(
    ("head", "model"),
    [
        ("field", schemas.PredictRequest),
        ("field of `POST /feedback`", schemas.FeedbackRequest),
        ("field of `POST /events`", outcomes.EventsRequest),
        ("field of `POST /suggest`", SuggestRequest),
        ("field of `POST /log_event`", outcomes.LogEventRequest),
    ],
)
def test_every_field_is_told(head: str, model: type[Wire]) -> None:
    told = [name for row in rows(head) for name in named(row[0])]
    assert sorted(told) == sorted(model.model_fields)


def test_every_field_of_an_answer_is_told() -> None:
    told = {name for row in rows("of a prediction") for name in named(row[0])}
    assert told == set(documents.PredictionOut.__annotations__) - {"id", "title"}  # of propositions only
    told = {name for row in rows("of `metadata`") for name in named(row[0])}
    assert told == set(documents.Metadata.__annotations__)


def test_the_report_of_the_gate_is_the_codes() -> None:
    told = next(example.answer for example in EXAMPLES if example.path == "/models/2")["gate"]
    assert set(told) == set(gate.Report.__struct_fields__)
    assert {key for one in told["conditions"] for key in one} == set(gate.Condition.__struct_fields__)


def test_what_a_field_is_counted_as_is_the_codes() -> None:
    by_field = {named(row[0])[0]: row[1] for row in rows("field of `POST /suggest`")}
    for field in ("context_type", "device"):
        assert tuple(named(by_field[field])) == TAGS[field]


def _tree(root: type[OpenSesameError]) -> list[type[OpenSesameError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]


def test_every_error_that_has_a_status_is_told() -> None:
    known = {"method_not_allowed": 405, "error": 500}
    for kind in _tree(OpenSesameError):
        if status_of(kind) != 500 and kind is not errors.SpecError:  # its two kinds are what is raised
            known[kind.slug] = status_of(kind)
    assert {named(slug)[0]: int(status) for slug, status, _ in rows("slug")} == known
