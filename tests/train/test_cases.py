"""Cases and sessions are read as they are written, and what is neither is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.errors import BadRequest
from pipeline.types import Source
from train.cases import VARIANTS, Event, Response, query_of, read_cases
from train.predictors import Specs


@pytest.fixture(scope="module")
def examples(examples_folder: Path) -> Specs:
    return Specs(settings.load(), examples_folder, meaning=False)


def _case(**fields: object) -> dict:
    line = {"suite": "s", "case": "s/1", "variant": "history_only", "spec": "x.json", "next": "GET /x", "events": []}
    return {**line, "seq": "q", "pos": 0, **fields}


def test_a_case_becomes_the_query_it_asks(tmp_path: Path) -> None:
    answer = {"status": 200, "body": {"id": "b3"}}
    event = {"ts": "2025-01-01T00:00:00Z", "endpoint": "GET /ships/7", "params": {"limit": 2}, "response": answer}
    (tmp_path / "a.jsonl").write_text(json.dumps(_case(events=[event], prompt="dock it")) + "\n\n")
    (case,) = read_cases([tmp_path])
    assert case.events[0].response == Response(200, {"id": "b3"})
    assert case.cluster == "s/1"
    query = query_of(case, Source(digest="sha256:0"))
    call = query.calls[0]
    assert (call.endpoint, call.params, call.ts) == ("GET /ships/7", {"limit": 2}, 1735689600.0)
    assert (call.status, call.body) == (200, {"id": "b3"})
    assert query.prompt == "dock it"
    assert Event(endpoint="GET /x").params == {}


def test_a_line_that_is_no_case_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps(_case()) + '\n{"suite": "s"}\n')
    with pytest.raises(BadRequest, match=r"bad\.jsonl:2 is no evaluation case"):
        read_cases([tmp_path / "bad.jsonl"])


def test_each_call_of_a_session_is_asked_once_per_variant(examples: Specs, examples_folder: Path) -> None:
    cases = read_cases([examples_folder / "billing.sessions.jsonl"], examples)
    assert {case.variant for case in cases} == set(VARIANTS)
    assert len({(case.case, case.variant) for case in cases}) == len(cases)
    refund = [case for case in cases if case.group == "billing/1" and case.next == "POST /v1/refunds"]
    assert [case.variant for case in refund] == ["history_only", "prompt_history"]
    assert len(refund[0].events) == 3
    assert refund[0].next_params == {"charge": "ch_123", "reason": "duplicate"}
    looked = next(case for case in cases if case.group == "billing/1" and case.next == "GET /v1/charges/{charge}")
    assert looked.next_params == {"charge": "ch_123"}
    for case in cases:
        assert bool(case.prompt) == (case.variant != "history_only")
        assert bool(case.events) == (case.variant != "prompt_only")
        assert examples.operation(case).key == case.next


def test_calls_that_are_no_operation_stay_history(examples: Specs, tmp_path: Path) -> None:
    events = [{"endpoint": "GET /elsewhere"}, {"endpoint": "GET /v1/charges"}]
    (tmp_path / "billing.sessions.jsonl").write_text(json.dumps({"events": events}) + "\n")
    (case,) = read_cases([tmp_path], examples)
    assert (case.next, case.variant, len(case.events)) == ("GET /v1/charges", "history_only", 1)


def test_sessions_of_a_spec_that_is_not_there_are_an_error(examples: Specs, tmp_path: Path) -> None:
    (tmp_path / "unknown.sessions.jsonl").write_text('{"events": []}\n')
    with pytest.raises(BadRequest, match="unknown"):
        read_cases([tmp_path], examples)
