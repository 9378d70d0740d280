"""The command line: what people type works without a server, and wrong input ends in one clear line."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.cli import get_docs_for_click
from typer.testing import CliRunner

from pipeline import settings
from pipeline.stores.apikeys import SCOPES, id_of, read_keys
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.pseudonym import pseudonym, secret_of
from pipeline.stores.state import State, new_id
from pipeline.types import Feedback, Impression
from serve.cli import app
from serve.key_commands import Scope
from tests.conftest import NOTES, ROOT
from tests.documented import documented, every

run = CliRunner().invoke


def test_predict_answers_without_a_server():
    _, *asked = documented('opensesame predict --spec billing --prompt "refund the charge"')
    assert "POST /v1/refunds" in run(app, asked).stdout
    done = run(app, [*asked, "--call", "GET /v1/charges/ch_1", "--json"])
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


def test_a_long_call_can_be_copied_from_a_narrow_screen(tmp_path: Path):
    path = "/organizations/{organization_id}/services/{service_id}"
    spec = {"openapi": "3.1.0", "info": {"title": "Deep", "version": "1"}, "paths": {path: {"get": {}}}}
    (tmp_path / "deep.json").write_text(json.dumps(spec))
    done = run(app, ["predict", "--spec", str(tmp_path / "deep.json"), "--prompt", "get the service"])
    assert any(f"GET {path}" in line for line in done.stdout.splitlines()), done.stdout
    beyond = {path + path.replace("_id", "_identifier"): {"get": {}}}
    (tmp_path / "deep.json").write_text(json.dumps(spec | {"paths": beyond}))
    done = run(app, ["predict", "--spec", str(tmp_path / "deep.json"), "--prompt", "get the service"])
    assert next(iter(beyond)) in re.sub(r"\s", "", done.stdout), done.stdout  # folded, not cut


def test_a_file_of_any_size_is_read_without_a_server(tmp_path: Path):
    padded = tmp_path / "large.yaml"
    padded.write_text(NOTES + f"x-padding: {'x' * (3 << 20)}\n")
    for arguments in (
        ["predict", "--prompt", "list my notes", "--k", "1"],
        ["watch", str(tmp_path / "a.log"), "--to-end"],
    ):
        (tmp_path / "a.log").write_text('1.2.3.4 - - [10/Oct/2026:13:00:00 +0000] "GET /notes HTTP/1.1" 200 5\n')
        done = run(app, [*arguments, "--spec", str(padded)])
        assert done.exit_code == 0
        assert "GET /notes" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "--spec", "no-such-spec"], "There is no spec 'no-such-spec'"),
        (["predict", "--call", "charges"], "endpoint must be 'METHOD /path'"),  # could be the id of a proposition
        (["check-config", "nope"], "There is no configuration 'nope'"),
        (["predict", "--request", "nowhere.json"], "nowhere.json cannot be read"),
        (["synthesize", "--specs", "nowhere", "--out", "nowhere"], "nowhere is no folder"),
        (["import", "nowhere.har", "--spec", "billing", "--dry-run"], "nowhere.har cannot be read"),
    ],
)
def test_wrong_input_ends_in_one_line_and_status_1(arguments: list[str], says: str):
    done = run(app, arguments)
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["predict", "--spec", "cut.json"],
            "The JSON is broken or cut off: unexpected end of data, at line 1, column 6.",
        ),
        (["predict", "--spec", "cut.yaml"], "did not find expected node content, at line 2, column 1."),
        (["predict", "--request", "cut.json"], "cut.json is not JSON: unexpected end of data"),
        (["predict", "--request", "list.json"], "list.json holds no JSON object"),
        (["predict", "--request", "list.json", "--url", "http://127.0.0.1:1"], "list.json holds no JSON object"),
        (
            ["check-config", "cut.yaml"],
            "cut.yaml is not YAML: expected the node content, but found '<stream end>', line 2",
        ),
        (["check-config", "binary.yaml"], "binary.yaml is not YAML: it is no UTF-8 text"),
        (["serve", "--var", "list.json"], "list.json cannot hold the state"),
        (["evaluate", "list.json", "--specs", ".", "--out", "list.json/out"], "list.json/out cannot be written"),
        (["forget", "--user", ""], "name a user"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.json").write_text('{"a":')
    (tmp_path / "cut.yaml").write_text("a: [\n")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    done = run(app, arguments)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.exception
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert says in line


@pytest.mark.parametrize("arguments", [["catalogs"], ["predict"], ["feedback", "accept", "--user", "ana"]])
def test_a_service_that_does_not_answer_is_status_3(arguments: list[str]):
    done = run(app, [*arguments, "--url", "http://127.0.0.1:1"])
    assert done.exit_code == 3
    assert "does not answer" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["feedback", "accept"], "--user"),
        (["catalogs", "--remove"], "name the catalog"),
        (["catalogs", "ghost", "--put", "shop.yaml", "--remove"], "exclude each other"),
        (["predict", "--no-such-option"], "No such option"),
        (["predict", "--k", "99"], "'--k': Input should be less than or equal to 50"),
        (["predict", "--k", "0", "--url", "http://127.0.0.1:1"], "'--k': Input should be greater than or equal to 1"),
        (["watch", "a.log", "--k", "99"], "'--k': Input should be less than or equal to 50"),
        (["predict", "--call", "/v1/charges"], "--call must be 'METHOD /path'"),
        (["predict", "--call", "FETCH /v1", "--url", "http://127.0.0.1:1"], "--call: 'FETCH' is no HTTP method"),
        (["feedback", "override", "--user", "ana", "--chosen", "/v1"], "--chosen must be 'METHOD /path'"),
        (["feedback", "override", "--user", "ana"], "--chosen"),
        (["evaluate", ".", "--specs", ".", "--out", "."], "is a directory"),
        (["serve", "--port", "99999"], "'--port': Input should be less than or equal to 65535"),
        (["keys", "create", "--tenant", "acme", "--scope", "admin"], "'--scope'"),
        (["import", "a.har", "--spec", "billing"], "Say where the sessions go with --out"),
        (["evaluate", ".", "--specs", ".", "--prequential", "--url", "http://127.0.0.1:1"], "leave --url away"),
    ],
)
def test_a_wrong_command_line_is_status_2(arguments: list[str], says: str):
    done = run(app, arguments)
    assert done.exit_code == 2
    assert says in " ".join(re.sub("[│╭╮╰╯─]", " ", done.output).split())
    assert "Traceback" not in done.output


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8000", "http://", "http://x:y"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["predict"],
        ["feedback", "accept", "--user", "ana"],
        ["catalogs"],
        ["watch", "a.log", "--to-end"],
        ["mcp"],
        ["models", "list"],
        ["train"],
        ["evaluate", ".", "--specs", "."],
        ["import", "a.log", "--spec", "billing", "--learn"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_address_that_is_none_is_status_2(
    arguments: list[str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.log").write_text('1.2.3.4 - - [10/Oct/2026:13:00:00 +0000] "GET /v1/charges HTTP/1.1" 200 5\n' * 2)
    done = run(app, [*arguments, "--url", url])
    assert done.exit_code == 2, done.output
    assert "is no address of a service: it begins with http:// or https://" in " ".join(
        re.sub("[│╭╮╰╯─]", " ", done.output).split()
    )


def test_the_version_is_the_projects():
    done = run(app, documented("opensesame --version")[1:])
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (done.exit_code, done.stdout.strip()) == (0, written)


def test_help_is_the_documentation():
    command = typer.main.get_command(app)
    told = get_docs_for_click(obj=command, ctx=typer.Context(command), name="opensesame")
    written = (ROOT / "docs" / "cli.md").read_text()
    assert written.strip() == told.strip(), "write it anew: make docs"
    assert all(usage.startswith("$ opensesame") for usage in every("docs/cli.md", "console"))


def test_every_command_that_answers_does_so_in_json_too():
    def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for inner in command.commands.values():
                yield from leaves(inner, f"{name} {inner.name}".strip())
        else:
            yield name, command

    for name, command in leaves(typer.main.get_command(app), ""):
        flags = [option.is_flag for option in command.params if "--json" in option.opts]
        assert flags == ([] if name == "mcp" else [True]), name  # mcp speaks a protocol


def test_a_cold_start_loads_nothing_that_a_prediction_can_do_without(tmp_path: Path):
    (tmp_path / "notes.yaml").write_text(NOTES)
    code = (
        "import sys; from serve.cli import app\n"
        "app(['predict', '--spec', 'notes.yaml', '--prompt', 'list my notes', '--json'], standalone_mode=False)\n"
        "print([m for m in ('torch', 'sklearn', 'pandas', 'ray', 'fastapi', 'mlflow', 'mcp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "GET /notes" in done.stdout
    assert done.stdout.strip().endswith("[]")


@pytest.mark.redis
def test_forget_takes_a_user_out_of_the_state_that_serve_left(tmp_path: Path):
    async def remember(user: str) -> str:
        state = State(settings.load("local").state, embedded.url)
        await state.remember(Impression(new_id(), "local", user, "notes", "sha256:1", time.time(), ("GET /notes",)))
        joined = await state.join(Feedback("accept", user=user))
        await state.close()
        return joined.id

    async def last(user: str) -> str:
        state = State(settings.load("local").state, embedded.url)
        joined = await state.join(Feedback("accept", user=user))
        await state.close()
        return joined.id

    secret = secret_of(settings.load("local").privacy, tmp_path)
    ana, bob = (pseudonym(secret, "local", name) for name in ("ana", "bob"))  # as a request's user is kept
    with EmbeddedRedis(tmp_path) as embedded:
        assert asyncio.run(remember(ana))
        bobs = asyncio.run(remember(bob))
    done = run(app, [*documented("opensesame forget --user ana")[1:], "--var", str(tmp_path), "--json"])
    assert json.loads(done.stdout)["impressions"] == 1
    with EmbeddedRedis(tmp_path) as embedded:
        assert (asyncio.run(last(ana)), asyncio.run(last(bob))) == ("", bobs)
    refused = run(app, ["forget", "--user", "anonymous", "--var", str(tmp_path)])
    assert (refused.exit_code, "name a user" in refused.output) == (1, True)


@pytest.mark.redis
def test_keys_are_made_listed_and_revoked_and_told_once(tmp_path: Path):
    here = ["--var", str(tmp_path)]
    _, *asked = documented("opensesame keys create --tenant acme --scope predict")
    made = run(app, [*asked, "--scope", "feedback", *here])
    presented = made.stdout.strip()
    assert id_of(presented)
    listed = run(app, ["keys", "list", "--json", *here])
    (told,) = json.loads(listed.stdout)
    assert (told["id"], told["tenant"], told["scopes"]) == (id_of(presented), "acme", ["predict", "feedback"])
    assert "sha256" not in listed.stdout
    assert run(app, ["keys", "revoke", presented, *here]).exit_code == 0
    again = run(app, ["keys", "revoke", presented, *here])
    assert (again.exit_code, "no such key" in again.output) == (1, True)


def test_the_scopes_offered_are_those_there_are():
    assert [scope.value for scope in Scope] == list(SCOPES)


def test_an_entry_for_a_file_is_printed_beside_its_key_and_kept_nowhere(tmp_path: Path):
    done = run(app, ["keys", "create", "--tenant", "acme", "--scope", "operator", "--entry", "--var", str(tmp_path)])
    (record,) = read_keys(done.stderr).values()
    assert record.opens(done.stdout.strip())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("config", ["local", "local-vllm", "cluster"])
def test_every_configuration_can_be_used(config: str):
    _, command, _ = documented("opensesame check-config local")
    done = run(app, [command, config])
    assert done.exit_code == 0
    assert yaml.safe_load(done.stdout)["generator"]["enabled"] is (config != "local")
    assert json.loads(run(app, [command, config, "--json"]).stdout) == yaml.safe_load(done.stdout)
