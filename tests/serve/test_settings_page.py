"""docs/configuration.md is what the settings and the comments of configs/ say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline import settings
from serve import settings_page
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text()


def test_the_page_is_fresh() -> None:
    assert settings_page.page() == PAGE, "write it anew: make docs"


def test_every_key_of_every_section_is_on_the_page() -> None:
    for section, keys in settings.load("local").model_dump().items():
        told = PAGE[PAGE.index(f"\n## `{section}`\n") :].split("\n## ", 2)[1]
        for key in keys:
            assert f"| {key} |" in told or f"| **{key}** |" in told, f"{section}.{key}"


def test_values_ranges_and_comments_come_from_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        'one:  # of one\n  text: "# no comment"   # a | b\n  list: [1, 2]\n  deep:\n    key: {min: 1}   # last\n'
    )
    keys = list(settings_page.read(tmp_path / "a.yaml"))
    assert [(".".join(key.path), key.value, key.comment) for key in keys] == [
        ("one", None, "of one"),
        ("one.text", "# no comment", "a | b"),
        ("one.list", [1, 2], ""),
        ("one.deep", None, ""),
        ("one.deep.key", {"min": 1}, "last"),
    ]
    assert "| port | `8000` | whole number from 0 to 65535 |" in PAGE
    assert '| auth | `"none"` | `none`, `keys`, `jwt` | none: loopback only' in PAGE


def test_the_environment_changes_what_the_page_says_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    (name, value), *_ = re.findall(r"`(OPENSESAME__\w+)=([^`]+)`", PAGE)
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENSESAME__FETCH__PORTS", "[443]")
    monkeypatch.setenv("OPENSESAME__RANKER__REPLICAS", '{"min": 2, "max": 3}')
    loaded = settings.load("local")
    assert (loaded.state.url, loaded.fetch.ports, loaded.ranker.replicas.max) == (value, (443,), 3)
