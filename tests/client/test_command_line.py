"""Commands that ask a running service."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from opensesame_client import Client
from serve import terminal
from serve.cli import app
from tests.conftest import NOTES

run = CliRunner().invoke


def test_predict_and_feedback_through_a_service(url: str) -> None:
    asked = ["predict", "--prompt", "list the customers", "--user", "cli", "--url", url]
    answer = json.loads(run(app, [*asked, "--json"]).stdout)
    assert answer["predictions"][0]["endpoint"] in run(app, asked).stdout
    said = ["feedback", "reject", "--prediction", answer["prediction_id"], "--url", url]
    assert json.loads(run(app, [*said, "--json"]).stdout)["status"] == "recorded"
    assert "duplicate: reject" in run(app, said).stdout
    refused = run(app, ["feedback", "accept", "--prediction", answer["prediction_id"], "--url", url])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: 409: Something else was said")


@pytest.mark.parametrize("place", ["here", "there"])
def test_calls_that_are_no_operation_are_told(url: str, tmp_path: Path, place: str) -> None:
    asked = ["predict", *(["--url", url] if place == "there" else [])]
    done = run(app, [*asked, "--call", "GET /nonsense", "--call", "GET /v1/charges", "--call", "get /v1/nonsense?x=1"])
    assert done.stderr.splitlines()[0] == "no operation of the spec: GET /nonsense, get /v1/nonsense?x=1"
    for body in (
        {"catalog": "billing", "events": [{"endpoint": "GET /nonsense"}]},
        {"catalog": "billing", "history": [{"api_call": "GET /nonsense"}]},
    ):
        (tmp_path / "request.json").write_text(json.dumps(body))
        done = run(app, [*asked, "--request", str(tmp_path / "request.json")])
        assert done.stderr.splitlines()[0] == "no operation of the spec: GET /nonsense"
    assert "no operation" not in run(app, [*asked, "--call", "GET /v1/charges"]).stderr


def test_catalogs_are_put_listed_shown_and_removed(url: str, tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text(NOTES)
    put = run(app, ["catalogs", "notes-cli", "--put", str(tmp_path / "notes.yaml"), "--url", url])
    assert "5 operations" in put.stdout
    listed = run(app, ["catalogs", "--url", url]).stdout
    (row,) = [line for line in listed.splitlines() if "notes-cli" in line]
    assert re.fullmatch(r"\W+notes-cli\W+Notes\W+5\W+sha256:[0-9a-f]{12}\W+", row)
    assert "packaged: billing, " in listed
    assert "GET /notes/search  Search notes" in run(app, ["catalogs", "notes-cli", "--url", url]).stdout
    assert run(app, ["catalogs", "notes-cli", "--remove", "--url", url]).stdout == "Removed: notes-cli\n"
    gone = run(app, ["catalogs", "notes-cli", "--url", url])
    assert (gone.exit_code, "404: " in gone.stderr) == (1, True)
    run(app, ["catalogs", "notes-cli", "--put", str(tmp_path / "notes.yaml"), "--url", url])
    removed = run(app, ["catalogs", "notes-cli", "--remove", "--url", url, "--json"])
    assert json.loads(removed.stdout) == {"removed": "notes-cli"}


def test_a_catalogs_name_is_sent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = list[bytes]()

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.url.raw_path)
        return httpx2.Response(404, json={"slug": "unknown_catalog", "detail": "No such catalog."})

    monkeypatch.setattr(terminal, "Client", functools.partial(Client, transport=httpx2.MockTransport(answer)))
    run(app, ["catalogs", "notes?x", "--remove", "--url", "http://service"])
    assert sent == [b"/catalogs/notes%3Fx"]


def test_the_key_of_the_command_line_or_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = list[str | None]()

    def refuse(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers.get("x-api-key"))
        return httpx2.Response(401, json={"slug": "unauthorized", "detail": "This key is not known."})

    refusing = functools.partial(Client, transport=httpx2.MockTransport(refuse))
    monkeypatch.setattr(terminal, "Client", refusing)
    for arguments, environment in ((["--api-key", "k-1"], {}), ([], {"OPENSESAME_API_KEY": "k-2"}), ([], {})):
        refused = run(app, [*arguments, "catalogs", "--url", "http://service"], env=environment)
        assert refused.exit_code == 1
        assert "401: This key is not known." in refused.stderr
        assert "OPENSESAME_API_KEY" in refused.stderr
    assert sent == ["k-1", "k-2", None]


def test_a_shell_is_offered_the_packaged_names() -> None:
    environment = {
        "_OPENSESAME_COMPLETE": "complete_bash",
        "COMP_WORDS": "opensesame predict --spec bi",
        "COMP_CWORD": "3",
    }
    offered = run(app, [], env=environment, prog_name="opensesame")
    assert offered.stdout.split() == ["billing"]
