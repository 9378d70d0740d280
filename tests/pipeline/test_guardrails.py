from __future__ import annotations

import math
import unicodedata

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import guardrails, settings
from pipeline.catalog import parts
from pipeline.errors import BadRequest
from pipeline.types import Call, Candidate, Query, Source

LIMITS = settings.load("local").predict


def query(**changes: object) -> Query:
    return Query(**({"source": Source(name="notes")} | changes))  # type: ignore[arg-type]


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_clean_query_passes_as_it_is():
    clean = query(
        prompt="Rückerstattung für ch_1,\n\tbitte 👩‍👩‍👧 — ¿vale?",
        calls=(Call("GET", "/v1/charges/ch_1", {"expand": ["customer"]}, 1.0, 200, {"id": "ch_1", "amount": 2000}),),
        user="ann@example.com",
        context={"device": "mobile"},
        max_cost_usd=0.0,
    )
    assert guardrails.admit(clean, LIMITS) == clean


def test_control_characters_of_the_prompt_go_but_newline_and_tab():
    hostile = "a\x00b\x1b[31mc\r\nd\te\x7f\x85\u202ef\u2066g\ufeff"
    assert guardrails.admit(query(prompt=hostile), LIMITS).prompt == "ab[31mc\nd\tefg"


def test_only_the_last_calls_are_kept():
    calls = tuple(Call("GET", f"/notes/{i}") for i in range(LIMITS.history_max + 5))
    assert guardrails.admit(query(calls=calls), LIMITS).calls == calls[5:]


def test_what_is_dropped_is_not_looked_at():
    calls = (Call("GET", "/a", {"x": "\ud800"}), *(Call("GET", "/b") for _ in range(LIMITS.history_max)))
    assert len(guardrails.admit(query(calls=calls), LIMITS).calls) == LIMITS.history_max


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"k": 0}, "k must be 1 to 50"),
        ({"k": 51}, "k must be 1 to 50"),
        ({"prompt": "x" * 4097}, "4096 are the most"),
        ({"prompt": "a\ud800b"}, "surrogate"),
        ({"user": ""}, "user_id"),
        ({"user": " "}, "user_id"),
        ({"user": "x" * 129}, "user_id"),
        ({"user": "a\nb"}, "user_id"),
        ({"user": "\udfff"}, "user_id"),
        ({"deadline_s": 0.0}, "deadline_ms"),
        ({"deadline_s": 30.1}, "at most 30000"),
        ({"deadline_s": math.nan}, "deadline_ms"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"max_cost_usd": math.inf}, "max_cost_usd"),
        ({"max_cost_usd": math.nan}, "max_cost_usd"),
        ({"max_cost_usd": -0.1}, "max_cost_usd"),
        ({"context": {f"k{i}": "v" for i in range(17)}}, "context"),
        ({"context": {"device": "x" * 129}}, "context"),
        ({"source": Source(name="a\ud800")}, "catalog"),
        ({"source": Source(url="https://x/" + "y" * 9000)}, "spec_url"),
        ({"source": Source(url="https://x/\n")}, "spec_url"),
        ({"calls": (Call("FETCH", "/a"),)}, "FETCH"),
        ({"calls": (Call("get", "/a"),)}, "HTTP method"),
        ({"calls": (Call("GET", ""),)}, "path"),
        ({"calls": (Call("GET", "/" + "a" * 9000),)}, "endpoint"),
        ({"calls": (Call("GET", "/a\x00"),)}, "endpoint"),
        ({"calls": (Call("GET", "/a\ud800"),)}, "endpoint"),
        ({"calls": (Call("GET", "/a", {"x": ["\ud800"]}),)}, "surrogate"),
        ({"calls": (Call("GET", "/a", {"\ud800": 1}),)}, "surrogate"),
        ({"calls": (Call("GET", "/a", {}, body={"x": 10**30}),)}, "64 bits"),
        ({"calls": (Call("GET", "/a", {}, body=nested(300)),)}, "nested deeper"),
        ({"calls": (Call("GET", "/a", {}, body=nested(100_000)),)}, "nested deeper"),
        ({"calls": (Call("GET", "/a", {}, body={1: 2}),)}, "JSON"),
        ({"calls": (Call("GET", "/a", {}, body=b"x"),)}, "JSON"),
    ],
)
def test_what_is_out_of_range_is_refused_with_what_to_mend(changes: dict[str, object], says: str):
    with pytest.raises(BadRequest, match=says):
        guardrails.admit(query(**changes), LIMITS)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters()), inner, max_size=5),
    max_leaves=20,
)
_any_text = st.text(st.characters(categories=None, exclude_categories=()), max_size=40)


@given(
    prompt=_any_text,
    user=_any_text,
    method=st.sampled_from(["GET", "POST", "", "x"]) | _any_text,
    path=_any_text,
    params=st.dictionaries(_any_text, _json | _any_text, max_size=4),
    body=_json,
    k=st.integers(-5, 60),
    number=st.floats(),
)
def test_any_query_is_admitted_clean_or_refused(prompt, user, method, path, params, body, k, number):
    asked = query(
        prompt=prompt,
        user=user,
        calls=(Call(method, path, params, body=body),),
        k=k,
        deadline_s=number,
        temperature=0.0,
    )
    try:
        admitted = guardrails.admit(asked, LIMITS)
    except BadRequest:
        return
    assert not [c for c in admitted.prompt if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    msgspec.msgpack.encode(admitted)


# --- destructive operations


def test_a_harmless_operation_is_always_allowed():
    assert guardrails.allow([Candidate("GET /notes")], (), (), "intent") == [True]


@pytest.mark.parametrize(
    ("intents", "cleared", "mode", "is_allowed"),
    [
        ((), (), "intent", False),
        (("cancel",), (), "intent", False),
        (("cancel", "delete"), (), "intent", True),
        ((), {"DELETE /notes/{note_id}"}, "intent", True),
        ((), {"DELETE /folders/{folder_id}"}, "intent", False),
        ((), (), "allow", True),
    ],
)
def test_a_destructive_operation_needs_its_intent_or_to_be_cleared(intents, cleared, mode, is_allowed):
    candidate = Candidate("DELETE /notes/{note_id}", destructive="delete")
    assert guardrails.allow([candidate], intents, cleared, mode) == [is_allowed]


ISSUE, LABEL = "DELETE /projects/{project}/issues/{issue}", "DELETE /projects/{project}/issues/{issue}/labels/{label}"


@pytest.mark.parametrize(
    ("prompt", "is_allowed"),
    [
        ("remove the label bug", False),
        ("remove the labels bug and ui from issue 12", False),
        ("remove the label bug and delete nothing else", False),
        ("remove the label but not the issue", False),
        ("delete issue 12", True),
        ("delete the issue with the label bug", True),
        ("remove the label, then delete the issue", True),
        ("delete it", True),
        ("remove bug", True),
    ],
)
def test_a_whole_is_not_destroyed_where_a_part_is_named(prompt: str, is_allowed: bool):
    candidates = [Candidate(key, destructive="delete") for key in (ISSUE, LABEL, "DELETE /labels/{label}")]
    wholes = parts.wholes(candidates, prompt)
    assert guardrails.allow(candidates, ("delete",), (), "intent", wholes) == [is_allowed, True, True]
    assert guardrails.allow(candidates, ("delete",), {ISSUE}, "intent", wholes) == [True, True, True]
    assert not parts.wholes(candidates[:1], prompt)  # nothing deletes the part


# --- arguments going out


def test_plain_arguments_go_out_as_they_are():
    params = {"charge": "ch_1", "amount": 5, "rate": 0.5, "live": True, "note": None, "ids": [1, "2"], "meta": {"a": 1}}
    assert guardrails.clean_params(params) == params


def test_values_that_json_cannot_carry_are_left_out():
    dirty = {"nan": math.nan, "inf": math.inf, "bytes": b"x", "big": 10**30, "text": "a\x00b\ud800c", "ok": 1}
    assert guardrails.clean_params(dirty) == {"text": "abc", "ok": 1}


def test_arguments_are_bounded_in_length_number_and_depth():
    many = {f"text{i}": "x" * 100_000 for i in range(50)}
    cleaned = guardrails.clean_params({"long": "x" * 100_000, "deep": nested(900), "some": list(range(100_000))} | many)
    assert len(cleaned["long"]) == 4096
    assert len(cleaned["some"]) <= 500
    assert len(orjson.dumps(cleaned)) < 30_000


@given(st.dictionaries(_any_text, _json | _any_text | st.binary(), max_size=6))
def test_any_arguments_become_small_json(params):
    cleaned = guardrails.clean_params(params)
    assert orjson.loads(orjson.dumps(cleaned)) == cleaned
    assert not [
        c for text in _texts(cleaned) for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"
    ]


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []
