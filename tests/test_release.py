"""What goes out with a version: the changelog has its section, NOTICE names what the package brings beside code."""

from __future__ import annotations

import re
import tomllib

from pipeline.ranking.ranker import packaged_path
from tests.conftest import ROOT


def test_the_changelog_has_a_dated_section_of_the_version_that_is_built() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    sections = re.findall(r"^## \[(.+)\](?: - (\d{4}-\d\d-\d\d))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert dict(sections)[version]


def test_the_notice_names_every_part_of_the_packaged_ranker() -> None:
    notice = (ROOT / "NOTICE").read_text()
    parts = {path.name for path in packaged_path().parent.iterdir()} - {"ranker.md"}  # the card
    assert [part for part in sorted(parts) if part not in notice] == []
