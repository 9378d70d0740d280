"""docs/client.md and docs/logs.md: every snippet is run, against a service on a port."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from opensesame_client import AsyncClient, Client
from pipeline import settings
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.journal import Journal
from pipeline.stores.state import State
from serve.cli import app
from tests.conftest import NOTES, ROOT
from tests.documented import documented, every
from train import replay
from train.imports import jsonl

ADDRESS = "http://127.0.0.1:8000"
CLIENT = (ROOT / "docs" / "client.md").read_text()
SNIPPETS = every("docs/client.md", "python")
COMMANDS = every("docs/logs.md", "opensesame")


def log(users: int = 8) -> str:
    """People who list notes, read one and delete it."""
    calls = ("GET /api/notes?folder=a", "GET /api/notes/n{}", "DELETE /api/notes/n{}", "GET /api/notes")
    return "".join(
        f'10.0.0.{user} - - [10/Oct/2026:13:{user:02}:{i:02} +0000] "{call.format(user)} HTTP/1.1" 200 5\n'
        for user in range(users)
        for i, call in enumerate(calls)
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "openapi.yaml").write_text(NOTES)
    (tmp_path / "access.log").write_text(log())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(command: str, url: str = ADDRESS, *more: str) -> Any:
    done = CliRunner().invoke(app, [*shlex.split(command.replace(ADDRESS, url))[1:], *more])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_every_python_snippet_runs(code: str, url: str) -> None:
    with Client(url) as client:
        client.put_catalog("offers", [{"id": "a", "title": "Travel insurance"}, {"id": "b", "title": "Loan"}])
    code = code.replace(ADDRESS, url).replace('user_id="ana", limit', 'user_id="ana", catalog="offers", limit')
    exec(compile(code, "docs/client.md", "exec"), {"__name__": "docs"})


async def test_the_application_of_the_docs_serves_and_records(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = [snippet for snippet in SNIPPETS if "add_middleware" in snippet]
    names: dict[str, Any] = {}
    exec(compile(code.replace(ADDRESS, url), "docs/client.md", "exec"), names)
    web = httpx2.ASGITransport(names["app"])
    async with httpx2.AsyncClient(transport=web, base_url="http://app") as client:
        assert (await client.get("/v1/charges/ch_1", headers={"x-user-id": "doc"})).json() == {"id": "ch_1"}
    middleware = names["app"].middleware_stack
    while not hasattr(middleware, "counts"):
        middleware = middleware.app
    await middleware.aclose()
    assert middleware.counts["recorded"] == 1
    assert "doc will likely call" in capsys.readouterr().out


def test_what_agents_are_configured_with_is_a_command() -> None:
    (text,) = every("docs/client.md", "json")
    server = json.loads(text)["mcpServers"]["opensesame"]
    command, *words, spec = server["command"], *server["args"]
    assert Path(command).is_absolute()
    assert Path(spec).is_absolute()
    asked = [Path(command).name, *words, Path(spec).name]
    assert asked == documented("opensesame mcp --spec openapi.yaml")  # run in test_mcp.py


def test_methods_that_are_named_are_there() -> None:
    for name in re.findall(r"`(\w+)`", CLIENT[CLIENT.index("The rest:") : CLIENT.index("## An application")]):
        assert callable(getattr(Client, name))
        assert callable(getattr(AsyncClient, name))


def test_a_log_is_looked_at_and_learnt_from_through_a_service(folder: Path, url: str) -> None:
    look = next(c for c in COMMANDS if "--dry-run" in c)
    told = json.loads(_run(look, url, "--json"))
    assert (told["requests"], told["matched"], told["sessions"], told["written"]) == (32, 32, 8, None)
    assert "32 requests, 32 matched (100%) to 3 operations" in _run(look, url)
    put, learn = (c for c in COMMANDS if "--url" in c)
    _run(put, url)
    learnt = json.loads(_run(learn, url, "--json"))["learnt"]
    assert (learnt["sessions"], learnt["calls"], learnt["known"], learnt["foretold"]) == (8, 32, 0, 24)
    assert json.loads(_run(learn, url, "--json"))["learnt"]["known"] == 32
    with Client(url, user_id="newcomer") as client:
        answer = client.predict(["GET /api/notes"], catalog="shop", k=1)
    assert answer.top is not None
    assert answer.top.endpoint == "GET /notes/{note_id}"  # as all eight went on


def test_a_log_is_written_and_watched(folder: Path) -> None:
    (written,) = [c for c in COMMANDS if "--out" in c]
    assert "8 sessions of 8 recordings (openapi.yaml 8): sessions" in _run(written)
    assert (folder / "sessions" / "sessions.parquet").is_file()
    (watch,) = [c for c in COMMANDS if " watch " in c]
    assert _run(watch, ADDRESS, "--to-end", "--json").count("\n") == 32


def test_the_line_of_our_own_format_is_one(tmp_path: Path) -> None:
    (line,) = every("docs/logs.md", "json")
    (tmp_path / "a.jsonl").write_text(line)
    (recording,) = jsonl.read(tmp_path / "a.jsonl", Counter())
    assert len(recording.requests) == 2


@pytest.mark.slow
def test_what_was_learnt_here_is_there_to_train_on(folder: Path) -> None:
    (learn,) = [c for c in COMMANDS if "--learn" in c and "--url" not in c]
    assert "32 calls learnt from, 0 of them known before; 24 were foretold first" in _run(learn)
    loaded = settings.load("local")
    journal = Journal.at(loaded.journal, folder / "var")

    async def drain(url: str) -> int:
        state = State(loaded.state, url)
        try:
            return await journal.drain(state)
        finally:
            await state.close()

    with EmbeddedRedis(folder / "var") as redis:
        assert asyncio.run(drain(redis.url)) == 24
    found = replay.names(journal, 1000)
    assert {row.lineage for row in found} == {"shop"}
    assert len({row.owner for row in found}) == 8
