"""Text becomes stems: identifiers are split into words, words are cut to their stem.

Stemming is Porter's (M. F. Porter, "An algorithm for suffix stripping", 1980), with the usual short
forms of API vocabulary spelt out first (repo, org, config) and irregular plurals led back. Weights and scores
are left to `words.py`.
"""

from __future__ import annotations

import functools
import re

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_PLURAL_ACRONYM = re.compile(r"([A-Z]{2,})s(?![a-z])")

_NAME_MAX, _WORD_MAX = 64, 40  # characters; longer texts are prompts and prose, longer words no words: not remembered

_SHORT_FORMS = {
    "acct": "account", "addr": "address", "app": "application", "apps": "application", "attr": "attribute",
    "auth": "authentication", "avg": "average", "calc": "calculate", "cfg": "configuration",
    "config": "configuration", "configs": "configuration", "db": "database", "dept": "department",
    "desc": "description", "dest": "destination", "dir": "directory", "dirs": "directory", "doc": "document",
    "docs": "document", "env": "environment", "envs": "environment", "img": "image", "imgs": "image",
    "info": "information", "lang": "language", "langs": "language", "loc": "location", "max": "maximum",
    "min": "minimum", "msg": "message", "msgs": "message", "num": "number", "org": "organization",
    "organisation": "organization", "organisations": "organization", "orgs": "organization",
    "param": "parameter", "params": "parameter", "pic": "picture", "pics": "picture", "pref": "preference",
    "prefs": "preference", "prod": "product", "pwd": "password", "qty": "quantity", "repo": "repository",
    "repos": "repository", "spec": "specification", "src": "source", "stats": "statistics", "svc": "service",
    "sync": "synchronize", "tz": "timezone", "txn": "transaction",
    "util": "utility", "vol": "volume",
}  # fmt: skip

# Plurals that no rule of suffixes leads back, and words whose own s is none.
_PLURALS = {
    "alias": "aliases", "analysis": "analyses", "buses": "bus", "canvas": "canvases", "children": "child",
    "cpus": "cpu", "crisis": "crises", "criteria": "criterion", "diagnosis": "diagnoses", "gas": "gases",
    "gpus": "gpu", "halves": "half", "hypothesis": "hypotheses", "indices": "index", "knives": "knife",
    "leaves": "leaf", "lens": "lenses", "matrices": "matrix", "men": "man", "menus": "menu", "people": "person",
    "persons": "person", "quizzes": "quiz", "shelves": "shelf", "skus": "sku", "synopsis": "synopses",
    "thesis": "theses", "vertices": "vertex", "wolves": "wolf", "women": "woman",
}  # fmt: skip

# Function words of prompts and prose, and the words that every operation's text carries.
_STOP = frozenset(
    """a about after all also am an and any are as at be been before being both but by can could did do does
    doing done each else every for from had has have having he her here hers him his how i if in into is it its
    just let like me more most my no not now of off on once one only or other our out over own per please
    same shall she should so some such than that the their them then there these they this those through to
    too under until up us very via want wants was we were what when where which while who whom why will with
    would you your yours api rest endpoint http https json www com""".split()  # noqa: SIM905
)


def split_words(text: str) -> list[str]:
    """Lower-case words of prose or identifiers: `issueNumber`, `issue_number` and `Issue number` give the same."""
    if not text.isascii():
        return [w.lower() for w in _WORD.findall(text) if not w.isdigit()]
    return [w.lower() for w in _CAMEL.findall(_PLURAL_ACRONYM.sub(r"\1", text))]


def stems(text: str) -> tuple[str, ...]:
    """Stems of the words of `text` that carry meaning, in order, with repeats."""
    return _remembered(text) if len(text) <= _NAME_MAX else _stems(text)


@functools.lru_cache(maxsize=32768)
def _remembered(text: str) -> tuple[str, ...]:
    return _stems(text)


def _stems(text: str) -> tuple[str, ...]:
    return tuple(stem(w) for w in split_words(text) if w not in _STOP and len(w) > 1)


def stem(word: str) -> str:
    """The stem of a lower-case word: `repositories`, `repository` and `repo` give the same."""
    return _stem(word) if len(word) <= _WORD_MAX else word


@functools.lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    word = _SHORT_FORMS.get(word) or _PLURALS.get(word, word)
    if len(word) < 3 or not word.isascii():
        return word
    return _porter(word)


_STEP2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble", "logi": "log",
}  # fmt: skip
_STEP3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate",
    "iti", "ous", "ive", "ize",
)  # fmt: skip
_BY_LENGTH4 = tuple(sorted(_STEP4, key=len, reverse=True))
_BY_LENGTH2 = tuple(sorted(_STEP2, key=len, reverse=True))
_BY_LENGTH3 = tuple(sorted(_STEP3, key=len, reverse=True))


def _shape(word: str) -> str:
    """The word as c (consonant) and v (vowel) letters."""
    shape: list[str] = []
    for i, letter in enumerate(word):
        vowel = letter in "aeiou" or (letter == "y" and i > 0 and shape[-1] == "c")
        shape.append("v" if vowel else "c")
    return "".join(shape)


def _measure(word: str) -> int:
    """Porter's m: how often a vowel run is followed by a consonant run."""
    return len(re.findall("v+c+", _shape(word)))


def _short_end(word: str) -> bool:
    """Porter's *o: ends consonant, vowel, consonant, where the last is not w, x or y."""
    return _shape(word)[-3:] == "cvc" and word[-1] not in "wxy"


def _replace(word: str, endings: tuple[str, ...], by: dict[str, str], least: int) -> str:
    for ending in endings:
        if word.endswith(ending):
            root = word[: -len(ending)]
            return root + by.get(ending, "") if _measure(root) > least else word
    return word


def _porter(word: str) -> str:
    if word.endswith("sses") or word.endswith("ies"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us")):
        word = word[:-1]

    if word.endswith("eed"):
        if _measure(word[:-3]) > 0:
            word = word[:-1]
    else:
        for ending in ("ed", "ing"):
            root = word[: -len(ending)]
            if word.endswith(ending) and "v" in _shape(root):
                if root.endswith(("at", "bl", "iz")):
                    word = root + "e"
                elif len(root) > 1 and root[-1] == root[-2] and root[-1] not in "aeioulsz":
                    word = root[:-1]
                elif _measure(root) == 1 and _short_end(root):
                    word = root + "e"
                else:
                    word = root
                break
    if word.endswith("y") and "v" in _shape(word[:-1]):
        word = word[:-1] + "i"

    word = _replace(word, _BY_LENGTH2, _STEP2, 0)
    word = _replace(word, _BY_LENGTH3, _STEP3, 0)
    for ending in _BY_LENGTH4:
        if word.endswith(ending):
            root = word[: -len(ending)]
            if ending == "ion":  # one syllable less than Porter asks for: creation and create are one
                word = root if root.endswith(("s", "t")) and _measure(root) > 0 and len(root) > 3 else word
            elif _measure(root) > 1:
                word = root
            break

    if word.endswith("e"):
        root = word[:-1]
        if _measure(root) > 1 or (_measure(root) == 1 and not _short_end(root)):
            word = root
    if word.endswith("ll") and _measure(word) > 1:
        word = word[:-1]
    return word
