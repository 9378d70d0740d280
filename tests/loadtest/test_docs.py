"""The measurements on the pages that take seconds are taken, on little; of the others see `test_docs_commands.py`."""

from __future__ import annotations

import importlib

import pytest
import typer
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.documented import documented


def told(words: list[str], *more: str) -> str:
    """What `python -m MODULE ...` prints, in this process."""
    _, _, module, *rest = words
    app = typer.Typer()
    app.command()(importlib.import_module(module).main)
    done = CliRunner().invoke(app, [*rest, *more])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
def test_a_day_of_autoscaling_comes_out_as_the_page_shows() -> None:
    words = documented("python -m loadtest.autoscaling --target 2 --target 4 --target 8 --target 16")
    rows = [row.replace("%", " %") for row in told(words[:5]).splitlines()[2:]]  # the first of the four targets
    page = (ROOT / "docs" / "scaling.md").read_text().replace("**", "")
    assert len(rows) == 2
    assert all(row in page for row in rows), rows


@pytest.mark.slow
def test_what_a_spec_takes_in_redis_is_measured() -> None:
    words = documented("python -m loadtest.footprint SPEC...")
    out = told(words[:-1], str(ROOT / "examples" / "issue-tracker.json"))
    assert out.count("| issue-tracker | ") == 2


def test_the_read_before_a_prediction_is_measured() -> None:
    assert told(documented("python -m loadtest.recall"), "--rounds", "1").count("ms of CPU") == 4
