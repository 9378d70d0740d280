"""`opensesame models` beside a service and through one; `opensesame train` follows a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from pipeline import settings
from pipeline.errors import OpenSesameError
from pipeline.stores.registry import Registry
from serve import cli, model_commands, terminal
from tests.artefacts import saved_ranker
from tests.documented import documented
from train import gate

run = CliRunner().invoke


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("var")
    registry = Registry(settings.under(settings.load("local"), folder).registry)
    registry.register(saved_ranker("made-1"), metrics={"hit@1": 0.7, "mrr": 0.8})
    registry.register(saved_ranker("made-2", 2.0), metrics={"hit@1": 0.5}, gate={"passed": False, "why": "no"})
    registry.register(saved_ranker("made-3", 3.0), metrics={"hit@1": 0.6})
    return folder


@pytest.mark.slow
def test_models_are_listed_shown_promoted_rolled_back_and_compared(var: Path) -> None:
    def said(words: list[str], *more: str) -> str:
        done = run(cli.app, [*words[1:], *more, "--var", str(var)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "made-2" in said(documented("opensesame models list"))
    shown = said(documented("opensesame models show 2"))
    assert "hit@1 = 0.5" in shown
    assert "gate         refused: no" in shown
    assert "champion 1" in said(["opensesame", "models", "promote", "1"])
    assert "champion 2" in said(documented("opensesame models promote 2"))
    assert "champion 1, previous 2" in said(documented("opensesame models rollback"))
    listed = json.loads(said(["opensesame", "models"], "list", "--json"))
    assert (listed["champion"], listed["previous"]) == ("1", "2")
    asked = ["2" if word == "VERSION" else word for word in documented("opensesame models challenge VERSION")]
    assert "champion 1, challenger 2" in said(asked)
    itself = run(cli.app, ["models", "challenge", "1", "--var", str(var)])
    assert itself.exit_code == 1
    assert "is the champion" in itself.stderr
    assert "champion 1, challenger 3" in said(documented("opensesame models challenge 3"))
    told = json.loads(said(documented("opensesame models compare"), "--json"))
    assert told == {"versions": ["1", "3"], "metrics": {"hit@1": [0.7, 0.6], "mrr": [0.8, None]}}
    assert "champion 1, challenger none" in said(documented("opensesame models challenge"))
    assert "-0.1000" in said(documented("opensesame models compare"), "1", "3")
    wrong = run(cli.app, ["models", "promote", "9", "--var", str(var)])
    assert wrong.exit_code == 1
    assert "no model version '9'" in wrong.stderr


class Played:
    """A service: answers by method and path, in turn."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, bytes | None]] = []

    def __call__(self, url: str, method: str, path: str, data: bytes | None = None, kind: str = "") -> Any:
        self.asked.append((method, path, data))
        lines = self.answers[method]
        return lines.pop(0) if len(lines) > 1 else lines[0]


def commands(service: Played) -> typer.Typer:
    app = typer.Typer()
    model_commands.register(app, service, terminal.errors)
    return app


def test_through_a_service_nothing_is_opened_here(tmp_path: Path) -> None:
    service = Played(POST=[{"champion": "2", "previous": "1"}])
    done = run(commands(service), ["models", "promote", "2", "--url", "http://x", "--var", str(tmp_path)])
    assert "champion 2, previous 1" in done.stdout
    assert service.asked == [("POST", "/models/2/promote", b"{}")]
    both = {"champion": "2", "challenger": "3"}
    service = Played(POST=[both], DELETE=[{**both, "challenger": None}])
    done = run(commands(service), ["models", "challenge", "3", "--url", "http://x"])
    assert "champion 2, challenger 3" in done.stdout
    assert "challenger none" in run(commands(service), ["models", "challenge", "--url", "http://x"]).stdout
    assert [asked[:2] for asked in service.asked] == [
        ("POST", "/models/3/challenge"),
        ("DELETE", "/models/challenger"),
    ]
    assert not list(tmp_path.iterdir())


def test_the_gate_is_told_as_a_table_of_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_commands, "_out", Console(width=120))
    later = gate.Condition("later data", False, "hit@1 0.500 -> 0.480", 240, 0.5, 0.48, -0.031, -0.004)
    timed = gate.Condition("scoring time", True, "0.2 -> 0.3 ms", 40, 0.0002, 0.0003)
    few = gate.Condition("golden suites", False, "there is no golden suite [of any kind]")
    report = msgspec.to_builtins(gate.Report("made-1", "made-2", False, "worse on later data", (later, timed, few)))
    names = ("version", "name", "origin", "created", "fingerprint", "sha256")
    version = dict.fromkeys(names, "x") | {"aliases": [], "metrics": {}, "params": {}, "gate": report}
    service = commands(Played(GET=[version]))
    shown = run(service, ["models", "show", "2", "--url", "http://x"]).stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    assert rows == [
        ["later data", "FAIL", "-0.02", "-0.031 .. -0.004", "hit@1 0.500 -> 0.480"],
        ["scoring time", "pass", "+0.0001", "", "0.2 -> 0.3 ms"],
        ["golden suites", "FAIL", "", "", "there is no golden suite [of any kind]"],
    ]
    assert "refused: worse on later data" in shown
    told = json.loads(run(service, ["models", "show", "2", "--url", "http://x", "--json"]).stdout)
    assert told["gate"] == json.loads(json.dumps(report))


def test_a_training_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_commands, "_POLL_S", 0.0)
    running, over = {"job_id": "j", "status": "running"}, {"job_id": "j", "status": "succeeded"}
    service = Played(POST=[{"job_id": "j"}], GET=[running, running, over])
    done = run(commands(service), ["train", "--url", "http://x", "--force", "--json"])
    assert done.exit_code == 0
    assert [json.loads(line)["job_id"] for line in done.stdout.splitlines()] == ["j", "j", "j"]
    assert service.asked[0] == ("POST", "/train", b'{"force":true}')
    over["progress"] = {"status": "refused", "why": "only 14 later groups"}
    shown = run(commands(Played(POST=[{"job_id": "j"}], GET=[running, over])), ["train", "--url", "http://x"])
    assert shown.stdout == "refused: only 14 later groups\n"
    failed = Played(POST=[{"job_id": "j"}], GET=[{"job_id": "j", "status": "failed", "detail": "no labels"}])
    done = run(commands(failed), ["train", "--url", "http://x"])
    assert done.exit_code == 1
    assert "no labels" in done.stderr


def test_comparing_needs_two() -> None:
    service = Played(GET=[{"champion": "1", "challenger": None, "models": [{"version": "1"}]}])
    done = run(commands(service), ["models", "compare", "--url", "http://x"])
    assert done.exit_code == 1
    with pytest.raises(OpenSesameError):
        model_commands.compared(model_commands._Remote("http://x", service), "", "")
