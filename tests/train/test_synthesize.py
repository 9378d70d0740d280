"""The command that writes synthetic sessions: repeatable, counted, and clear about what it cannot use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline import settings
from pipeline.errors import BadRequest
from tests.conftest import NOTES
from tests.documented import documented
from tests.train.conftest import spec
from train import corpus, synthesize

APP = typer.Typer()
APP.command()(synthesize.run)


def _run(*arguments: object) -> str:
    done = CliRunner().invoke(APP, [str(a) for a in arguments])
    if done.exception is not None:
        raise done.exception
    return done.output


def test_the_same_seed_writes_the_same_bytes(specs_folder: Path, tmp_path: Path) -> None:
    def written(name: str, seed: int) -> dict[str, bytes]:
        out = tmp_path / name
        words = documented("opensesame synthesize --specs FOLDER --out var/corpus --count 1000")
        asked = [{"FOLDER": specs_folder, "var/corpus": out}.get(word, word) for word in words[2:]]
        _run(*asked, "--sessions", 4, "--seed", seed, "--workers", 1)
        return {file.name: file.read_bytes() for file in out.iterdir()}

    first = written("a", 7)
    assert set(first) == {"sessions.parquet", "catalogs.parquet"}
    assert first == written("b", 7)
    assert first != written("c", 8)


def test_the_summary_counts_what_was_made_and_what_was_not(specs_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(specs_folder, tmp_path / "specs")
    (folder / "broken.example.json").write_text("{")
    (folder / "notes.example.yaml").write_text(NOTES)
    (folder / "tiny.example.json").write_text(json.dumps({"openapi": "3.0.0", "paths": {"/a": {"get": {}}}}))
    (folder / "github.com.json").write_text(json.dumps(spec("fork", "star")))
    (folder / "garden.example").mkdir()
    (folder / "garden.example" / "copy.json").write_text(json.dumps(spec("plant", "bed", "watering")))
    said = _run("--specs", folder, "--out", tmp_path / "out", "--sessions", 3, "--workers", 1)
    sessions = [s for _, made in corpus.read(tmp_path / "out") for s in made]
    calls = sum(len(s.calls) for s in sessions)
    assert f"{len(sessions)} sessions of {calls} calls from 13 specs of 13 providers" in said
    for left_out in ("1 neither JSON nor YAML", "1 with fewer than 5 operations", "1 of evaluation families"):
        assert left_out in said
    assert "1 like another one" in said


def test_yaml_specs_are_used(tmp_path: Path) -> None:
    (tmp_path / "notes.example.yaml").write_text(NOTES)
    [chosen] = corpus.choose(tmp_path, corpus.Plan(), limits=settings.load().parse)
    assert (chosen.name, chosen.provider) == ("notes.example.yaml", "notes.example")


def test_a_folder_without_specs_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(BadRequest, match="to learn from: 1 with fewer than 5 operations"):
        _run("--specs", tmp_path, "--out", tmp_path / "out")
    with pytest.raises(BadRequest, match="is no folder"):
        _run("--specs", tmp_path / "gone", "--out", tmp_path / "out")


def test_an_unreadable_excluded_spec_and_an_unwritable_folder_are_errors(specs_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "excluded").mkdir()
    (tmp_path / "excluded" / "a.json").write_text("{")
    with pytest.raises(BadRequest, match="cannot be read, so that nobody knows"):
        _run("--specs", specs_folder, "--out", tmp_path / "out", "--exclude", tmp_path / "excluded")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="cannot be written"):
        _run("--specs", specs_folder, "--out", tmp_path / "file", "--sessions", 1, "--workers", 1)
