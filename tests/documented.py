"""The commands and documents that stand in README, docs/ and their neighbours, and which of them a test runs.

A test takes what it runs from the pages: `documented(LINE)` is the words of one command, `every(PAGE, KIND)` all that a
page has of a program (`curl`, `kubectl`, ...) or of a language (`json`, `python`). A line that no page has any more
fails. `claims` reads these calls, written out, from the tests: so `test_docs_commands.py` finds
what nobody runs.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("pipeline/*/*.md"), *ROOT.glob("train/*/*.md")]
)
PROGRAMS = {"curl", "docker", "git", "helm", "kubectl", "make", "openssl", "opensesame", "pip", "promtool", "python"}
PROGRAMS |= {"ray", "redis-cli", "serve"}
CODE = re.compile(r"^```(\w*)\n((?s:.*?))^```$|^(?: {4}.*\n)+", re.MULTILINE)
_SET = r"(?:[A-Za-z_]+=(?:\$\([^)]*\)|(?!\$\()\S*)(?:\s+|$))"  # NAME=value before a command
_PREFIX = re.compile(rf"^(?:\$ )?(?P<set>{_SET}*)(?:nice (?:-n \d+ )?)?(?:\.?/?\.venv/bin/)?")
_ASSIGNS = re.compile(r"^(?:export )?[A-Za-z_]+=")


@dataclasses.dataclass(frozen=True)
class Command:
    """One command: its text in one line, without a comment and without where the program lies."""

    page: str
    text: str
    in_prose: bool
    environment: str = ""  # NAME=value before it

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    @property
    def program(self) -> str:
        return self.text.split(" ", 1)[0]


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code with what it is: shell, json, python, console, a picture, the tree; "" is none of these."""

    page: str
    kind: str
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page, fenced and indented."""
    return (_block(page, found) for found in CODE.finditer(text))


def commands(page: str, text: str) -> Iterator[Command]:
    """The commands of a page in their order: of its blocks, and those of its prose that stand in backquotes."""
    at = 0
    for found in CODE.finditer(text):
        yield from _in_prose(page, text[at : found.start()])
        block = _block(page, found)
        if block.kind == "shell":
            yield from (_command(page, line, False) for line in _lines(block.text))
        at = found.end()
    yield from _in_prose(page, text[at:])


def documented(line: str) -> list[str]:
    """The words of a command that stands on a page; AssertionError where no page has it."""
    assert any(command.text == line for command in _all()), f"no page says {line!r}"
    return shlex.split(line)


def every(page: str, kind: str) -> list[str]:
    """The commands of a program on a page, or its blocks of a kind, as text; AssertionError where there are none."""
    found = [command.text for command in _all() if (command.page, command.program) == (page, kind)]
    found += [block.text for block in blocks(page, (ROOT / page).read_text()) if block.kind == kind]
    assert found, f"{page} has no {kind}"
    return found


def resolved(page: str, kind: str) -> list[str]:
    """As `every`, for a test that runs nothing: it holds what the commands name against what is there."""
    return every(page, kind)


@functools.cache
def claims() -> set[tuple[str, ...]]:
    """What the tests take from the pages: ("documented", line), ("every", page, kind), ("resolved", page, kind)."""
    found: set[tuple[str, ...]] = set()
    for file in (ROOT / "tests").rglob("*.py"):
        text = file.read_text()
        if "documented" not in text or file == Path(__file__):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and (called := ast.unparse(node.func)) in ("documented", "every", "resolved"):
                found.add((called, *(ast.literal_eval(argument) for argument in node.args)))
    return found


@functools.cache
def _all() -> list[Command]:
    return [command for page in PAGES for command in commands(name_of(page), page.read_text())]


def _block(page: str, found: re.Match[str]) -> Block:
    if found[2] is not None:
        return Block(page, {"sh": "shell"}.get(found[1], found[1]), found[2])
    inner = textwrap.dedent(found[0])
    return Block(page, _kind(inner), inner)


def _in_prose(page: str, text: str) -> Iterator[Command]:
    for inline in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
        found = _command(page, " ".join(inline.split()), True)
        if found.program in PROGRAMS and " " in found.text:
            yield found


def _kind(text: str) -> str:
    first = text.lstrip("$ ").split(None, 1)[0]
    if text.startswith("{"):
        return "json"
    if "──" in text and not any(line.split()[0] in PROGRAMS for line in text.splitlines() if line.strip()):
        return "picture"
    if all(re.match(r" *[\w.]+/? {2,}\S", line) for line in text.splitlines()):
        return "tree"
    plain = first.removeprefix(".venv/bin/")
    return "shell" if plain in PROGRAMS or _ASSIGNS.match(text) else ""


def _lines(block: str) -> Iterator[str]:
    """The commands of a block: a line, or as many as a backslash or an open quote joins."""
    held = ""
    for line in block.splitlines():
        held += line
        if held.endswith("\\"):
            held = held[:-1].rstrip() + " "
            continue
        try:
            shlex.split(held, comments=True)
        except ValueError:  # a quote is open
            held += "\n"
            continue
        if held.strip():
            yield re.sub(r"\s+# .*$", "", re.sub(r" {2,}(?=\S)", " ", held) if "\n" not in held else held).strip()
        held = ""
    assert not held, f"a quote is open: {held!r}"


def _command(page: str, line: str, in_prose: bool) -> Command:
    found = _PREFIX.match(line)
    assert found is not None
    rest = line[found.end() :]
    if not rest:  # nothing but settings
        return Command(page, line, in_prose)
    return Command(page, rest, in_prose, found["set"].strip())
