"""`opensesame import` from a file to a corpus: what it says, what it writes, and how it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from pipeline.errors import BadRequest
from tests.conftest import NOTES
from train import corpus
from train.imports import command
from train.imports.formats import READERS

APP = typer.Typer()
APP.command()(command.run)

LOG = """\
10.0.0.1 - - [10/Oct/2026:13:00:00 +0000] "GET /api/notes?folder=a HTTP/1.1" 200 5
10.0.0.1 - - [10/Oct/2026:13:00:01 +0000] "GET /static/app.js HTTP/1.1" 200 5
10.0.0.1 - - [10/Oct/2026:13:00:02 +0000] "GET /api/notes/n1 HTTP/1.1" 200 5
10.0.0.1 - - [10/Oct/2026:13:00:03 +0000] "OPTIONS /api/notes/n1 HTTP/1.1" 204 0
10.0.0.1 - - [10/Oct/2026:13:00:04 +0000] "DELETE /api/notes/n1 HTTP/1.1" 204 0
10.0.0.9 - - [10/Oct/2026:13:00:05 +0000] "GET /carts/12345 HTTP/1.1" 404 0
10.0.0.9 - - [10/Oct/2026:13:00:06 +0000] "PATCH /api/notes/1f0c9a HTTP/1.1" 405 0
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs the command in a folder with a spec and an access log."""
    (tmp_path / "notes.yaml").write_text(NOTES)
    (tmp_path / "access.log").write_text(LOG)

    def invoke(*arguments: str) -> Result:
        placed = [str(tmp_path / a[1:]) if a.startswith("@") else a for a in arguments]
        done = CliRunner().invoke(APP, placed)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return invoke


def test_an_access_log_becomes_a_corpus(run: Callable[..., Result], tmp_path: Path) -> None:
    said = run("@access.log", "--spec", "@notes.yaml", "--out", "@out").output
    assert "7 requests, 3 matched (43%) to 3 operations" in said
    assert "1 entries left out: a browser's preflight (OPTIONS)" in said
    assert "2 to paths that the spec lacks, 1 by methods that a path lacks" in said
    assert re.search(r"GET /carts/\{\} +│ no such path", said)
    assert re.search(r"PATCH /api/notes/\{\} +│ the path has GET, DELETE", said)
    assert "1 recordings gave no session: no request of the spec" in said
    assert "1 sessions of 2 recordings (notes.yaml 1)" in said
    [(catalog, [session])] = list(corpus.read(tmp_path / "out"))
    assert catalog.title == "Notes"
    assert session.operations == ("GET /notes", "GET /notes/{note_id}", "DELETE /notes/{note_id}")
    assert (session.split, session.prompt, session.answers) == ("train", "", (1, 2))


def test_a_dry_run_writes_nothing_and_says_the_same_as_json(run: Callable[..., Result], tmp_path: Path) -> None:
    report = json.loads(run("@access.log", "--spec", "@notes.yaml", "--dry-run", "--json", "--out", "@out").stdout)
    assert (report["requests"], report["matched"], report["sessions"]) == (7, 3, 1)
    assert (report["not_matched"], report["no_such_path"]) == (3, 2)
    assert report["unmatched"][-1] == {
        "endpoint": "PATCH /api/notes/{}", "requests": 1, "why": "the path has GET, DELETE"
    }  # fmt: skip
    assert report["written"] is None
    assert not (tmp_path / "out").exists()


def test_several_files_and_specs_go_into_one_corpus(run: Callable[..., Result], tmp_path: Path) -> None:
    rows = [{"spec": "billing", "prompt": "refund", "events": [{"endpoint": "POST /v1/refunds"}]}]
    rows.append({"prompt": "show", "events": [{"endpoint": "GET /notes"}]})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("@rows.jsonl", "@access.log", "--spec", "@notes.yaml", "--out", "@out")
    found = {catalog.title: [s.prompt for s in sessions] for catalog, sessions in corpus.read(tmp_path / "out")}
    assert found == {"Billing": ["refund"], "Notes": ["show", ""]}


def test_a_host_can_be_chosen(run: Callable[..., Result], tmp_path: Path) -> None:
    hosts = ("notes.example", "staging.notes.example", "staging.notes.example")
    requests = [{"method": "GET", "url": f"https://{host}/api/notes"} for host in hosts]
    entries = [{"startedDateTime": f"2026-10-10T10:00:0{i}Z", "request": r} for i, r in enumerate(requests)]
    (tmp_path / "a.har").write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    arguments = ("@a.har", "--spec", "@notes.yaml", "--dry-run", "--json")
    own = json.loads(run(*arguments).stdout)
    assert (own["matched"], own["other_hosts"]) == (1, {"staging.notes.example": 2})
    assert json.loads(run(*arguments, "--host", "staging.*").stdout)["matched"] == 2


def test_sessions_can_be_split_as_synthetic_ones(run: Callable[..., Result], tmp_path: Path) -> None:
    seed = next(seed for seed in range(100) if corpus.split_of("notes", seed) == "valid")
    run("@access.log", "--spec", "@notes.yaml", "--out", "@out", "--split", "provider", "--seed", str(seed))
    [(_, [session])] = list(corpus.read(tmp_path / "out"))
    assert session.split == "valid"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("@access.log", "--spec", "nothing", "--dry-run"), "There is no spec 'nothing'"),
        (("@access.log", "--dry-run"), "access.log, line 1 names no spec: give one for all with --spec"),
        (("@gone.log", "--spec", "billing", "--dry-run"), "cannot be read: No such file"),
        (("@notes.yaml", "--spec", "billing", "--dry-run"), "in no format we know .*--format"),
        (("@access.log", "--format", "har", "--spec", "billing", "--dry-run"), "access.log is not JSON"),
        (("@access.log", "--spec", "billing", "--out", "@out"), "Nothing was written.*is it the right spec"),
        (("@access.log", "--spec", "@access.log", "--dry-run"), "neither JSON nor readable YAML|OpenAPI"),
        (("@access.log", "--spec", "http://127.0.0.1:1/x.json", "--dry-run"), "spec URL could not be fetched"),
        (("@access.log", "--spec", "@notes.yaml", "--out", "@notes.yaml"), "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    run: Callable[..., Result], arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(Exception, match=says) as error:
        run(*arguments)
    assert hasattr(error.value, "detail")


def test_the_formats_offered_are_those_that_are_read() -> None:
    assert {format.value for format in command.Format} == set(READERS)


def test_an_unknown_row_spec_names_the_places(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"spec": "\0", "events": [{"endpoint": "GET /notes"}]}))
    with pytest.raises(BadRequest, match=r"rows\.jsonl, line 1: there is no spec"):
        run("@rows.jsonl", "--dry-run")
