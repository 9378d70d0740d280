"""The literal of an enum that a prompt names: as a whole word, of several the one that is meant.

Pure; `wish` asks, with the prompt's words and its text in lower case.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Set
from typing import Any

from pipeline.candidates import names, spans
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import PLAIN_ENUMS
from pipeline.types import Operation, Parameter


def named(
    parameter: Parameter,
    said: Set[str],
    lower: str,
    operation: Operation | None = None,
    given: Collection[str] = (),
) -> Any:
    """The enum literal that the prompt names as words of their own; None where it names none or several.

    A word of `operation`'s own path or summary names the operation, not the literal. Of several it is the one that
    others are part of, what something is changed to ("from business to economy"), or the one not `given` yet.
    """
    found = {}
    for literal in parameter.enum:
        text = str(literal).lower()
        words = names.split(str(literal)) or (text,)
        if len(text) < 3 or text in PLAIN_ENUMS or not said >= set(words):
            continue
        if " ".join(words) in _spaced(lower):
            found[literal] = words
    if found and operation is not None:
        taken = set(spans.words(f"{operation.path} {operation.summary}"))
        found = {
            literal: words
            for literal, words in found.items()
            if not any(w in taken or names.singular(w) in taken for w in words)
        }
    if len(found) > 1:
        text = _spaced(lower)
        for words in sorted(found.values(), key=len, reverse=True):
            text = text.replace(" ".join(words), "_".join(words))
        alone = [literal for literal, words in found.items() if re.search(rf"\b{'_'.join(words)}\b", text)]
        aims = [literal for literal in alone if re.search(rf"\b(?:in)?to {'_'.join(found[literal])}\b", text)]
        left = [literal for literal in alone if str(literal) not in given] if given else []
        return next((some[0] for some in (alone, aims, left) if len(some) == 1), None)
    return next(iter(found), None)


def granted(name: Name, parameter: Parameter, said: Set[str], lower: str) -> Any:
    """What a yes or no takes: "no insurance" and "without insurance", or "with insurance", for `insurance`."""
    noun = name.words[-1]
    literal = {str(literal).lower(): literal for literal in parameter.enum} or {"yes": True, "no": False}
    if noun not in said or literal.keys() != {"yes", "no"} or (not parameter.enum and parameter.type != "boolean"):
        return None
    of_it = rf"\b(?:(no|without)|with|add|adding|include|including)(?: (?:an|a|the|any))? {noun}\b"
    answers = {"no" if found.group(1) else "yes" for found in re.finditer(of_it, _spaced(lower))}
    return literal[answers.pop()] if len(answers) == 1 and "no" not in name.words else None


@functools.lru_cache(maxsize=64)
def _spaced(lower: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", lower))
