"""The requests of README and docs/learning.md are answered; README's answer is the one that is sent, but for what the
encoder here decides."""

from __future__ import annotations

import dataclasses
import json
import re

from serve import schemas
from serve.metrics import TAGS
from tests import api_examples
from tests.conftest import ROOT
from tests.documented import every
from tests.serve.conftest import App

README = (ROOT / "README.md").read_text()
BODIES = {"/predict": schemas.PredictRequest, "/feedback": schemas.FeedbackRequest}
CURLS = every("README.md", "curl")


async def test_the_first_request_and_its_feedback_are_answered_as_shown(app: App) -> None:
    ask, *others = [api_examples.example("README", command, 200, None) for command in CURLS]
    (feedback,) = [one for one in others if one.path == "/feedback"]
    answer = await api_examples.ask(app.client, ask)
    (text,) = every("README.md", "json")
    shown = json.loads(re.sub(r"\n\s+", " ", text))
    assert [p["rank"] for p in answer["predictions"]] == [p["rank"] for p in shown["predictions"]] == [1, 2]
    for one in (answer, shown):
        del one["predictions"][1:]  # lower ranks depend on what a prompt means
    assert not list(api_examples.differences(shown, answer))
    kept = await app.client.post(feedback.path, content=feedback.body, headers=feedback.headers)
    assert (kept.status_code, kept.json()["prediction_id"]) == (202, answer["prediction_id"])


async def test_the_requests_of_the_page_on_learning_are_answered(app: App) -> None:
    predict, *_ = (api_examples.example("README", command, 200, None) for command in CURLS)
    sent = [api_examples.example("learning", command, 202, None) for command in every("docs/learning.md", "curl")]
    accept, override, events, click, suggest = sent
    for one in (accept, override):
        await api_examples.ask(app.client, predict)
        assert (await api_examples.ask(app.client, one))["status"] == "recorded"
    assert (await api_examples.ask(app.client, events))["recorded"] == 1
    assert (await api_examples.ask(app.client, dataclasses.replace(suggest, status=200)))["propositions"]
    assert (await api_examples.ask(app.client, click))["status"] == "recorded"


def test_what_an_answer_may_lack_is_the_codes() -> None:
    for page in (README, api_examples.PAGE.read_text()):
        (row,) = re.findall(r"^\| `(?:metadata\.)?degraded` \| (.*) \|$", page, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) == set(TAGS["part"])


def test_every_request_can_be_read() -> None:
    for command in CURLS:
        found = api_examples.example("README", command, 200, None)
        assert schemas.read_json(found.body, BODIES[found.path])
    assert len(CURLS) == 3
