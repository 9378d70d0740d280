"""Which literal of a parameter a prompt names: by its word, by its verb, by what the description says it stands for.

Of several the one that is meant. Pure functions of a prompt and a parameter; called by `wish`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.candidates import names, spans
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import PLAIN_ENUMS, TIMES
from pipeline.types import Operation, Parameter

Named = tuple[Any, Sequence[str]]  # a literal and the words it is said by

_LABEL = re.compile(r"(?<![\w.])(-?\d{1,4}) ?(?:\(|=|:|- |– |is )\s?`?([A-Za-z]{3,20})")
_QUOTED = re.compile(r"\"[^\"\n]{0,200}\"|“[^”\n]{0,200}”|(?<!\w)'[^'\n]{0,200}'(?!\w)|`[^`\n]{0,200}`")
_GIVES_WAY = re.compile(r"\b(?:instead of|rather than|not|no longer)(?: an?| the)? (?=[a-z])|\bfrom (?=\w+ to )")
_MAKES = re.compile(r"(?:^|[.!?:] |\bplease |\bto )(\w+) (?:an?|another) ")  # a verb: "Open a ticket"
_SEXES = {"m": "male", "f": "female"}  # what such literals stand for
_READS = frozenset(("GET", "HEAD", "OPTIONS"))


def named(
    parameter: Parameter,
    name: Name,
    prompt: str,
    said: frozenset[str],
    operation: Operation | None = None,
    given: Collection[str] = (),
) -> Any:
    """The literal that the prompt names, of a list all of them; None where it names none, or two and one is wanted.

    A word of `operation`'s own path or summary names the operation, not the literal. What is to give way ("instead
    of guest") is not meant. Of several it is the one that others are part of, what something is changed to ("from
    business to economy"), or the one not `given` yet.
    """
    if said.isdisjoint(_any_word(tuple(map(str, parameter.enum)), parameter.description)):
        return None
    lower = prompt.lower()
    outside = unquoted(lower)
    found = _by_word(parameter, _kin(outside), outside)
    if not found and len(outside) < len(lower):
        found = _by_word(parameter, said, lower)
    if any(said.isdisjoint(words) for _, words in found):
        found = [f for f in found if not said.isdisjoint(f[1]) or _says_plural(f, parameter)]
    found = [f for f in found if not _gives_way(f[1], lower)]
    if found and operation is not None:
        taken = own_words(f"{operation.path} {operation.summary}") | frozenset(_MAKES.findall(lower))
        found = [f for f in found if taken.isdisjoint(f[1]) and taken.isdisjoint(map(names.singular, f[1]))]
    if len(found) > 1 and parameter.type != "array":
        return _meant(found, spaced(lower), given)
    literals = [literal for literal, _ in found]
    if not literals and (operation is None or operation.method not in _READS):
        literals = [v for v in parameter.enum if isinstance(v, str) and said & _verbs(v.lower())]
    literals = literals or _beside(parameter, name, prompt)
    if parameter.type == "array":
        return literals or None
    return literals[0] if len(literals) == 1 else None


def described(
    enum: Sequence[str],
    parameter: Parameter,
    name: Name,
    prompt: str,
    said: frozenset[str],
    operation: Operation | None = None,
    given: Collection[str] = (),
) -> Any:
    """As `named`, of what a description lists; not where it is a part of another word: "sub-task" is no Task."""
    spelled = msgspec.structs.replace(parameter, enum=tuple(enum))
    found = named(spelled, name, prompt, said, operation, given)
    text = re.escape(str(found).lower())
    return None if found is None or re.search(rf"\w-{text}\b|\b{text}-\w", prompt.lower()) else found


def labelled(parameter: Parameter, prompt: str, said: frozenset[str]) -> str | None:
    """The number that a description explains by a word which the prompt says: 1 of "1 = Urgent, 2 = High"."""
    of = labels(parameter.description) if parameter.type == "integer" else {}
    if len(of) < 2:
        return None
    found = [n for n, label in of.items() if label in said and not _gives_way((label,), prompt.lower())]
    return found[0] if len(found) == 1 else None


@functools.lru_cache(maxsize=64)
def unquoted(lower: str) -> str:
    """A text without what stands in quotes."""
    return _QUOTED.sub(" ", lower)


@functools.lru_cache(maxsize=64)
def _kin(lower: str) -> frozenset[str]:
    """The words of a text in lower case, and their singulars."""
    said = spans.words(lower)
    return frozenset((*said, *map(names.singular, said)))


@functools.lru_cache(maxsize=64)
def spaced(lower: str) -> str:
    """The words of a text in lower case, a space between each."""
    return " ".join(re.findall(r"[a-z0-9]+", lower))


@functools.lru_cache(maxsize=4096)
def labels(description: str) -> dict[str, str]:
    """What numbers stand for, as a description says: "30 (Developer), 40 (Maintainer)"."""
    return {number: label.lower() for number, label in _LABEL.findall(description)}


@functools.lru_cache(maxsize=4096)
def own_words(text: str) -> frozenset[str]:
    """The words by which an operation itself is called: those of its path and summary."""
    return frozenset(spans.words(text))


@functools.lru_cache(maxsize=4096)
def _any_word(texts: tuple[str, ...], description: str) -> frozenset[str]:
    """All words of which one has to be said where a literal is."""
    explained = {*labels(description).values(), *(_SEXES.values() if {"M", "F"} <= set(texts) else ())}
    words = {word for text in texts for word in (*names.split(text), text.lower(), *_verbs(text.lower()))}
    words |= {f"{word}s" for word in words if len(word) > 2}
    return frozenset((*words, *explained, *(f"{label}s" for label in explained)))


def _by_word(parameter: Parameter, said: frozenset[str], lower: str) -> list[Named]:
    found: list[Named] = []
    explained: Mapping[str, str] = labels(parameter.description)
    if "M" in parameter.enum and "F" in parameter.enum:  # which may hold lists
        explained = _SEXES
    for literal in parameter.enum:
        text = str(literal).lower()
        words = names.split(str(literal)) or (text,)
        label = explained.get(text)
        if label is not None and (label in said or f"{label}s" in said):
            found.append((literal, (label,)))
        elif len(text) < 3 or text in PLAIN_ENUMS:
            continue
        elif text in said or (said >= set(words) and " ".join(words) in spaced(lower)):
            found.append((literal, words if said >= set(words) else (text,)))
    return found


def _says_plural(named: Named, parameter: Parameter) -> bool:
    """Whether a plural alone says a literal: "playlists", but neither "four days" nor a part of another literal."""
    literal, words = named
    parts = [word for other in parameter.enum if other != literal for word in names.split(str(other))]
    return str(literal)[:1].isalnum() and TIMES.isdisjoint(words) and not set(words) <= set(parts)


def _meant(found: Sequence[Named], text: str, given: Collection[str]) -> Any:
    """Of several literals the one that is no part of another, is the aim of a change, or was not `given` yet."""
    for words in sorted((words for _, words in found), key=len, reverse=True):
        text = text.replace(" ".join(words), "_".join(words))
    alone = [(literal, "_".join(words)) for literal, words in found if re.search(rf"\b{'_'.join(words)}\b", text)]
    aims = [named for named in alone if re.search(rf"\b(?:in)?to {named[1]}\b", text)]
    left = [named for named in alone if str(named[0]) not in given] if given else []
    return next((some[0][0] for some in (alone, aims, left) if len(some) == 1), None)


def _gives_way(words: Sequence[str], lower: str) -> bool:
    """Whether all that is said of a literal is that another one takes its place."""
    if _GIVES_WAY.search(lower) is None:
        return False
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
def _verbs(literal: str) -> frozenset[str]:
    """Verbs that a participle is of: "acknowledge" of "acknowledged", "stop" of "stopped"."""
    if not literal.endswith("ed") or len(literal) < 6 or not literal.isalpha():
        return frozenset()
    stem = literal[:-2]
    return frozenset((stem, f"{stem}e", stem[:-1] if stem[-1] == stem[-2] else stem))
