"""Sessions of made-up users: what they ask is what the service takes."""

from __future__ import annotations

from collections import Counter

import pytest

from loadtest.sessions import Ask, Sessions, factor
from pipeline import settings
from pipeline.catalog.parse import parse_spec
from serve import outcomes, schemas
from serve.suggest import SuggestRequest

ANSWER = {"prediction_id": "1", "predictions": [{"endpoint": "GET /v1/charges"}, {"endpoint": "POST /v1/refunds"}]}


@pytest.fixture(scope="module")
def sessions(billing_spec: bytes) -> Sessions:
    return Sessions({"billing": parse_spec(billing_spec, settings.load().parse)}, seed=1)


def play(sessions: Sessions, answer: dict | None) -> list[Ask]:
    asked, session = [], sessions.begin()
    said = None
    while True:
        try:
            asked.append(session.send(said))
        except StopIteration:
            return asked
        said = answer if asked[-1].kind == "predict" else {}


def test_what_users_ask_is_what_the_service_reads(sessions: Sessions) -> None:
    shapes = {
        "predict": schemas.PredictRequest,
        "feedback": schemas.FeedbackRequest,
        "events": outcomes.EventsRequest,
        "suggest": SuggestRequest,
    }
    asked = [ask for _ in range(200) for ask in play(sessions, ANSWER)]
    for ask in asked:
        if ask.body is not None:
            schemas.read_value(ask.body, shapes[ask.kind])
    kinds = Counter(ask.kind for ask in asked)
    assert set(kinds) == {*shapes, "catalog"}
    assert kinds["predict"] > kinds["feedback"] > kinds["suggest"]


def test_nobody_speaks_of_a_prediction_that_was_not_remembered(sessions: Sessions) -> None:
    for answer in (None, {"prediction_id": None, "predictions": ANSWER["predictions"]}):
        asked = [ask for _ in range(50) for ask in play(sessions, answer)]
        assert not [ask for ask in asked if ask.kind == "feedback"]


def test_the_history_of_a_session_grows(sessions: Sessions) -> None:
    for _ in range(50):
        lengths = [len(ask.body["events"]) for ask in play(sessions, None) if ask.kind == "predict" and ask.body]
        assert lengths == list(range(lengths[0], lengths[-1] + 1))


def test_profiles() -> None:
    assert {factor("steady", x) for x in (0.0, 0.5, 1.0)} == {1.0}
    ramp = [factor("ramp", x / 10) for x in range(11)]
    assert ramp == sorted(ramp)
    assert (ramp[0], ramp[-1]) == (pytest.approx(0.1), pytest.approx(1.0))
    assert factor("spike", 0.5) == 4 * factor("spike", 0.1)
