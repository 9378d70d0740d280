"""docs/costs.md says what is: its reasons are the router's, its settings are taken, its thresholds are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from pipeline import settings
from pipeline.candidates import route
from pipeline.stores.spend import KEPT_DAYS
from tests.documented import every

DOC = (Path(__file__).resolve().parents[1] / "docs" / "costs.md").read_text()


def test_every_reason_of_the_router_is_explained():
    table = DOC.split("| `metadata.route.reason` | |")[1].split("\n\n")[0]
    told = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    assert sorted(reason for reasons in told for reason in reasons) == sorted(get_args(route.Reason))
    assert {reason for reasons in told[-2:] for reason in reasons} == route.DEGRADED


def test_the_thresholds_are_the_codes():
    assert f"from {route.WARN_AT:.0%}".replace("%", " %") in DOC
    assert f"from {route.SAVE_AT:.0%}".replace("%", " %") in DOC
    assert f"{KEPT_DAYS} days back" in DOC


def test_the_variables_are_settings(monkeypatch: pytest.MonkeyPatch):
    exports = [line.removeprefix("export ").split("=", 1) for line in every("docs/costs.md", "export")]
    assert len(exports) >= 5
    for name, value in exports:
        monkeypatch.setenv(name, value)
    loaded = settings.load("local")
    assert loaded.endpoint.url == "https://llm.example.com/v1"
    assert loaded.generator.price.usd_per_hour == 2.5
    for name in re.findall(r"`((?:router|endpoint|generator|guardrails)\.\w+)`", DOC):
        section, key = name.split(".")
        assert key in getattr(loaded, section).model_dump(), name
