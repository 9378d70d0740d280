"""The Makefile: every target of `make help` is phony and wants nothing beside the clone; CI runs two of them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.documented import documented
from tests.test_docs_commands import MAKEFILE, _check_make, _make

TARGETS = re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE)


def test_every_target_is_phony() -> None:
    phony = " ".join(re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE)).split()
    assert sorted(phony) == sorted(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_its_programs_take_what_they_are_given_without_the_evaluation_folder(target: str) -> None:
    _check_make([target, "EVAL=nowhere"])


def test_the_bench_is_given_a_spec_only_where_there_is_one(tmp_path: Path) -> None:
    assert "--spec" not in _make("-n", "bench", "EVAL=nowhere")
    assert "--spec some.yaml" in _make("-n", "bench", "EVAL=nowhere", "SPEC=some.yaml")
    (tmp_path / "specs").mkdir()
    github = tmp_path / "specs" / "github.json"
    github.touch()
    assert f"--spec {github}" in _make("-n", "bench", f"EVAL={tmp_path}")


def test_ci_lints_and_then_runs_the_tests_as_the_readme_does(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (tmp_path / "make").write_text(f'#!/bin/sh\necho "$@" >> {made}\n')
    (tmp_path / "make").chmod(0o755)
    subprocess.run([ROOT / ".ci" / "run"], env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
    assert made.read_text().splitlines() == ["lint", " ".join(documented("make test VLLM=cpu")[1:])]
