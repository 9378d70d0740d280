"""docs/learning.md says what is: its tables are the code's, its commands and requests are taken."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from pipeline import settings as configuration
from pipeline.feedback import SCALE
from serve import cli, outcomes, schemas
from serve.suggest import SuggestRequest
from train import gate
from train.retrain import gate_limits

ROOT = Path(__file__).resolve().parents[1]
DOC = (ROOT / "docs" / "learning.md").read_text()
COMMANDS = [line.strip() for line in DOC.splitlines() if re.match(r" {4}(opensesame|python -m|curl) ", line)]
COMMANDS += re.findall(r"`((?:opensesame|python -m) [^`]+)`", DOC)
BODIES = {
    "/feedback": schemas.FeedbackRequest,
    "/events": outcomes.EventsRequest,
    "/log_event": outcomes.LogEventRequest,
    "/suggest": SuggestRequest,
}


def rows(first: str) -> list[list[str]]:
    """Cells of the table whose first head cell is `first`."""
    lines = DOC[DOC.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_label_scale_is_the_codes() -> None:
    told = [
        (name, int(label), float(weight), float(amount), text) for name, label, weight, amount, text in rows("outcome")
    ]
    assert told == [(name, *grade) for name, grade in SCALE.items()]


def test_the_limits_of_the_gate_are_the_codes() -> None:
    told = {name: float(value) for name, value, _ in rows("limit")}
    assert told == pytest.approx(msgspec.to_builtins(gate.Limits()))
    assert gate_limits(configuration.load()) == gate.Limits()


def test_settings_and_their_defaults_are_the_codes() -> None:
    loaded = configuration.load().model_dump()
    for name, value, _ in rows("setting"):
        section, key = name.split(".")
        assert loaded[section][key] == float(value), name
    for section, key in re.findall(r"`(train|state|journal|registry|ranker|experiments)\.(\w+)`", DOC):
        assert key in loaded[section], f"{section}.{key}"
    for key in re.findall(r"`(\w+_percent)`", DOC):
        assert loaded["experiments"][key] == 0


def _parsed(arguments: list[str]) -> None:
    """What `opensesame` or a module would do with its arguments, up to doing it."""
    command: Any = typer.main.get_command(cli.app)
    if arguments[0] == "python":
        app = typer.Typer()
        app.command()(importlib.import_module(arguments[2]).main)
        command, arguments = typer.main.get_command(app), arguments[2:]
    arguments = arguments[1:]
    while hasattr(command, "commands") and arguments:  # a group
        found = command.commands.get(arguments[0])
        assert found is not None, arguments
        command, arguments = found, arguments[1:]
    for flag in (argument for argument in arguments if argument.startswith("--")):
        assert flag in {name for option in command.params for name in option.opts}, flag
    values = [argument for argument in arguments if not argument.startswith("../")]  # no file of ours
    if values == arguments:
        command.make_context(command.name, list(arguments))


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_taken(line: str) -> None:
    arguments = shlex.split(line)
    if arguments[0] != "curl":
        _parsed(arguments)
        return
    path = arguments[2].removeprefix("localhost:8000")
    assert schemas.read_json(json.dumps(json.loads(arguments[-1])).encode(), BODIES[path])


def test_files_that_are_named_are_there() -> None:
    named = re.findall(r"`((?:pipeline|train|tests|stores|ranking|models)/[\w./]+)`", DOC)
    assert named
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "pipeline" / name).exists(), name
    assert (ROOT / "docs" / "ranking.md").exists()
