"""Every command and document of README and docs/ is run by a test; what cannot be run in one is resolved, and says why.

- run: a test takes it from the page by `tests/documented.py` (`documented`, `every`) and runs it, with addresses,
  folders and placeholders of its own in place of the page's; a JSON or Python block likewise. kubectl runs against an
  API that is played (`tests/k8s/test_docs.py`): there is no cluster.
- docker: names files, targets, services and tags that are there (`tests/docker/test_docs.py`); `make image` runs them.
- make: `make -n` resolves the target, and each program of ours in its recipe takes its arguments; a target installs
  packages, tests, measures for minutes, or starts a command that is run.
- helm, pip: the release is the one whose schemas are tested, the package's folder is there; both want a network.
- long: the program's own parser takes the arguments, for what `LONG` names with the reason.
  These five are typed by `make documented` (`test_docs_minutes.py`).
- name: a program and its subcommand in prose, which is a name and no command to type.

A command or a block that is none of these fails here. `docs/cli.md` is the help texts themselves (`test_cli.py`).
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline import settings
from serve import cli
from tests.conftest import ROOT
from tests.documented import CODE, PAGES, Block, Command, blocks, claims, commands, documented, every, name_of

MAKEFILE = (ROOT / "Makefile").read_text()
HELP = "docs/cli.md"
# Why a module, or `opensesame` with these words, is only parsed.
LONG = {
    "loadtest.bench": "ten minutes",
    "loadtest.beside": "trainings and a service beside each other, minutes",
    "loadtest.hold": "a service under load, ten minutes to half an hour",
    "loadtest.lift": "two minutes",
    "loadtest.retraining": "a training on 100,000 groups; on 400 in tests/train/test_retrain_command.py",
    "loadtest.telemetry": "a Ray of its own, for a figure",
    "pytest": "minutes; with fewer events in every run of the suite",
    "train.default_model": "ten minutes and a thousand specs; on twelve in tests/train/test_default_model.py",
    "train.generator": "a GPU and a language model; a tiny one in tests/train/test_generator.py",
    "train.sweep": "hours, on the groups that `make default-model` leaves",
    "serve --config local-vllm": "a language model and its adapter; a tiny one in tests/e2e/test_generator.py",
}
# Programs of others that prose names without a command to type.
NAMES = {"git revert", "kubectl port-forward", "pip install", "pip install --dry-run", "promtool test rules"}
NAMES |= {"ray job submit", "serve deploy"}
TEXTS = {name_of(page): page.read_text() for page in PAGES}
COMMANDS = {command: None for page, text in TEXTS.items() if page != HELP for command in commands(page, text)}


def kind_of(command: Command) -> str:
    """Which of the kinds above a command is; AssertionError where it is none, or names what is not there."""
    ran = {("documented", command.text), ("every", command.page, command.program)}
    if ran & claims():
        return "run"
    if ("resolved", command.page, command.program) in claims():
        return command.program
    words = command.words
    match words:
        case ["make", *rest]:
            _check_make(rest)
            return "make"
        case ["python", "-m", module, *_] if module in LONG:
            parse(words)
            return "long"
        case ["python", "-m", _] if command.in_prose:
            parse(words)
            return "name"
        case ["opensesame", *rest] if " ".join(rest) in LONG:
            _check_environment(command.environment, rest)
            parse(words)
            return "long"
        case ["opensesame", *rest] if command.in_prose and all(re.fullmatch("[a-z-]+", word) for word in rest):
            parse([*words, "--help"])
            return "name"
        case ["helm", "install", "kuberay-operator", "kuberay/kuberay-operator", "--version", version, *_]:
            assert f"KubeRay\n{version}" in TEXTS["docs/operations.md"], "the schemas are another release's"
            return "helm"
        case ["pip", "install", path] if path.startswith("."):
            assert (ROOT / path / "pyproject.toml").is_file(), path
            return "pip"
        case _ if command.in_prose and command.text in NAMES:
            return "name"
    raise AssertionError(f"{command.page}: no test runs {command.text!r}; let one take it by tests/documented.py")


def check_block(block: Block) -> None:
    """Raises AssertionError where a block is neither commands, nor a drawing, nor what a test takes from its page."""
    if block.kind not in ("shell", "picture"):
        taken = ("every", block.page, block.kind) in claims()
        assert taken, f"{block.page}: no test takes this {block.kind or 'block'}:\n{block.text}"


def parse(words: list[str]) -> None:
    """What a program does with its words, up to doing it; AssertionError where it would not take them."""
    match words:
        case ["opensesame", *rest]:
            _parse_typer(typer.main.get_command(cli.app), rest)
        case ["python", "-m", "pytest", *rest]:
            assert all((ROOT / word).exists() for word in rest if word.startswith("tests/")), rest
        case ["python", "-m", module, *rest]:
            found = importlib.util.find_spec(module)
            assert found is not None, module
            if module.startswith(("loadtest.", "serve.", "train.")) and rest:
                _parse_module(module, rest)
        case ["python", "-c", code]:
            ast.parse(code)
        case [program, *_]:
            assert (Path(sys.executable).parent / program).exists() or importlib.util.find_spec(program), program


def _parse_module(name: str, words: list[str]) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    runs = re.search(
        r"^    (?:typer\.run\((?:module\.)?(\w+)\)|(app)\(\))", Path(module.__file__).read_text(), re.MULTILINE
    )
    if runs is None:
        _parse_argparse(module.main, name, words)
    elif runs[1]:
        app = typer.Typer()
        app.command()(getattr(module, runs[1]))
        _parse_typer(typer.main.get_command(app), words)
    else:
        _parse_typer(typer.main.get_command(module.app), words)


def _parse_typer(command: Any, words: list[str]) -> None:
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    try:
        command.make_context(command.name, list(words))
    except typer.Exit:  # --help
        pass
    except typer.BadParameter as error:
        if "does not exist" not in error.message:  # a file of the reader's
            raise AssertionError(error.message) from None
    except Exception as error:  # Click's other errors, which Typer does not name
        raise AssertionError(f"{' '.join(words)}: {error}") from None


class _Parsed(Exception): ...


def _parse_argparse(main: Any, name: str, words: list[str]) -> None:
    def stop(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
        self.parse_known_args(words, namespace)[1] and self.error(f"{name} does not take all of {words}")
        raise _Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(_Parsed):
            main()


def _check_make(words: list[str]) -> None:
    for name in (word.split("=")[0] for word in words if "=" in word):
        assert re.search(rf"\$\((?:if \$\()?{name}\b", MAKEFILE), f"no variable of the Makefile: {name}"
    recipe = _make("-n", *words).replace("\\\n", " ")
    for line in re.findall(r"\.venv/bin/(\w[^;&|\n]*)", recipe):
        parse(shlex.split(line.split(" > ")[0]))


def _make(*words: str) -> str:
    """What make prints; CalledProcessError where it knows no such target."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    done = subprocess.run(
        ["make", *words], cwd=ROOT, env=plain, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _check_environment(environment: str, words: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (pair.split("=", 1) for pair in shlex.split(environment)):
            patch.setenv(name, value)
        settings.load(words[words.index("--config") + 1])


@pytest.mark.parametrize("page", TEXTS)
def test_every_command_is_run_or_of_a_kind_that_is_not(page: str) -> None:
    for command in (command for command in COMMANDS if command.page == page):
        kind_of(command)


@pytest.mark.parametrize("page", TEXTS)
def test_every_block_is_commands_or_taken_by_a_test(page: str) -> None:
    for block in blocks(page, TEXTS[page]):
        check_block(block)


@pytest.mark.parametrize("page", TEXTS)
def test_no_code_is_written_so_that_it_would_not_be_read(page: str) -> None:
    prose = CODE.sub("", TEXTS[page])
    for mark in ("```", "~~~", "``"):
        assert mark not in prose, f"{page}: {mark}"
    for inline in re.findall(r"`([{\[][^`]*\"[^`]*)`", prose):
        json.loads(inline)


def test_what_is_only_parsed_stands_on_a_page_and_names_its_tests() -> None:
    told = " ".join(command.text for command in COMMANDS) + " "
    for name, why in LONG.items():
        assert f"{name} " in told, name
        assert all((ROOT / test).is_file() for test in re.findall(r"tests/[\w/]+\.py", why)), why


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nopensesame models list --nope\n```\n",
        "```sh\nopensesame models\n```\n",  # no name where it is to be typed
        "```sh\nterraform apply\n```\n",
        "    kubectl -n opensesame delete pods --all\n",
        "`kubectl -n opensesame get secrets`\n",
        "`docker run opensesame`\n",
        "    make nothing\n",
        "    make serve NOPE=1\n",
        "`opensesame nope`\n",
        "`python -m loadtest.nope`\n",
        "    python -m loadtest.autoscaling\n",
        "`python -m loadtest.bench --nope`\n",
        "`python -m loadtest.hold nope --rate 3`\n",
    ],
)
def test_a_command_that_nobody_runs_is_found(text: str) -> None:
    (command,) = commands("docs/new.md", text)
    with pytest.raises((AssertionError, subprocess.CalledProcessError)):
        kind_of(command)


@pytest.mark.parametrize(
    "text", ['```json\n{"a": 1}\n```\n', "    {}\n", "    a: [1]\n", "```python\npass\n```\n", "```\nx\n```\n"]
)
def test_a_block_that_nobody_takes_is_found(text: str) -> None:
    (block,) = blocks("docs/new.md", text)
    with pytest.raises(AssertionError):
        check_block(block)


def test_every_part_of_the_tree_is_there() -> None:
    (tree,) = every("README.md", "tree")
    above: list[str] = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth:] = [line.split()[0]]
        assert (ROOT / "".join(above)).exists(), line


def test_make_tells_its_targets() -> None:
    told = _make(*documented("make help")[1:])
    assert {"setup", "serve", "test", "help"} <= {line.split()[0] for line in told.splitlines()}
