"""`opensesame demo`: what it tells is what happens, and it ends well without a network."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from serve import demo_command
from serve.cli import app
from tests.conftest import NOTES

run = CliRunner().invoke


@contextlib.contextmanager
def _spec_server() -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(NOTES.encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/notes.yaml"
        server.shutdown()


@pytest.fixture(scope="module")
def told() -> Any:
    """The demo in JSON, with one address that answers and one that does not."""
    with _spec_server() as url, pytest.MonkeyPatch.context() as patch:
        here = ("Notes", url, ["GET /notes"], 'search my notes for "budget"')
        nowhere = ("Nowhere", "http://127.0.0.1:1/openapi.json", ["GET /things"], "")
        patch.setattr(demo_command, "ONLINE", (here, nowhere))
        done = run(app, ["demo", "--online", "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def _first(answer: Any) -> Any:
    assert "state" not in answer["metadata"]["degraded"]
    return answer["predictions"][0]


def test_what_was_told_is_first_for_who_told_nothing(told: Any) -> None:
    learn = told["learn"]
    assert _first(learn["before"])["endpoint"] != demo_command.HABIT
    assert 1 <= len(learn["lessons"]) <= demo_command.LESSONS_MAX
    assert learn["lessons"][-1]["rank"] == 1
    first = _first(learn["after"])
    assert (first["endpoint"], first["params"]) == (demo_command.HABIT, {"charge": "ch_461"})
    assert "dora" not in {lesson["user_id"] for lesson in learn["lessons"]}


def test_the_other_steps_show_what_they_say(told: Any) -> None:
    assert _first(told["predict"])["endpoint"] == "POST /v1/refunds"
    assert told["another_api"]["metadata"]["operations"] == 33
    first = _first(told["another_api"])
    assert (first["endpoint"], first["params"]["service"]) == ("GET /services/{service}/builds", "checkout")
    assert not any(p["is_destructive"] for p in told["destructive"]["unasked"]["predictions"])
    assert _first(told["destructive"]["asked"])["endpoint"] == "DELETE /playlists/{playlistId}"


def test_an_address_that_cannot_be_fetched_is_left_out_and_said(told: Any) -> None:
    notes, nowhere = told["online"]
    assert _first(notes["answer"])["endpoint"] == "GET /notes/search"
    assert "could not be fetched" in nowhere["offline"]


def test_on_a_terminal_it_tells_the_learning_line_by_line() -> None:
    done = run(app, ["demo"])
    assert done.exit_code == 0, done.output
    for head in ("Predict", "Feedback, and what it learns from it", "Another API", "Now yours"):
        assert f"\n{head} ──" in done.stdout
    assert "GET /v1/charges/{charge}  charge=ch_461" in done.stdout
