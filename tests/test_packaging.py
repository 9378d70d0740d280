"""The wheel holds all it needs: configurations, examples, the ranker; it works from any folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def _run(*command: str, cwd: Path, path: Path) -> str:
    environment = {"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_built_wheel_predicts_from_a_folder_of_decoys(tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("opensesame-*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)
    assert (site / "serve" / "console" / "index.html").is_file()
    folder = tmp_path / "elsewhere"
    (folder / "pipeline").mkdir(parents=True)
    for decoy in ("train.py", "serve.py", "pipeline/__init__.py"):
        (folder / decoy).write_text("raise RuntimeError('a decoy was imported')\n")
    where = _run(sys.executable, "-P", "-c", "import pipeline; print(pipeline.__file__)", cwd=folder, path=site)
    assert Path(where.strip()).is_relative_to(site)
    script = str(site / "bin" / "opensesame")
    said = _run(
        sys.executable, script, "predict", "--prompt", "refund the charge", "--call", "GET /v1/charges/ch_1", "--json",
        cwd=folder, path=site,
    )  # fmt: skip
    answer = json.loads(said)
    assert answer["predictions"][0]["endpoint"] == "POST /v1/refunds"
    assert answer["metadata"]["model_version"] != "cold-start"
    for config in ("local", "local-vllm", "cluster"):
        _run(sys.executable, script, "check-config", config, cwd=folder, path=site)


def test_the_client_is_a_wheel_of_its_own(tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "-q"]
    source = ROOT / "opensesame_client"
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("opensesame_client-*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)
    assert (site / "opensesame_client" / "py.typed").is_file()
    code = "import opensesame_client as c; print(c.__file__, c.Client().url)"
    said = _run(sys.executable, "-P", "-c", code, cwd=tmp_path, path=site)
    assert said.split() == [str(site / "opensesame_client" / "__init__.py"), "http://127.0.0.1:8000"]
