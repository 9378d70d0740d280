"""Values that a prompt names, and which entities of a catalog they identify.

"Refund charge ch_123 of customer 456" names a charge and a customer: what needs those can be called at once.
A value is recognised by its shape and attached to the entity whose word stands beside it, or that its prefix is short
for; one without either is loose and may be whatever is still needed. A literal of an enum is a value of what the enum
is of. Read by `retrieve.py` and `goals.py`; arguments are filled elsewhere, with stricter rules.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Set

import numpy as np

from pipeline import keynames
from pipeline.catalog.entities import Entities
from pipeline.catalog.identifiers import Key
from pipeline.catalog.lexicon import word_set
from pipeline.catalog.stem import split_words, stem, stems

_PROMPT_MAX = 2048  # characters that are read
_MENTIONS_MAX = 24
_BEFORE, _AFTER = 36, 16  # characters around a value that say of what kind it is
_WORDS_BEFORE = 6
_SURE, _HALF = 0.95, 0.6  # all words of the entity's name stand there; only the last one does
_PREFIX_MAX, _PREFIXED_MAX = 8, 4  # letters of an identifier's prefix; entities that one may be short for
_LOOSE_CODE = 0.5  # a word in capitals may be a code (EUR, FRA) or an abbreviation
_SELF = {tuple(map(stem, said.split())) for said in ("you are", "you re", "i am", "i m")}  # before who one is
_PERSONS = word_set("user customer member client guest patient passenger subscriber renter tenant student employee")
_AND = frozenset({"and", "or", "to"})
_LABELS = frozenset(map(stem, word_set("id number no key code ref reference locator token name slug uuid")))

# Every repeat is bounded: a prompt may be written to make a search slow.
_DATE = re.compile(
    r"(?<![\w-])\d{4}-\d\d-\d\d(?:T[\d:.]{5,15}Z?)?(?!-?\w)|\b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b|\b\d{1,2}:\d\d\b"
    r"|\b\d{1,2}(?:st|nd|rd|th)\b|[$€£]\s?\d[\d.,]{0,12}|\b\d[\d,]{0,9}\.\d+\b|\b\d+ ?%"
)
_VALUE = re.compile(
    r"(?P<url>https?://[^\s\"'<>]{3,300})"
    r"|(?P<mail>[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,32}){1,4})"
    r"|(?P<code>#?(?<![\w.])(?=[\w:.-]{0,60}\d)(?=[\w:.-]{0,60}[A-Za-z_:-])\w[\w:-]{1,60}(?:\.\w{2,20}){0,2}\w)"
    r"|(?P<pair>(?<![\w/.])[A-Za-z][\w.-]{1,40}/[A-Za-z][\w.-]{1,40}(?![\w/]))"
    r"|(?P<number>#?\b\d{1,18}\b)"
    r"|(?P<capitals>\b[A-Z]{3,5}\b)"
    r"|[\"“«`](?P<quoted>[^\"”»`\n]{1,80})[\"”»`]"
)
_WORD = re.compile(r"\w[\w-]{0,80}")


@dataclasses.dataclass(frozen=True, slots=True)
class Mention:
    """A value as the prompt writes it, its shape, and the words beside it as stems."""

    value: str
    shape: str  # url | mail | code | pair | number | capitals | quoted
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """What a prompt gives of a catalog's entities."""

    state: np.ndarray  # [n_keys] float32: how surely the prompt gives a value of each key
    loose: float  # values that look like identifiers and are attached to no key


@functools.lru_cache(maxsize=1024)
def mentions(prompt: str) -> tuple[Mention, ...]:
    """The values of a prompt in their order."""
    text = _DATE.sub(lambda m: " " * len(m[0]), prompt[:_PROMPT_MAX])
    found: list[Mention] = []
    last_end = 0
    for match in _VALUE.finditer(text):
        start, end = match.span()
        shape = str(match.lastgroup)
        before = re.split(r"[.;!?]\s", text[max(last_end, start - _BEFORE) : start])[-1]
        after = re.split(r"[.,;!?]", text[end : end + _AFTER])[0]
        words = [stem(word) for word in split_words(before)][-_WORDS_BEFORE:]
        found.append(Mention(match[shape].lstrip("#").rstrip(".:-"), shape, tuple(words), stems(after)[:1]))
        last_end = end
        if len(found) >= _MENTIONS_MAX:
            break
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def _words(prompt: str) -> frozenset[str]:
    return frozenset(_WORD.findall(prompt[:_PROMPT_MAX].lower()))


def told(prompt: str, entities: Entities) -> Told:
    """Which entities of the catalog the prompt identifies."""
    state = np.zeros(entities.size, dtype=np.float32)
    loose, attached = 0.0, False
    for mention in mentions(prompt):
        if mention.shape == "pair" and not keynames.is_pair(mention.value):
            continue  # "and/or"
        sure = mention.shape in ("code", "mail", "url", "pair")
        if attached and set(mention.before) <= _AND and mention.shape != "mail":
            continue  # "orders 17 and 18"
        prefixed = _prefixed(entities, mention.value) if mention.shape == "code" else []
        attached = _attach(state, entities, mention, near=not sure, among=frozenset(prefixed))
        if prefixed and not attached:
            state[prefixed] = np.maximum(state[prefixed], _SURE if len(prefixed) == 1 else _HALF)
            attached = True
        if not attached and mention.shape == "code" and tuple(mention.before[-2:]) in _SELF:
            attached = _introduce(state, entities)
        if attached:
            continue
        if mention.shape == "code" or (mention.shape == "number" and len(mention.value) >= 5):
            loose += 1.0
        elif mention.shape == "pair":
            loose += 2.0
        elif mention.shape in ("capitals", "quoted"):
            loose += _LOOSE_CODE
    _name_keys(state, prompt, entities)
    for word in _words(prompt):
        for key in entities.named_by(word):  # "freeze production", where the spec lists its environments
            state[key] = max(state[key], _SURE)
    return Told(state, min(loose, 6.0))


def ownership(entities: Entities) -> Callable[[str, str, str], bool | None]:
    """Tells whether a value's prefix is short for what the argument `name` of a path takes; None if for nothing."""

    short_for = functools.cache(functools.partial(_prefixed, entities))  # many arguments are asked about one value

    def is_own(value: str, path: str, name: str) -> bool | None:
        mine, found = entities.of_argument(path, name), short_for(value)
        return mine in found if found and mine is not None else None

    return is_own


def _name_keys(state: np.ndarray, prompt: str, entities: Entities) -> None:
    """Raises the keys whose names the prompt says, of those that go by names in paths: of "the web repo of acme" both.

    A word of the catalog's paths is no name there ("project members").
    """
    if not entities.by_name:
        return
    for pair in keynames.pairs(prompt):
        of_noun = {number for _, number in entities.ending_in(stem(pair.noun))} if pair.noun else set()
        ranked = [both for both in entities.pairs if both[1] in of_noun] or list(entities.pairs)
        state[list(ranked[0]) if ranked else []] = _SURE
    loose = []
    for said in keynames.called(prompt):
        if not (said.is_shaped or said.is_certain) and entities.knows(said.value):
            continue
        found = {number for noun in said.nouns for _, number in entities.ending_in(stem(noun))} & entities.by_name
        if found:
            state[list(found)] = _SURE
        elif not said.nouns:
            loose.append(said)
    told_of = np.flatnonzero(state)
    for said in loose:
        owners = {owner for owner, key in entities.pairs if key in told_of and not state[owner]}
        roots = {number for number in entities.roots if not state[number]}
        if found := owners or (roots if said.is_shaped else set()):
            state[list(found)] = np.maximum(state[list(found)], _HALF)


def _introduce(state: np.ndarray, entities: Entities) -> bool:
    """Raises the keys of persons, as who speaks says who they are; whether there is one."""
    persons = [number for word in _PERSONS for _, number in entities.ending_in(stem(word))]
    state[persons] = np.maximum(state[persons], _SURE if len(set(persons)) == 1 else _HALF)
    return bool(persons)


def _prefixed(entities: Entities, value: str) -> list[int]:
    """Numbers of the keys that the prefix of a code is short for: `ch_1` of a charge, `pi_1` of a payment intent."""
    prefix, mark, _ = value.partition("_")
    if not mark or not prefix.isalpha() or not 2 <= len(prefix) <= _PREFIX_MAX:
        return []
    ranked = [(_short_for(prefix.lower(), key), number) for key, number in entities.ids.items()]
    best = max((rank for rank, _ in ranked), default=0)
    found = [number for rank, number in ranked if rank == best] if best else []
    return found if len(found) <= _PREFIXED_MAX else []


@functools.lru_cache(maxsize=4096)
def _short_for(prefix: str, key: Key) -> int:
    """How well a prefix is short for an entity, 0 not at all: name, begin or initials, begin of one word, letters."""
    whole = "".join(key)
    is_long = len(prefix) > 2
    if whole == prefix:
        return 4
    if whole.startswith(prefix) if len(key) == 1 else "".join(word[0] for word in key) == prefix:
        return 3
    if whole.startswith(prefix) or (is_long and key[-1:] and key[-1].startswith(prefix)):
        return 2
    letters = iter(whole)
    return int(is_long and whole[:1] == prefix[0] and all(letter in letters for letter in prefix))


def _attach(state: np.ndarray, entities: Entities, mention: Mention, near: bool, among: Set[int] = frozenset()) -> bool:
    """Raises the keys that the words beside the value speak of; whether there was one, `among` these if any are given.

    A bare number counts only right behind such a word ("order 12", "order number 12"): "2 adults" identifies nothing.
    "Client CL20455" is of what is called a client reference, too.
    """
    words = [w for w in mention.before if w not in _LABELS or (w,) in entities.ids]  # a token may be an entity itself
    if mention.shape == "mail":
        words.append("email")
    if near:
        words = words[-1:]
    for place in range(len(words) - 1, -1, -1):
        keys = [pair for pair in _keys(entities, words[place]) if not among or pair[1] in among]
        for key, number in keys:
            whole = {word for word in key if word not in _LABELS} <= {*words[: place + 1], *mention.after}
            state[number] = max(state[number], _SURE if whole else _HALF)
        if keys:
            return True
    return False


def _keys(entities: Entities, word: str) -> list[tuple[Key, int]]:
    """Keys whose last stem is `word`, and those that a label follows: ("client", "ref")."""
    labelled = (key for label in _LABELS for key in entities.ending_in(label))
    return entities.ending_in(word) + [(key, number) for key, number in labelled if key[-2:-1] == (word,)]
