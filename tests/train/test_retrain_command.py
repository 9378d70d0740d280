"""The command itself, on a private Ray, an embedded Redis and an embedded registry: what `POST /train` runs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.retraining import fill
from pipeline import settings as configuration
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.registry import Registry
from pipeline.stores.state import State
from pipeline.stores.trainings import Ended
from tests.documented import documented


@pytest.mark.cluster
@pytest.mark.redis
@pytest.mark.slow
def test_the_command_trains_on_ray_and_registers_with_a_report(tmp_path: Path) -> None:
    fill(tmp_path / "var", 400, None)
    programs = {"opensesame": [str(Path(sys.executable).parent / "opensesame")], "python": [sys.executable, "-P"]}
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"OPENSESAME__TRAIN__ROUNDS": "40"}

    def run(words: list[str], *more: str) -> subprocess.CompletedProcess[str]:
        command = [*programs[words[0]], *words[1:], *more]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    done = run(documented("opensesame train --force"), "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["status"] in ("promoted", "refused")
    told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert list(dict.fromkeys(line["step"] for line in told)) == ["drain", "dataset", "fit", "evaluate", "register"]
    section = configuration.load().registry.model_copy(update={"folder": str(tmp_path / "var" / "mlflow")})
    version = Registry(section).show(outcome["version"])
    assert version.gate is not None
    assert version.gate["passed"] == (outcome["status"] == "promoted")
    assert {"later/hit@1", "synthetic/hit@1", "examples/hit@1"} <= version.metrics.keys()
    assert version.params["heads"] == "prompt_only,prompt_history,history_only"
    retrain = documented("python -m train.retrain --var var --json")
    again = run(retrain)
    assert json.loads(again.stdout.splitlines()[-1])["status"] == "waiting"
    again = run(documented("opensesame train"))
    assert (again.returncode, "waiting" in again.stdout) == (0, True), again
    (tmp_path / "broken.yaml").write_text("ranker: {artifact: nowhere.json}\n")
    assert run(retrain, "--force", "--config", str(tmp_path / "broken.yaml")).returncode == 1
    assert _endings(tmp_path / "var") == {outcome["status"]: 1, "waiting": 2, "failed": 1}


def _endings(var: Path) -> dict[str, int]:
    """How trainings ended, as deployment Models will read it."""
    limits = configuration.load().state
    with EmbeddedRedis(var) as redis:

        async def read() -> Ended:
            state = State(limits, redis.url)
            try:
                return await state.trainings.read()
            finally:
                await state.close()

        return {ending: count for ending, count in asyncio.run(read()).counts.items() if count}
