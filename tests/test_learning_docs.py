"""docs/learning.md says what is: its tables are the code's, the files it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pipeline import settings as configuration
from pipeline.feedback import SCALE
from train import gate
from train.retrain import gate_limits

ROOT = Path(__file__).resolve().parents[1]
DOC = (ROOT / "docs" / "learning.md").read_text()


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


def test_the_candidates_that_are_timed_are_the_longest_shortlist() -> None:
    assert configuration.load().shortlist.total == gate._ROWS
    assert f"**Scoring time**: {gate._ROWS} candidates" in DOC


def test_settings_and_their_defaults_are_the_codes() -> None:
    loaded = configuration.load().model_dump()
    for name, value, _ in rows("setting"):
        section, key = name.split(".")
        assert loaded[section][key] == float(value), name
    for section, key in re.findall(r"`(train|state|journal|registry|ranker|experiments)\.(\w+)`", DOC):
        assert key in loaded[section], f"{section}.{key}"
    for key in re.findall(r"`(\w+_percent)`", DOC):
        assert loaded["experiments"][key] == 0


def test_files_that_are_named_are_there() -> None:
    named = re.findall(r"`((?:pipeline|train|tests|stores|ranking|models)/[\w./]+)`", DOC)
    assert named
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "pipeline" / name).exists(), name
    assert (ROOT / "docs" / "ranking.md").exists()
