"""What README and docs/ link to is there: files, headings.

Their commands and documents: `test_docs_commands.py`. What a single page promises is held by a test of its own
(`test_learning_docs.py`, `client/test_docs.py`, ...).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.documented import CODE, PAGES


def links(text: str) -> list[str]:
    """Targets of the links and images of a page, but for those on the web."""
    prose = re.sub(r"`[^`\n]*`", "", CODE.sub("", text))
    return [to for to in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", to)]


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    heads = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_links_every_page_of_docs() -> None:
    linked = {link.split("#")[0] for link in links((ROOT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_links_are_read() -> None:
    text = "[a](docs/cli.md#opensesame-serve) [b](https://x.example) `[c](no)`\n\n    [d](no)\n\n```sh\n[e](no)\n```\n"
    assert links(text) == ["docs/cli.md#opensesame-serve"]
    assert "opensesame-serve" in anchors(ROOT / "docs" / "cli.md")
    assert "opensesame-nope" not in anchors(ROOT / "docs" / "cli.md")
