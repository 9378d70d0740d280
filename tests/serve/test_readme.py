"""The requests of README are taken, and its answer is the one that is sent, but for what the encoder here decides."""

from __future__ import annotations

import json
import re

from serve import schemas
from serve.metrics import TAGS
from tests import api_examples
from tests.conftest import ROOT
from tests.serve.conftest import App

README = (ROOT / "README.md").read_text()
BODIES = {"/predict": schemas.PredictRequest, "/feedback": schemas.FeedbackRequest}
CURLS: list[str] = re.findall(r"^ {4}(curl .*\n(?: {4}.*\n)*)", README, re.MULTILINE)


async def test_the_first_request_and_its_feedback_are_answered_as_shown(app: App) -> None:
    ask, *others = [api_examples.example("README", command, 200, None) for command in CURLS]
    (feedback,) = [one for one in others if one.path == "/feedback"]
    answer = await api_examples.ask(app.client, ask)
    shown = json.loads(re.sub(r"\n\s+", " ", README[README.index("\nanswers\n") :].split("\n\n")[1]))
    assert [p["rank"] for p in answer["predictions"]] == [p["rank"] for p in shown["predictions"]] == [1, 2]
    for one in (answer, shown):
        del one["predictions"][1:]  # lower ranks depend on what a prompt means
    assert not list(api_examples.differences(shown, answer))
    kept = await app.client.post(feedback.path, content=feedback.body, headers=feedback.headers)
    assert (kept.status_code, kept.json()["prediction_id"]) == (202, answer["prediction_id"])


def test_what_an_answer_may_lack_is_the_codes() -> None:
    for page in (README, api_examples.PAGE.read_text()):
        (row,) = re.findall(r"^\| `(?:metadata\.)?degraded` \| (.*) \|$", page, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) == set(TAGS["part"])


def test_every_request_can_be_read() -> None:
    for command in CURLS:
        found = api_examples.example("README", command, 200, None)
        assert schemas.read_json(found.body, BODIES[found.path])
    assert len(CURLS) == 3
