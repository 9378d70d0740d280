"""The count of replies that name what is not in the spec: it finds those that do, whatever else is written."""

from __future__ import annotations

import dataclasses
import json

import msgspec

from loadtest.generator import queries
from loadtest.replies import ask, faults
from pipeline.catalog.parse import parse_spec
from pipeline.settings import load, packaged_spec
from pipeline.types import Catalog, Proposal
from tests.fakes import ScriptedEngine

SETTINGS = load("local-vllm", generator={"model": "any", "mode": "choose", "options": 24, "max_model_len": 8192})


def billing() -> Catalog:
    path = packaged_spec("billing")
    assert path is not None
    return parse_spec(path.read_bytes(), SETTINGS.parse)


def test_a_pick_outside_what_was_offered_or_the_spec_is_a_fault() -> None:
    catalog = billing()
    query, grounded = queries(catalog, SETTINGS, 1)[0]
    good = Proposal(((0, {}, ""),), "any")
    if faults(good, query, grounded, SETTINGS, catalog):  # the first one destroys and was not offered
        good = Proposal(((1, {}, ""),), "any")
    assert faults(good, query, grounded, SETTINGS, catalog) == []
    index = good.picks[0][0]
    assert faults(Proposal(((999, {}, ""),), "any"), query, grounded, SETTINGS, catalog) == ["999 was not offered"]
    assert "takes no" in faults(Proposal(((index, {"no such": 1}, ""),), "any"), query, grounded, SETTINGS, catalog)[0]
    strange = msgspec.structs.replace(grounded.candidates[index], operation="GET /nowhere")
    candidates = (*grounded.candidates[:index], strange, *grounded.candidates[index + 1 :])
    elsewhere = dataclasses.replace(grounded, candidates=candidates)
    assert faults(good, query, elsewhere, SETTINGS, catalog) == ["GET /nowhere is not in the spec"]


async def test_every_reply_is_counted_and_what_it_names_is_of_the_spec() -> None:
    catalog = billing()
    picks = [{"i": 1, "params": {"charge": "ch_1", "DROP": "x"}, "why": ""}, {"i": 77, "params": {}, "why": ""}]
    engine = ScriptedEngine(json.dumps({"picks": picks}), "no JSON", json.dumps({"picks": picks})[:-30])
    replies, came, wrong = await ask(engine, SETTINGS, catalog, 200)
    assert replies.total() >= 200
    assert {kind.split(",")[0] for kind in replies} == {"free", "in the grammar"}
    assert came["1 picks"] > 0
    assert wrong == []
    assert [bool(call["schema"]) for call in engine.calls[:4]] == [True, False, True, False]
