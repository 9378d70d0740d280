"""What is offered to who says little: fewer than three calls, no prompt, or neither."""

from __future__ import annotations

import msgspec
import pytest

from pipeline import settings
from pipeline.local import LocalStages
from pipeline.predict import predict
from pipeline.types import Call, Query, Source

SETTINGS = settings.load()
EVERYTHING_ALLOWED = SETTINGS.model_copy(
    update={"guardrails": SETTINGS.guardrails.model_copy(update={"destructive": "allow"})}
)
EXAMPLES = [Source(name=name) for name in ("billing", "issue-tracker", "deployments", "media-player")]


def _spec(*operations: tuple[str, str, str]) -> Source:
    paths: dict[str, dict[str, object]] = {}
    for method, path, operation_id in operations:
        names = [s[1:-1] for s in path.split("/") if s.startswith("{")]
        parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]
        paths.setdefault(path, {})[method] = {"operationId": operation_id, "parameters": parameters, "responses": {}}
    return Source(
        data=msgspec.json.encode({"openapi": "3.0.0", "info": {"title": "T", "version": "1"}, "paths": paths})
    )


SHOP = _spec(
    ("delete", "/carts", "emptyCarts"),
    ("post", "/orders", "createOrder"),
    ("get", "/orders/{order_id}", "getOrder"),
    ("patch", "/orders/{order_id}", "updateOrder"),
    ("post", "/orders/{order_id}/cancel", "cancelOrder"),
    ("delete", "/orders/{order_id}", "deleteOrder"),
    ("get", "/orders", "listOrders"),
    ("get", "/products", "listProducts"),
    ("post", "/auth/login", "login"),
    ("post", "/auth/logout", "logout"),
)


@pytest.fixture(scope="module")
def stages() -> LocalStages:
    return LocalStages(SETTINGS)


async def shown(stages: LocalStages, query: Query, loaded: settings.Settings = SETTINGS, habit=None) -> list[str]:
    memory = None if habit is None else _Began(habit)
    return [p.candidate.operation for p in (await predict(query, stages, memory, loaded)).predictions]


class _Began:
    def __init__(self, habit: dict[str, float]) -> None:
        self._habit = habit

    async def recall(self, query: Query):
        return type("Recall", (), {"digest": "", "accepted": frozenset(), "habit": self._habit})()

    async def remember(self, impression) -> None: ...

    def new_id(self) -> str:
        return "id-1"


async def test_an_api_with_a_log_in_is_entered_by_it(stages: LocalStages):
    assert (await shown(stages, Query(source=SHOP)))[:3] == ["POST /auth/login", "GET /orders", "GET /products"]
    answer = await predict(Query(source=SHOP), stages, None, SETTINGS)
    assert "signs in" in answer.predictions[0].candidate.reason
    assert "habit" not in answer.predictions[0].candidate.sources


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda s: s.name)
async def test_with_nothing_known_lists_and_look_ups_come_first(stages: LocalStages, source: Source):
    answer = await predict(Query(source=source, k=4), stages, None, SETTINGS)
    assert {p.candidate.method for p in answer.predictions} == {"GET"}
    assert not answer.predictions[0].candidate.missing_params
    assert sum("{" in p.candidate.path for p in answer.predictions) <= 1
    assert answer.predictions[0].confidence < 0.5
    assert answer.model_version == "cold-start"


@pytest.mark.parametrize("source", [*EXAMPLES, SHOP], ids=[*(e.name for e in EXAMPLES), "shop"])
async def test_nothing_that_destroys_is_a_way_in_even_where_it_is_allowed(stages: LocalStages, source: Source):
    everything = await predict(Query(source=source, k=50), stages, None, EVERYTHING_ALLOWED)
    first = everything.predictions[: max(3, len(everything.predictions) // 3)]
    assert not [p.candidate.operation for p in first if p.candidate.destructive]


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        (EXAMPLES[0], ["/v1/customers"]),
        (EXAMPLES[0], ["/v1/customers", "/v1/customers/cus_1"]),
        (EXAMPLES[1], ["/projects"]),
        (EXAMPLES[1], ["/projects", "/projects/p1/issues"]),
    ],
)
async def test_one_or_two_calls_are_enough_for_a_harmless_next_one(
    stages: LocalStages, source: Source, paths: list[str]
):
    query = Query(source=source, calls=tuple(Call("GET", path) for path in paths), k=10)
    answer = await predict(query, stages, None, SETTINGS)
    assert len(answer.predictions) == 10
    assert not [p for p in answer.predictions if p.candidate.destructive]
    assert answer.model_version != "cold-start"
    first = paths[0].rsplit("/", 1)[-1]
    assert any(first in p.candidate.path for p in answer.predictions[:3])  # it goes on where the session is


async def test_after_signing_in_the_session_still_has_to_open(stages: LocalStages):
    calls = (Call("POST", "/auth/login", params={"user": "ana"}),)
    answer = await predict(Query(source=SHOP, calls=calls), stages, None, SETTINGS)
    assert [p.candidate.operation for p in answer.predictions][:2] == ["GET /orders", "GET /products"]
    assert "POST /auth/login" not in [p.candidate.operation for p in answer.predictions[:4]]
    assert answer.grounded.previous == ("POST /auth/login",)


async def test_calls_of_no_operation_count_as_none(stages: LocalStages):
    lost = (Call("GET", "/nowhere"), Call("POST", "/else"))
    assert await shown(stages, Query(source=SHOP, calls=lost)) == await shown(stages, Query(source=SHOP))
    prompt = "show me all products"
    asked = await shown(stages, Query(source=SHOP, prompt=prompt))
    assert asked == await shown(stages, Query(source=SHOP, prompt=prompt, calls=lost))
    assert asked[0] == "GET /products"


async def test_what_earlier_sessions_began_with_comes_to_the_top(stages: LocalStages):
    habit = {"GET /orders/{order_id}": 30.0}
    answer = await predict(Query(source=SHOP, k=3), stages, _Began(habit), SETTINGS)
    best = {p.candidate.operation: p.candidate.reason for p in answer.predictions}
    assert "earlier sessions began with it" in best["GET /orders/{order_id}"].lower()


async def test_a_blank_prompt_is_none(stages: LocalStages):
    assert await shown(stages, Query(source=SHOP, prompt="  \n")) == await shown(stages, Query(source=SHOP))
