"""`opensesame watch` follows what is written, by whomever, and says what comes next."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.errors import BadRequest
from serve.cli import app
from tests.conftest import NOTES
from train.imports.follow import follow

run = CliRunner().invoke


def line(request: str, user: str = "ana", second: int = 0) -> str:
    return f'10.0.0.1 - {user} [10/Oct/2026:13:00:{second:02} +0000] "{request} HTTP/1.1" 200 5\n'


def har(*requests: str) -> str:
    entries = [
        {
            "startedDateTime": f"2026-10-10T13:00:{i:02}Z",
            "request": {"method": r.split()[0], "url": "https://notes.example/api" + r.split()[1]},
            "response": {"status": 200},
        }
        for i, r in enumerate(requests)
    ]
    return json.dumps({"log": {"version": "1.2", "entries": entries}})


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "notes.yaml").write_text(NOTES)
    return str(tmp_path / "notes.yaml")


def test_each_users_calls_are_followed_apart_and_strangers_passed_over(tmp_path: Path, spec: str) -> None:
    log = tmp_path / "access.log"
    log.write_text(line("GET /api/notes") + line("GET /favicon.ico") + "no line\n" + line("GET /notes/n1", "bob"))
    done = run(app, ["watch", str(log), "--spec", spec, "--to-end", "--json"])
    told = [json.loads(row) for row in done.stdout.splitlines()]
    assert [row["call"] for row in told] == ["GET /api/notes", "GET /notes/n1"]
    assert told[0]["user"] != told[1]["user"]
    assert len(told[0]["predictions"]) == 3
    shown = run(app, ["watch", str(log), "--spec", spec, "--to-end", "--k", "1"]).stdout
    assert "GET /notes/n1" in shown
    assert "favicon" not in shown


def test_a_har_file_is_read_and_another_format_is_refused(tmp_path: Path, spec: str) -> None:
    (tmp_path / "a.har").write_text(har("GET /notes", "GET /notes/n1"))
    done = run(app, ["watch", str(tmp_path / "a.har"), "--spec", spec, "--to-end", "--json"])
    assert [json.loads(row)["call"] for row in done.stdout.splitlines()] == ["GET /api/notes", "GET /api/notes/n1"]
    (tmp_path / "rows.jsonl").write_text('{"session": "s", "events": []}')
    for file in (spec, str(tmp_path / "rows.jsonl")):
        refused = run(app, ["watch", file, "--spec", spec, "--to-end"])
        assert refused.exit_code == 1
        assert "is neither a HAR file nor an access log" in refused.stderr
        assert "--format" not in refused.stderr  # an option of `import` only


def test_calls_to_other_hosts_are_left_out_as_in_an_import(tmp_path: Path, spec: str) -> None:
    file = tmp_path / "a.har"
    file.write_text(har("GET /notes", "GET /notes/n1", "GET /notes/n2").replace("notes.example", "staging.example", 2))
    asked = ["watch", str(file), "--spec", spec, "--to-end", "--json"]
    done = run(app, asked)
    assert [json.loads(row)["call"] for row in done.stdout.splitlines()] == ["GET /api/notes/n2"]
    assert done.stderr.count("left out: requests to staging.example (--host takes them)") == 1
    chosen = run(app, [*asked, "--host", "staging.*"])
    assert [json.loads(row)["call"] for row in chosen.stdout.splitlines()] == ["GET /api/notes", "GET /api/notes/n1"]


class Following:
    """What `follow` gives, in a thread of its own."""

    def __init__(self, file: Path, **options: Any) -> None:
        self.seen: list[str] = []
        threading.Thread(target=self._run, args=(follow(file, **options),), daemon=True).start()

    def _run(self, requests: Iterator[Any]) -> None:
        for request in requests:
            self.seen.append(request.call.endpoint)

    def until(self, *expected: str) -> None:
        ends = time.monotonic() + 30
        while self.seen != list(expected) and time.monotonic() < ends:
            time.sleep(0.02)
        assert self.seen == list(expected)


def append(file: Path, text: str) -> None:
    with file.open("a") as opened:
        opened.write(text)


def test_a_log_is_followed_through_halves_of_lines_and_rotation(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line("GET /old"))
    following = Following(log, from_start=True)
    following.until("GET /old")
    append(log, line("GET /a")[:30])
    time.sleep(0.5)
    append(log, line("GET /a")[30:])
    following.until("GET /old", "GET /a")
    os.rename(log, tmp_path / "access.log.1")
    log.write_text(line("GET /b"))
    following.until("GET /old", "GET /a", "GET /b")
    log.write_text("")  # cut
    time.sleep(0.5)
    append(log, line("GET /c"))
    following.until("GET /old", "GET /a", "GET /b", "GET /c")


def test_a_har_file_that_grows_tells_only_what_is_new(tmp_path: Path) -> None:
    file = tmp_path / "a.har"
    file.write_text(har("GET /old"))
    write: Callable[[str], Any] = file.write_text
    following = Following(file, from_start=True)
    following.until("GET /api/old")
    write(har("GET /old", "GET /a")[:-20])  # half written
    time.sleep(0.5)
    write(har("GET /old", "GET /a"))
    following.until("GET /api/old", "GET /api/a")


def test_what_is_there_already_is_left_out_unless_it_is_wanted(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line("GET /old"))
    following = Following(log, from_start=False)
    time.sleep(0.5)
    append(log, line("GET /new"))
    following.until("GET /new")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read"):
        next(follow(tmp_path / "none.log", from_start=True))
