"""Reasons are true of what they are told of: no clause goes beyond the row's values and the session's facts."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import settings
from pipeline.local import LocalStages
from pipeline.predict import predict
from pipeline.ranking.table import COLUMN, NAMES
from pipeline.reasons import Reasons, View
from pipeline.sayings import SAYINGS, say
from pipeline.types import Call, Candidate, GroundedQuery, Query, Source

SETTINGS = settings.load()
LAST = "GET /v1/charges/{charge}"
REFUND = Candidate(
    operation="POST /v1/refunds",
    operation_id="createRefund",
    summary="Create a refund",
    verb="create",
    params={"charge": "ch_123", "reason": "duplicate"},
    origins={"charge": ("path", 0), "reason": ("prompt", -1)},
)
QUERY = Query(
    source=Source(name="billing"), calls=(Call("GET", "/v1/charges/ch_123"),), prompt="please refund the duplicate"
)


def view(
    candidate: Candidate = REFUND, query: Query = QUERY, previous: tuple[str, ...] = (LAST,), rivals=(), **values: float
):
    row = np.full(len(NAMES), np.nan, dtype=np.float32)
    for name, value in values.items():
        row[COLUMN[name]] = value
    rival = row.copy()
    for name, value in dict(rivals).items():
        rival[COLUMN[name]] = value
    return View(_reasons(candidate, query, previous, row, rival), candidate, row)


def _reasons(candidate: Candidate, query: Query, previous: tuple[str, ...], *rows: np.ndarray) -> Reasons:
    matrix = np.stack(rows)
    grounded = GroundedQuery("d", "l", "Billing", 35, previous, (), (candidate,) * len(rows), matrix[:, :-3])
    return Reasons(query, grounded, matrix)


def test_every_feature_has_a_saying_and_no_saying_is_of_no_feature():
    assert set(SAYINGS) == set(NAMES)


BARE = Candidate(operation="GET /v1/things", summary="Things")
GENEROUS = [
    dict.fromkeys(NAMES, 1.0)
    | {"unbound": 0.0, "verb_contradicts": 0.0, "is_last": 0.0, "identifier_unready": 0.0}
    | {"unused_write": 0.0, "deprecated": 0.0, "told_unmet": 0.0, "unfilled": 0.0},
    dict.fromkeys(NAMES, 0.0),
    dict.fromkeys(NAMES, 1.0),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_feature_can_speak(name: str):
    assert any(say(name, view(rivals={"deprecated": 1.0}, **values)) for values in GENEROUS)


@pytest.mark.parametrize("name", NAMES)
def test_where_there_was_nothing_to_look_at_nothing_is_said(name: str):
    assert say(name, view(**{})) == ""


PLAIN_FACTS = {"depth", "needs", "given", "document_order", "network"}  # true of a row of zeros; log 1 is certainty


@pytest.mark.parametrize("name", sorted(set(NAMES) - PLAIN_FACTS))
def test_a_value_of_nothing_is_no_evidence(name: str):
    assert say(name, view(BARE, **dict.fromkeys(NAMES, 0.0))) == ""


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("words_name", {"words_name": 0.4}, "the prompt's 'refund' is in its name"),
        ("match_rank", {"match": 0.5, "match_rank": 1.0}, "the prompt's 'refund' is in its name"),
        ("last_supplied", {"last_supplied": 0.9}, "it takes charge ch_123, just seen in GET /v1/charges/ch_123"),
        ("typed_fields", {"typed_fields": 1.0}, "the prompt gives reason duplicate"),
        ("verb_agrees", {"verb_agrees": 1.0}, "the prompt has a verb of creating"),
        ("last_child", {"last_child": 1.0}, f"its path continues that of {LAST}"),
        ("last_child", {"last_child": 1.0, "is_last": 1.0, "run": 1 / 3}, "it was called last"),
        ("past_child", {"past_child": 0.8}, f"its path continues that of {LAST}"),  # the only call so far
        ("run", {"is_last": 1.0, "run": 2 / 3}, "it was called twice in a row"),
        ("network", {"network": -1.0}, "such a step often comes next in sessions on other APIs"),
        ("network", {"network": -2.0}, ""),
        ("count", {"count": 0.5, "is_last": 0.0}, "it was called twice in this session"),
        ("recency", {"recency": 0.25}, "it was called 4 steps ago"),
        ("followed", {"followed": 0.5}, f"it followed {LAST} before in this session"),
        ("repeat_habit", {"repeat_habit": 0.2}, ""),  # one call: nothing was repeated
        ("last_lifecycle", {"last_lifecycle": 0.1}, ""),
        ("ready", {"ready": 1.0, "needs": 0.25, "unbound": 0.25}, ""),
        ("generator_votes", {"generator_rank": 0.5, "generator_votes": 0.2}, "the language model chose it"),
        ("cosine_gap", {"cosine_gap": -0.1, "cosine": -0.2}, ""),  # below the median
    ],
)
def test_a_clause_says_what_its_value_bears_out(name: str, values: dict[str, float], said: str):
    assert say(name, view(**values)) == said


def test_of_several_calls_it_is_not_said_which():
    said = say("past_child", view(previous=("GET /a", LAST), past_child=0.8))
    assert said == "its path continues that of one of the calls so far"


def test_words_of_the_path_are_told_where_the_name_has_none():
    candidate = Candidate(operation="GET /v1/invoices/overdue", summary="Late payers")
    query = Query(source=Source(), prompt="overdue invoices")
    said = say("words_path", view(candidate, query, words_path=0.9))
    assert said == "the prompt's 'overdue' and 'invoices' are in its path"


def test_propositions_are_spoken_of_by_their_titles():
    offers = [
        Candidate("SHOW /home", "home", "Home insurance", origins={}),
        Candidate("SHOW /car", "car", "Car insurance", origins={}),
    ]
    row = np.full(len(NAMES), np.nan, dtype=np.float32)
    row[COLUMN["last_same_tag"]] = 1.0
    query = Query(source=Source(), calls=(Call("SHOW", "/home"),))
    grounded = GroundedQuery("d", "l", "", 2, ("SHOW /home",), (), tuple(offers), np.stack([row, row])[:, :-3])
    told = Reasons(query, grounded, np.stack([row, row])).tell(1, [(COLUMN["last_same_tag"], 0.5)])
    assert told == "It belongs to the same group as 'Home insurance'."


def test_words_that_the_operation_has_not_are_never_quoted():
    query = Query(source=Source(), prompt="cancel the subscription of Ana")
    assert say("words_name", view(query=query, words_name=0.9)) == ""


def test_two_topics_make_one_sentence_and_one_topic_is_told_once():
    row = np.full(len(NAMES), np.nan, dtype=np.float32)
    for name, value in {"words_name": 1, "match": 1, "match_rank": 1, "last_supplied": 1, "is_create": 1}.items():
        row[COLUMN[name]] = value
    because = [(COLUMN[name], part) for name, part in (("match", 0.5), ("words_name", 0.4), ("last_supplied", 0.8))]
    told = _reasons(REFUND, QUERY, (LAST,), row).tell(0, because)
    assert told == (
        "The prompt's 'refund' is in its name, and it takes charge ch_123, just seen in GET /v1/charges/ch_123."
    )


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("words_name", "The prompt's 'refund' is in its name."),
        ("depth", "Such a step often comes next in sessions on other APIs."),
    ],
)
def test_what_the_network_makes_of_it_is_told_where_nothing_plainer_can_be(other: str, told: str):
    row = np.full(len(NAMES), np.nan, dtype=np.float32)
    row[[COLUMN["network"], COLUMN["words_name"]]] = -0.1, 1.0
    because = [(COLUMN["network"], 3.0), (COLUMN[other], 0.4)]
    assert _reasons(REFUND, QUERY, (LAST,), row).tell(0, because) == told


def test_hostile_text_becomes_one_printable_line():
    candidate = Candidate(operation="GET /x", params={"a": "b\n\x1b[31m" + "z" * 500}, origins={"a": ("params", 0)})
    said = say("last_supplied", view(candidate, last_supplied=1.0))
    assert said.isprintable()
    assert len(said) < 200


ASKED = [
    Query(source=Source(name="billing"), k=50),
    Query(source=Source(name="billing"), k=50, prompt="refund the duplicate charge ch_9"),
    Query(source=Source(name="billing"), k=50, calls=(Call("GET", "/v1/customers/cus_1"), Call("GET", "/v1/charges"))),
    Query(source=Source(name="issue-tracker"), k=26, calls=QUERY.calls, prompt="close it"),
    Query(source=Source(name="issue-tracker"), k=26, calls=(Call("GET", "/projects"),), prompt="open a bug"),
]


@pytest.mark.parametrize("query", ASKED, ids=range(len(ASKED)))
async def test_everything_shown_has_one_plain_sentence(query: Query):
    answer = await predict(query, LocalStages(SETTINGS), None, SETTINGS)
    assert len(answer.predictions) > 10
    for prediction in answer.predictions:
        reason = prediction.candidate.reason
        assert reason.endswith(".")
        assert reason[0].isupper()
        assert reason.isprintable()
        assert len(reason) < 450


def test_a_part_of_an_object_is_told_by_its_place():
    params = {"ticket": {"comment": {"body": "Help"}, "user_id": 7}}
    origins = {"ticket.comment.body": ("prompt", -1), "ticket.user_id": ("path", 0)}
    seen = view(Candidate(operation="POST /tickets", params=params, origins=origins))
    assert seen.given == "the prompt gives ticket.comment.body Help"
    assert seen.values == "it takes ticket.user_id 7, just seen in GET /v1/charges/ch_123"
