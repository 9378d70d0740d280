"""A proposal, or a GeneratorError in time: late, hung, broken and garbage engines included."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
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
    }
    return settings.load("local", generator=base | changes).generator


def picks(*numbers: int) -> str:
    return json.dumps({"picks": [{"i": n, "params": {"name": "Rex"}, "why": "as wished"} for n in numbers]})


async def test_proposal_names_places_of_the_shortlist() -> None:
    engine = ScriptedEngine(picks(1, 24, 25))
    proposal = await Proposer(generator(), engine).propose(QUERY, grounded(), 1.0)
    # Options are sorted by path, the shortlist here runs the other way: option 1 of 24 is candidate 23.
    assert proposal.picks == ((23, {"name": "Rex"}, "as wished"), (0, {"name": "Rex"}, "as wished"))
    assert proposal.model == "tiny"
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


async def test_a_reply_that_names_nothing_is_asked_for_once_more_and_then_dropped() -> None:
    engine = ScriptedEngine("I would refund it.", picks(2))
    proposal = await Proposer(generator(), engine).propose(QUERY, grounded(), 5.0)
    assert proposal.picks == ((22, {"name": "Rex"}, "as wished"),)
    first, second = engine.calls
    assert second["messages"][:2] == first["messages"]  # so that the prefix cache holds
    assert [m["role"] for m in second["messages"][2:]] == ["assistant", "user"]
    assert second["schema"] == first["schema"]
    replies = 4 + len(picks(2).split())
    assert proposal.tokens_out == replies
    engine = ScriptedEngine("no", "no", picks(2))
    with pytest.raises(GeneratorError, match="names no offered operation"):
        await Proposer(generator(), engine).propose(QUERY, grounded(), 5.0)
    assert len(engine.calls) == 2


async def test_a_reply_that_names_nothing_is_paid_though_the_second_was_refused_without_any_work() -> None:
    engine = ScriptedEngine("I would refund it.", GeneratorError("the endpoint refused the request with status 429"))
    with pytest.raises(GeneratorError, match="429") as refused:
        await Proposer(generator(), engine).propose(QUERY, grounded(), 5.0)
    assert len(engine.calls) == 2
    assert refused.value.asked


async def test_no_second_reply_without_the_time_for_it() -> None:
    engine = ScriptedEngine("no", picks(2), delay_s=0.4)
    with pytest.raises(GeneratorError, match="names no offered operation"):
        await Proposer(generator(), engine).propose(QUERY, grounded(), 0.7)
    assert len(engine.calls) == 1


async def test_criticised_picks_go_back_once_and_good_ones_stay() -> None:
    shortlist = grounded()
    # Option 1 is the last of the shortlist; option 23 is candidate 1, which needs what nothing gives.
    needing = msgspec.structs.replace(shortlist.candidates[1], missing_params=("owner",))
    shortlist = dataclasses.replace(shortlist, candidates=(shortlist.candidates[0], needing, *shortlist.candidates[2:]))
    engine = ScriptedEngine(picks(23, 24, 1), picks(22, 24, 1))
    made = await Proposer(generator(critique=True), engine).propose(QUERY, shortlist, 5.0)
    assert [index for index, _, _ in made.picks] == [0, 2, 23]
    wrong = engine.calls[1]["messages"][-1]["content"]
    assert "POST /z29/pets needs owner, which neither the calls nor the wish give." in wrong
    assert "Neither the calls nor the wish speak for POST /z07/pets." in wrong
    assert "z30" not in wrong
    # Off by default; without a second reply the first ones stay, and what it may have cost is counted.
    engine = ScriptedEngine(picks(23, 24, 1))
    once = await Proposer(generator(), engine).propose(QUERY, shortlist, 5.0)
    assert len(once.picks) == 3
    assert len(engine.calls) == 1
    for error in (GeneratorError("not up"), GeneratorError("died", asked=True)):
        failing = ScriptedEngine(picks(23, 24, 1), error)
        made = await Proposer(generator(critique=True), failing).propose(QUERY, shortlist, 5.0)
        assert len(made.picks) == 3
        added = sum(len(m["content"].encode()) for m in failing.calls[1]["messages"][2:]) if error.asked else 0
        assert made.tokens_in >= once.tokens_in + (once.tokens_in + added if error.asked else 0)
        assert made.tokens_out == once.tokens_out + (generator().max_tokens if error.asked else 0)


def liking(operation: str, bias: float) -> Any:
    """A model that finds one operation e times as likely as another, and each place `bias` less than the one before."""

    def weigh(messages: list[dict[str, str]], marks: list[str]) -> list[float]:
        listed = messages[1]["content"].split("Choose among:\n")[1].split("\n")[: len(marks)]
        assert "".join(line[0] for line in listed) == "".join(marks)
        return [(operation in line) - bias * place for place, line in enumerate(listed)]

    return weigh


async def test_weighed_options_are_free_of_the_models_favourite_places() -> None:
    for bias in (0.0, 0.5, -2.0):
        engine = ScriptedEngine(liking("POST /z20/pets", bias))
        made = await Proposer(generator(mode="logprob"), engine).propose(QUERY, grounded(), 1.0)
        assert len(engine.calls) == 2
        assert made.picks[0] == (10, {}, "")
        assert len(made.picks) == len(made.weights) == QUERY.k + 2
        e = 2.718281828
        assert made.weights[0] == pytest.approx(e / (e + 23))
        assert made.weights[1] == pytest.approx(1 / (e + 23))
        assert made.tokens_out == 2
    biased = ScriptedEngine(liking("POST /z20/pets", 0.5))
    alone = await Proposer(generator(mode="logprob", permutations=1), biased).propose(QUERY, grounded(), 1.0)
    assert alone.picks[0][0] != 10  # what the second order is for


async def test_what_a_model_thinks_of_the_places_is_learnt_from_what_it_says_of_other_queries() -> None:
    said = itertools.cycle(liking(f"POST /z{n:02}/pets", 0.5) for n in range(7, 31))
    engine = ScriptedEngine(lambda messages, marks: next(said)(messages, marks))
    proposer = Proposer(generator(mode="logprob", permutations=1), engine)
    right = []
    for n in range(240):
        made = await proposer.propose(QUERY, grounded(), 1.0)
        right.append(grounded().candidates[made.picks[0][0]].path == f"/z{7 + n % 24:02}/pets")
    assert right[:24].count(True) < 12  # the first places, whatever stands there
    assert all(right[-24:])


async def test_late_or_broken_weighing_is_a_generator_error() -> None:
    engine = ScriptedEngine([0.0] * 24, delay_s=float("inf"))
    with pytest.raises(GeneratorError, match="no reply within"):
        await Proposer(generator(mode="logprob"), engine).propose(QUERY, grounded(), 0.05)
    assert engine.cancelled == 2
    with pytest.raises(GeneratorError, match="dead"):
        await Proposer(generator(mode="logprob"), ScriptedEngine(GeneratorError("dead"))).propose(
            QUERY, grounded(), 1.0
        )


@pytest.mark.parametrize("fails_first", [True, False])
async def test_of_several_weighings_one_that_came_is_paid_though_another_failed(fails_first: bool) -> None:
    lines: list[Any] = [GeneratorError("too long"), [0.0] * 24]
    engine = ScriptedEngine(*(lines if fails_first else lines[::-1]), delay_s=0.01)
    with pytest.raises(GeneratorError, match="too long") as refused:
        await Proposer(generator(mode="logprob"), engine).propose(QUERY, grounded(), 1.0)
    assert refused.value.asked
    engine = ScriptedEngine(GeneratorError("the engine is not up"))
    with pytest.raises(GeneratorError, match="not up") as refused:
        await Proposer(generator(mode="logprob"), engine).propose(QUERY, grounded(), 1.0)
    assert not refused.value.asked


class Cards:
    """A directory of one catalog; `failing` makes it raise."""

    def __init__(self, failing: GeneratorError | None = None) -> None:
        self.asked: list[str] = []
        self._failing = failing

    async def cards(self, _: Query, about: GroundedQuery) -> tuple[Candidate, ...]:
        self.asked.append(about.digest)
        if self._failing is not None:
            raise self._failing
        return tuple(Candidate(operation=f"POST /z{i:02}/pets", summary="Tell", schema=SCHEMA) for i in range(90))


@pytest.mark.parametrize("mode", ["choose", "logprob"])
async def test_a_catalog_is_read_by_the_engine_once_before_it_opens_prompts(mode: str) -> None:
    engine = ScriptedEngine(lambda _, asked: picks(1) if mode == "choose" else [0.0] * len(asked))
    directory = Cards()
    proposer = Proposer(generator(mode=mode, overview_tokens=2000), engine, directory)
    await asyncio.gather(*(proposer.propose(QUERY, grounded(), 1.0) for _ in range(3)))
    assert directory.asked == ["sha256:0"]
    await proposer.read()
    opened = [call["messages"] for call in engine.calls if "Its operations" in call["messages"][1]["content"]]
    assert len(opened) == 1  # the proposals did not wait for it
    reading = opened[0]
    await proposer.propose(QUERY, grounded(), 1.0)
    assert directory.asked == ["sha256:0"]
    asked = engine.calls[-1]
    assert asked["messages"][0] == reading[0]
    assert asked["messages"][1]["content"].startswith(reading[1]["content"])
    assert "POST /z89/pets | Tell" in reading[1]["content"]
    if mode == "choose":  # the grammar is the catalog's, compiled when it was read
        assert asked["schema"]["properties"]["picks"]["items"]["properties"]["params"]["properties"].keys() == {"name"}
        assert next(call for call in engine.calls if call["messages"] == reading)["schema"] == asked["schema"]


async def test_a_catalog_that_cannot_be_read_costs_no_proposal_and_is_not_asked_for_at_once_again() -> None:
    directory = Cards(GeneratorError("Catalogs did not answer"))
    proposer = Proposer(generator(overview_tokens=2000), ScriptedEngine(picks(1)), directory)
    for _ in range(3):
        assert (await proposer.propose(QUERY, grounded(), 1.0)).picks
        await proposer.read()
    assert directory.asked == ["sha256:0"]


async def test_what_destroys_is_proposed_only_when_the_wish_asks_for_it() -> None:
    shortlist = grounded(8)
    candidates = [
        msgspec.structs.replace(c, destructive="cancel" if i % 2 else "") for i, c in enumerate(shortlist.candidates)
    ]
    shortlist = dataclasses.replace(shortlist, candidates=tuple(candidates))
    everything = picks(*range(1, 9))
    made = await Proposer(generator(), ScriptedEngine(everything)).propose(
        msgspec.structs.replace(QUERY, k=9), shortlist, 1.0
    )
    assert {index for index, _, _ in made.picks} == {0, 2, 4, 6}
    asked = dataclasses.replace(shortlist, intents=("cancel",))
    for changes in ({"grounded": asked}, {"holds_back": False}):
        proposer = Proposer(generator(), ScriptedEngine(everything), holds_back=changes.get("holds_back", True))
        made = await proposer.propose(msgspec.structs.replace(QUERY, k=9), changes.get("grounded", shortlist), 1.0)
        assert len(made.picks) == 8


async def test_engine_that_is_not_up_is_a_generator_error() -> None:
    engine = ScriptedEngine(GeneratorError("the engine is not up: starting"))
    with pytest.raises(GeneratorError, match="starting"):
        await Proposer(generator(), engine).propose(QUERY, grounded(), 1.0)


async def test_empty_shortlist_asks_nobody() -> None:
    engine = ScriptedEngine(picks(1))
    with pytest.raises(GeneratorError, match="nothing of the shortlist"):
        await Proposer(generator(), engine).propose(QUERY, grounded(0), 1.0)
    assert engine.calls == []


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
