"""A proposal, or a GeneratorError in time: late, hung, broken and garbage engines included."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline import settings
from pipeline.candidates.propose import Proposer
from pipeline.errors import GeneratorError
from pipeline.types import Call, Candidate, GroundedQuery, Parameter, Query, Source
from tests.fakes import ScriptedEngine

SCHEMA = (Parameter("name", "body", type="string"),)
QUERY = Query(Source(name="billing"), calls=(Call("GET", "/customers/cus_9"),), prompt="make a pet named Rex", k=3)


def grounded(count: int = 30, summary: str = "Do it") -> GroundedQuery:
    candidates = tuple(
        Candidate(operation=f"POST /z{count - i:02}/pets", summary=summary, schema=SCHEMA) for i in range(count)
    )
    return GroundedQuery(
        digest="sha256:0",
        lineage="billing",
        title="Billing",
        operations=count,
        previous=(),
        unmatched=(0,),
        candidates=candidates,
        block=np.zeros((count, 1), np.float16),
    )


def generator(**changes: Any) -> settings.Generator:
    base = {
        "enabled": True,
        "model": "/models/tiny",
        "usd_per_million_tokens_in": 1.0,
        "usd_per_million_tokens_out": 2.0,
    }
    return settings.load("local", generator=base | changes).generator


def picks(*numbers: int) -> str:
    return json.dumps({"picks": [{"i": n, "params": {"name": "Rex"}, "why": "as wished"} for n in numbers]})


async def test_proposal_names_places_of_the_shortlist_and_its_cost() -> None:
    engine = ScriptedEngine(picks(1, 24, 25))
    proposal = await Proposer(generator(), engine).propose(QUERY, grounded(), 1.0)
    # Options are sorted by path, the shortlist here runs the other way: option 1 of 24 is candidate 23.
    assert proposal.picks == ((23, {"name": "Rex"}, "as wished"), (0, {"name": "Rex"}, "as wished"))
    assert proposal.model == "tiny"
    assert proposal.cost_usd == pytest.approx((proposal.tokens_in + 2 * proposal.tokens_out) / 1e6)
    asked = engine.calls[0]
    assert asked["schema"]["properties"]["picks"]["maxItems"] == QUERY.k + 2
    assert asked["schema"]["properties"]["picks"]["items"]["properties"]["i"]["enum"][-1] == 24
    assert asked["max_tokens"] == generator().max_tokens


async def test_late_engine_is_given_up_at_the_deadline_and_its_request_ended() -> None:
    engine = ScriptedEngine(picks(1), delay_s=float("inf"))
    started = time.monotonic()
    with pytest.raises(GeneratorError, match="no reply within"):
        await Proposer(generator(), engine).propose(QUERY, grounded(), 0.05)
    assert time.monotonic() - started < 5
    assert engine.cancelled == 1


async def test_caller_who_goes_away_ends_the_request() -> None:
    engine = ScriptedEngine(picks(1), delay_s=float("inf"))
    task = asyncio.create_task(Proposer(generator(), engine).propose(QUERY, grounded(), 60))
    while not engine.calls:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled == 1


@pytest.mark.parametrize(
    "text", ["", "I would call POST /z01/pets", '{"picks": []}', '{"picks": [{"i": 99}]}', "{" * 5000]
)
async def test_garbage_is_a_generator_error(text: str) -> None:
    with pytest.raises(GeneratorError, match="names no offered operation"):
        await Proposer(generator(), ScriptedEngine(text)).propose(QUERY, grounded(), 1.0)


async def test_engine_that_is_not_up_is_a_generator_error() -> None:
    engine = ScriptedEngine(GeneratorError("the engine is not up: starting"))
    with pytest.raises(GeneratorError, match="starting"):
        await Proposer(generator(), engine).propose(QUERY, grounded(), 1.0)


async def test_empty_shortlist_asks_nobody() -> None:
    engine = ScriptedEngine(picks(1))
    with pytest.raises(GeneratorError, match="empty"):
        await Proposer(generator(), engine).propose(QUERY, grounded(0), 1.0)
    assert engine.calls == []


async def test_cost_limit_of_the_query_is_held_before_asking() -> None:
    engine = ScriptedEngine(picks(1))
    query = msgspec.structs.replace(QUERY, max_cost_usd=0.0001)
    with pytest.raises(GeneratorError, match="over the limit"):
        await Proposer(generator(), engine).propose(query, grounded(), 1.0)
    assert engine.calls == []
    assert (
        await Proposer(generator(usd_per_million_tokens_out=0.0, usd_per_million_tokens_in=0.0), engine).propose(
            query, grounded(), 1.0
        )
    ).cost_usd == 0


async def test_fewer_options_are_offered_to_a_small_context() -> None:
    engine = ScriptedEngine(picks(1))
    await Proposer(generator(max_model_len=1024), engine).propose(QUERY, grounded(summary="word " * 40), 1.0)
    offered = engine.calls[0]["schema"]["properties"]["picks"]["items"]["properties"]["i"]["enum"]
    assert 4 <= len(offered) < 24


async def test_no_more_picks_are_asked_for_than_the_tokens_can_hold() -> None:
    engine = ScriptedEngine(picks(1))
    await Proposer(generator(max_tokens=120), engine).propose(msgspec.structs.replace(QUERY, k=50), grounded(), 1.0)
    assert engine.calls[0]["schema"]["properties"]["picks"]["maxItems"] == 3


async def test_concurrent_proposals_keep_to_their_own_query() -> None:
    def echo(messages: list[dict[str, str]], _: dict[str, Any]) -> str:
        number = int(messages[1]["content"].split("Wish: pick ")[1].split("\n")[0])
        return picks(number)

    proposer = Proposer(generator(), ScriptedEngine(echo, delay_s=0.01))
    queries = [msgspec.structs.replace(QUERY, prompt=f"pick {n}") for n in range(1, 25)]
    made = await asyncio.gather(*(proposer.propose(query, grounded(), 5.0) for query in queries))
    assert [proposal.picks[0][0] for proposal in made] == [24 - n for n in range(1, 25)]
