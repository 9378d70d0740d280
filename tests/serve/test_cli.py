"""The command line: what people type works without a server, and wrong input ends in one clear line."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import settings
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.state import State, new_id
from pipeline.types import Feedback, Impression
from serve.cli import app
from tests.conftest import NOTES

run = CliRunner().invoke


def test_predict_answers_without_a_server():
    done = run(app, ["predict", "--prompt", "refund the charge", "--call", "GET /v1/charges/ch_1", "--json"])
    answer = json.loads(done.stdout)
    assert answer["predictions"][0]["endpoint"] == "POST /v1/refunds"
    assert answer["prediction_id"] is None


def test_predict_reads_a_spec_file_and_a_request_file(tmp_path: Path):
    spec = tmp_path / "notes.yaml"
    spec.write_text(NOTES)
    done = run(app, ["predict", "--spec", str(spec), "--prompt", "list my notes", "--json"])
    assert json.loads(done.stdout)["predictions"][0]["endpoint"] == "GET /notes"
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"spec": NOTES, "prompt": "search notes", "k": 1}))
    done = run(app, ["predict", "--request", str(request)])
    assert done.exit_code == 0
    assert "/notes/search" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "--spec", "no-such-spec"], "There is no spec 'no-such-spec'"),
        (["predict", "--call", "charges"], "endpoint must be 'METHOD /path'"),
        (["predict", "--k", "99"], "k must be between 1 and 50"),
        (["check-config", "nope"], "There is no configuration 'nope'"),
        (["catalogs", "--url", "http://127.0.0.1:1"], "does not answer"),
        (["predict", "--url", "http://127.0.0.1:1"], "does not answer"),
        (["synthesize", "--specs", "nowhere", "--out", "nowhere"], "nowhere is no folder"),
        (["import", "nowhere.har", "--spec", "billing", "--dry-run"], "nowhere.har cannot be read"),
    ],
)
def test_wrong_input_ends_in_one_line_and_status_1(arguments: list[str], says: str):
    done = run(app, arguments)
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


@pytest.mark.redis
def test_forget_takes_a_user_out_of_the_state_that_serve_left(tmp_path: Path):
    async def remember(user: str) -> str:
        state = State(settings.load("local").state, embedded.url)
        await state.remember(Impression(new_id(), "local", user, "notes", "sha256:1", time.time(), ("GET /notes",)))
        joined = await state.join(Feedback("accept", user=user))
        await state.close()
        return joined.prediction_id

    async def last(user: str) -> str:
        state = State(settings.load("local").state, embedded.url)
        joined = await state.join(Feedback("accept", user=user))
        await state.close()
        return joined.prediction_id

    with EmbeddedRedis(tmp_path) as embedded:
        assert asyncio.run(remember("ana"))
        bobs = asyncio.run(remember("bob"))
    done = run(app, ["forget", "--user", "ana", "--var", str(tmp_path), "--json"])
    assert json.loads(done.stdout)["impressions"] == 1
    with EmbeddedRedis(tmp_path) as embedded:
        assert (asyncio.run(last("ana")), asyncio.run(last("bob"))) == ("", bobs)
    refused = run(app, ["forget", "--user", "anonymous", "--var", str(tmp_path)])
    assert (refused.exit_code, "name a user" in refused.output) == (1, True)


@pytest.mark.parametrize("config", ["local", "local-vllm", "cluster"])
def test_every_configuration_can_be_used(config: str):
    done = run(app, ["check-config", config])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["generator"]["enabled"] is (config != "local")
