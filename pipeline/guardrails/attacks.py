"""What in a prompt looks like an attack: SQL, shell, scripts, path traversal, profanity, prompt injection.

The patterns lie in `attacks.txt` and are searched in the readings of a text (`folding.py`). They are for signalling,
and for refusing where the settings say so; the real defence is structural: a prompt reaches no SQL, no shell, no page
and no file, and the generator can only choose among operations of the catalog. Syntax counts, not words: "drop the
table from the report" is a wish, "'; drop table report" is none.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from re import _parser as sre  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from pipeline.guardrails.folding import Readings, mirrored, readings

KINDS = ("sql", "shell", "xss", "path_traversal", "profanity", "prompt_injection")

_MIRRORED = (
    "ignore all",
    "ignore previous",
    "previous instructions",
    "disregard",
    "system prompt",
    "<script",
    "rm -rf",
)


@functools.lru_cache(maxsize=512)
def find(text: str, kinds: tuple[str, ...] = KINDS) -> tuple[str, ...]:
    """The kinds of attack that the text looks like, in the order of KINDS; remembered, as prompts come again."""
    found = {kind for kind in _kinds(readings(text)) if kind in kinds}
    if "prompt_injection" in kinds and any(sign in mirrored(text) for sign in _MIRRORED):
        found.add("prompt_injection")
    return tuple(kind for kind in KINDS if kind in found)


def _kinds(read: Readings) -> set[str]:
    table = _table()
    found: set[str] = set()
    for reading, kinds in (
        (read.plain, ("sql", "shell", "xss", "path_traversal")),
        (read.joined, ("shell", "xss_joined", "path_traversal")),
        (read.spoken, ("profanity", "prompt_injection")),
    ):
        for kind in kinds:
            if any(pattern.is_in(text) for text in reading for pattern in table[kind]):
                found.add(kind.removesuffix("_joined"))
    return found


class _Pattern(NamedTuple):
    """A pattern, and texts of which any match holds one each: looked for first, as that is a hundred times faster."""

    search: Callable[[str], object]
    needs: tuple[tuple[str, ...], ...]

    def is_in(self, text: str) -> bool:
        for need in self.needs:
            for one in need:
                if one in text:
                    break
            else:
                return False
        return self.search(text) is not None


@functools.cache
def _table() -> dict[str, tuple[_Pattern, ...]]:
    """The patterns of each kind; compiled at the first use, in 55 ms."""
    names: dict[str, str] = {}
    table: dict[str, list[_Pattern]] = {}
    for line in Path(__file__).with_name("attacks.txt").read_text().splitlines():
        if not line or line.startswith("# "):
            continue
        if section := re.fullmatch(r"\[(\w+)\]", line):
            table[section[1]] = patterns = []
        elif not table:
            name, _, value = line.partition(" = ")
            names[name] = _filled(value, names)
        else:
            pattern = _filled(line, names)
            patterns.append(_Pattern(re.compile(pattern, re.MULTILINE).search, _needs(pattern)))
    return {kind: tuple(patterns) for kind, patterns in table.items()}


def _filled(pattern: str, names: dict[str, str]) -> str:
    return re.sub(r"<<(\w+)>>", lambda found: names[found[1]], pattern)


def _needs(pattern: str) -> tuple[tuple[str, ...], ...]:
    """Read off the parsed pattern: sets of texts, of each of which any match holds at least one."""
    return tuple(sorted(_needed(sre.parse(pattern, re.MULTILINE)), key=lambda need: (-min(map(len, need)), len(need))))


def _needed(sequence: Any) -> list[tuple[str, ...]]:
    needed: list[tuple[str, ...]] = []
    literal = ""
    for op, value in [*sequence, (None, None)]:
        if op is sre.LITERAL:
            literal += chr(value)
            continue
        if literal:
            needed.append((literal,))
            literal = ""
        if op is sre.SUBPATTERN:
            needed += _needed(value[3])
        elif op in (sre.MAX_REPEAT, sre.MIN_REPEAT) and value[0] > 0:
            needed += _needed(value[2])
        elif op is sre.IN and len(value) < 8 and all(kind is sre.LITERAL for kind, _ in value):
            needed.append(tuple(chr(code) for _, code in value))
        elif op is sre.BRANCH:
            ways = [_needed(branch) for branch in value[1]]
            if all(ways):  # of each way the set that is rarest, as far as length tells
                best = [max(way, key=lambda need: (min(map(len, need)), -len(need))) for way in ways]
                needed.append(tuple(dict.fromkeys(one for need in best for one in need)))
    return needed
