"""Which literal of a parameter a prompt names: by its word, by its verb, by what the description says it stands for.

Pure functions of a prompt and a parameter; called by `wish`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence, Set
from typing import Any

from pipeline.candidates import names, spans
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import PLAIN_ENUMS
from pipeline.types import Operation, Parameter

_LABEL = re.compile(r"(?<![\w.])(-?\d{1,4}) ?(?:\(|=|:|- |– |is )\s?`?([A-Za-z]{3,20})")
_GIVES_WAY = re.compile(r"\b(?:instead of|rather than|not|no longer)(?: an?| the)? (?=[a-z])|\bfrom (?=\w+ to )")
_READS = frozenset(("GET", "HEAD", "OPTIONS"))


def named(parameter: Parameter, name: Name, prompt: str, said: Set[str], operation: Operation | None = None) -> Any:
    """The literal that the prompt names, of a list all of them; None where it names none, or two and one is wanted.

    A word of `operation`'s own path or summary names the operation, not the literal. What is to give way ("instead
    of guest") is not meant.
    """
    lower = prompt.lower()
    found = [f for f in _by_word(parameter, said, _spaced(lower)) if not _gives_way(f[1], lower)]
    if found and operation is not None:
        taken = set(spans.words(f"{operation.path} {operation.summary}"))
        found = [f for f in found if not any(w in taken or names.singular(w) in taken for w in f[1])]
    literals = [literal for literal, _ in found]
    if not literals and (operation is None or operation.method not in _READS):
        literals = [v for v in parameter.enum if isinstance(v, str) and said & _verbs(v.lower())]
    literals = literals or _beside(parameter, name, prompt)
    if parameter.type == "array":
        return literals or None
    return literals[0] if len(literals) == 1 else None


def labelled(parameter: Parameter, prompt: str, said: Set[str]) -> str | None:
    """The number that a description explains by a word which the prompt says: 1 of "1 = Urgent, 2 = High"."""
    of = labels(parameter.description) if parameter.type == "integer" else {}
    lower = prompt.lower()
    found = [number for number, label in of.items() if label in said and not _gives_way((label,), lower)]
    return found[0] if len(of) > 1 and len(found) == 1 else None


def _by_word(parameter: Parameter, said: Set[str], spaced: str) -> list[tuple[Any, Sequence[str]]]:
    found: list[tuple[Any, Sequence[str]]] = []
    explained = labels(parameter.description)
    for literal in parameter.enum:
        text = str(literal).lower()
        words = names.split(str(literal)) or (text,)
        label = explained.get(text)
        if label is not None and (label in said or f"{label}s" in said):
            found.append((literal, (label,)))
        elif len(text) >= 3 and text not in PLAIN_ENUMS and said >= set(words) and " ".join(words) in spaced:
            found.append((literal, words))
    return found


def _gives_way(words: Sequence[str], lower: str) -> bool:
    """Whether all that is said of a literal is that another one takes its place."""
    phrase = r"[\s_-]".join(map(re.escape, words))
    said = len(re.findall(rf"\b{phrase}", lower))
    return 0 < said == len(re.findall(rf"(?:{_GIVES_WAY.pattern}){phrase}", lower))


def _beside(parameter: Parameter, name: Name, prompt: str) -> list[Any]:
    """Literals of one or two capitals, beside the noun that they are of: "an A record", "type MX"."""
    short = [v for v in parameter.enum if isinstance(v, str) and len(v) < 3 and v.isupper()]
    if not short:
        return []
    nouns = rf"(?i:{re.escape(name.resource or name.words[-1])}s?|{re.escape(name.words[-1])})"
    return [v for v in short if re.search(rf"(?<![\w.]){v}[ -]{nouns}\b|\b{nouns} {v}(?![\w.])", prompt)]


@functools.lru_cache(maxsize=4096)
def labels(description: str) -> dict[str, str]:
    """What numbers stand for, as a description says: "30 (Developer), 40 (Maintainer)"."""
    return {number: label.lower() for number, label in _LABEL.findall(description)}


@functools.lru_cache(maxsize=4096)
def _verbs(literal: str) -> frozenset[str]:
    """Verbs that a participle is of: "acknowledge" of "acknowledged", "stop" of "stopped"."""
    if not literal.endswith("ed") or len(literal) < 6 or not literal.isalpha():
        return frozenset()
    stem = literal[:-2]
    return frozenset((stem, f"{stem}e", stem[:-1] if stem[-1] == stem[-2] else stem))


@functools.lru_cache(maxsize=64)
def _spaced(lower: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", lower))
