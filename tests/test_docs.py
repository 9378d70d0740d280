"""What README and docs/ name is there: files, headings, make targets and their variables, commands and their options.

What a single page promises is held by a test of its own (`test_learning_docs.py`, `client/test_docs.py`, ...).
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from serve import cli
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "pipeline" / "models" / "ranker.md"])
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z/-]*):", MAKEFILE, re.MULTILINE))
_CODE = re.compile(r"^```(?s:.*?)^```$|^(?: {4}.*\n)+", re.MULTILINE)
_HEADS = ("make", "opensesame", "python")


def links(text: str) -> list[str]:
    """Targets of the links and images of a page, but for those on the web."""
    prose = re.sub(r"`[^`\n]*`", "", _CODE.sub("", text))
    return [to for to in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", to)]


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command of ours on a page: of its blocks, line by line, and of its inline code."""
    blocks = "\n".join(_CODE.findall(text)).replace("\\\n", " ")
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", _CODE.sub("", text))
    for line in [*blocks.splitlines(), *inline]:
        line = re.sub(r"^\s*(\$ )?((nice|[A-Z_]+=\S+)( -n \d+)? )*(\.?/?\.venv/bin/)?", "", line)
        if line.split(" ", 1)[0] in _HEADS:
            yield shlex.split(line, comments=True)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    heads = re.findall(r"^#+ (.+)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def check(words: list[str]) -> None:
    """Raises AssertionError where a command names what is not there."""
    match words:
        case ["make", *rest]:
            for word in rest:
                if "=" in word:
                    assert re.search(rf"\$\({word.split('=')[0]}\)", MAKEFILE), f"no variable of the Makefile: {word}"
                elif not word.startswith("-"):
                    assert word in TARGETS, f"no target of the Makefile: {word}"
        case ["opensesame", *rest]:
            _check_command(rest)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module), module


def _check_command(words: list[str]) -> None:
    command: Any = typer.main.get_command(cli.app)
    known = {name for option in command.params for name in option.opts} | {"--help"}
    for word in words:
        if word.startswith(("[", "{", "<")):  # `opensesame models [OPTIONS] COMMAND`
            return
        if word.startswith("-"):
            known |= {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            assert word.split("=")[0] in known, f"no option of opensesame {' '.join(words)}: {word}"
        elif hasattr(command, "commands"):
            if word in ("COMMAND", "X"):
                return
            assert word in command.commands, f"no command: opensesame {' '.join(words)}"
            command = command.commands[word]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_there(page: Path) -> None:
    for words in commands(page.read_text()):
        check(words)


def test_readme_links_every_page_of_docs() -> None:
    linked = {link.split("#")[0] for link in links((ROOT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_what_is_not_there_is_found() -> None:
    text = (
        "[a](docs/cli.md#opensesame-serve) [b](https://x.example) `[c](no)`\n\n"
        "    make nothing   # why\n    $ opensesame predict --nope\n\n"
        "```sh\nOPENSESAME__STATE__URL=x opensesame nope\npython -m train.nope\n```\n\n"
        "`make serve NOPE=1` `make serve`\n"
    )
    assert links(text) == ["docs/cli.md#opensesame-serve"]
    assert "opensesame-serve" in anchors(ROOT / "docs" / "cli.md")
    found = list(commands(text))
    assert len(found) == 6
    *wrong, right = found
    for words in wrong:
        with pytest.raises(AssertionError):
            check(words)
    check(right)
