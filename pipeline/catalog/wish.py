"""What a prompt says of each operation: by its words, by its meaning, and by what it leaves unexplained.

The mixes are hand-set (summaries say most, descriptions blur); their parts travel to
the ranker as features of their own. Called by `retrieve.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import weakref
from typing import Any

import numpy as np

from pipeline.catalog import naming, verbs
from pipeline.catalog.lexicon import CLASS
from pipeline.catalog.relations import VERBS, Relations
from pipeline.catalog.session import Session
from pipeline.catalog.typed import TYPED
from pipeline.catalog.words import FIELDS, N_FIELDS, Words

_FIELD_WEIGHTS = {"description": 0.5, "name": 0.6, "path": 0.4, "last": 0.3}
_WEIGHTS = np.array([_FIELD_WEIGHTS.get(name, 0.0) for name in FIELDS], dtype=np.float32)
_MEANING = 1.2
_EXPLAINED_BY = 6  # calls whose meaning is taken out of the prompt

# Every repeat is bounded: a prompt may be written to make a search slow.
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.\w")
_ZIP = re.compile(r"(?i)\b(?:zip|postal|postcode)\b|\b\d{5}(?:-\d{4})?\b")
_DATE = re.compile(
    r"(?i)\b\d{4}-\d\d-\d\d|\b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}|\b(?:today|tomorrow|yesterday|tonight|(?:next|last) week"
    r"|(?:jan|feb|mar|apr|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? \d)"
)
_PHONE = re.compile(
    r"(?<!\w)\+?\d[\d ().-]{7,17}\d(?!\w)|(?i:\b(?:phone|telephone|mobile|msisdn)(?: number)?\b\D{0,12}\d{9,15}\b)"
)
_UPPER = naming.UPPER
_LOWER = "".join(filter(str.islower, map(chr, range(0x530))))
_CAPITALISED = rf"[{_UPPER}](?:['’][{_UPPER}])?[{_LOWER}][^\W\d_]{{0,40}}(?:['’-][{_UPPER}][^\W\d_]{{1,40}})?"
_FULL_NAME = re.compile(rf"\b{_CAPITALISED} {_CAPITALISED}\b")
_PROPER = re.compile(
    rf"(?<![.!?:;\n] )(?<!^)\b[{_UPPER}][{_LOWER}]+|[\"“”‘«][^\"”’»]{{2,80}}[\"”’»]|(?<=\s)'[^']{{2,80}}'"
)
_IDENTIFIER = re.compile(r"(?=[\w#-]{0,40}\d)#?\b\w[\w-]{3,}\b|#\w+")
_ASIDE = 0.4  # a search for other things that also tells of this kind
_OWN = 0.6  # the last word of a name may say its kind
# What PERSONS and MAKERS are in a catalog, by its words.
_ALWAYS: weakref.WeakKeyDictionary[Words, dict[str, tuple[np.ndarray, np.ndarray, float]]] = weakref.WeakKeyDictionary()
_MY = 0.3  # a search for what is the caller's own: that is listed with his own
_NEAR = 0.3  # a kind that is said near a name may be what is asked of it: "the keywords for"
_MANY = re.compile(r"(?i)\b(?:all|list|every|each|which|many|any|some|lists|browse|overview)\b")


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """A prompt, seen from the catalog; arrays over all operations."""

    words: np.ndarray  # [N_FIELDS + 2, n] float32: fields as a share of the best, then coverage
    words_match: np.ndarray  # [n] float32: the fields together
    match: np.ndarray  # [n] float32: words and meaning together, as a share of the best
    residue: np.ndarray  # [n] float32: the same of what no past call explains
    cosine: np.ndarray | None  # [n] float32
    cosine_range: tuple[float, float]  # median and best
    residual_cosine: np.ndarray | None  # [n] float32
    named: np.ndarray  # [n] float32: it is about the kind of thing that the prompt names
    own: np.ndarray  # [n] float32: it reads the caller's own of a kind that the prompt says is his
    verbs: np.ndarray  # [len(VERBS)] bool
    first_verb: int  # place in VERBS of the class of the first verb that the prompt asks for, -1 without one
    acted: np.ndarray  # [n] float32: it is called by a verb that the prompt asks for
    typed: np.ndarray  # [len(TYPED)] bool
    flags: np.ndarray  # [3] bool: a proper noun or quote, an identifier, many things asked for


def read_wish(
    prompt: str,
    relations: Relations,
    words: Words,
    session: Session,
    vectors: np.ndarray | None,
    prompt_vector: np.ndarray | None,
) -> Wish:
    """The prompt's match with every operation."""
    asked_for = verbs.wanted(prompt)
    terms = words.terms(" ".join([asked_for, *verbs.idioms(asked_for)]))
    scores = words.score(terms)
    scale = np.maximum(scores[:N_FIELDS].max(axis=1, initial=0.0), 1e-6)
    scores[:N_FIELDS] /= scale[:, None]
    words_match = np.einsum("f,fn->n", _WEIGHTS, scores[:N_FIELDS])
    left = [t for t in terms if t not in session.terms]
    words_left = words_match
    if len(left) < len(terms):
        words_left = np.einsum("f,fn->n", _WEIGHTS, words.score(left)[:N_FIELDS] / scale[:, None])

    cosine = residual_cosine = None
    cosine_range = (0.0, 1.0)
    match, residue = words_match, words_left
    if vectors is not None and prompt_vector is not None and len(vectors):
        asked = np.stack([prompt_vector, _unexplained(prompt_vector, vectors, session)]).astype(np.float32)
        cosine, residual_cosine = products(asked, vectors)
        cosine_range = _range(cosine)
        match = match + _MEANING * _scaled(cosine, cosine_range)
        left_range = cosine_range if not len(session.recent) else _range(residual_cosine)
        residue = residue + _MEANING * _scaled(residual_cosine, left_range)
    return Wish(
        words=scores,
        words_match=words_match,
        match=_share(match),
        residue=_share(residue),
        cosine=cosine,
        cosine_range=cosine_range,
        residual_cosine=residual_cosine,
        named=_named(prompt, relations, words),
        own=_own(prompt, relations, words),
        acted=_acted(prompt, relations, words.size),
        **_facts(prompt),
    )


@functools.lru_cache(maxsize=1024)
def _facts(prompt: str) -> dict[str, Any]:
    acts = verbs.prompt_acts(prompt)
    said = verbs.prompt_verbs(prompt)
    typed = [found.search(prompt) is not None for found in (_EMAIL, _ZIP, _FULL_NAME, _DATE)]
    typed.append(_has_phone(prompt))
    flags = (_PROPER.search(naming.without_new(prompt)), _IDENTIFIER.search(prompt), _MANY.search(prompt))
    assert len(typed) == len(TYPED)
    return {
        "verbs": np.array([verb in said for verb in VERBS], dtype=bool),
        "first_verb": VERBS.index(CLASS[acts[0]]) if acts else -1,
        "typed": np.array(typed, dtype=bool),
        "flags": np.array([found is not None for found in flags], dtype=bool),
    }


def _has_phone(prompt: str) -> bool:
    """Whether it holds a phone number: nine to fifteen digits (E.164), parted, with a plus, or said to be one."""
    found = (match[0] for match in _PHONE.finditer(prompt))
    return any(
        9 <= sum(map(str.isdigit, text)) <= 15 and not text.isdigit() and not _DATE.search(text) for text in found
    )


def products(asked: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Dot products of each of `asked` [k, n_dims] with each of `vectors` [n, n_dims]; float32 [k, n].

    In blocks so small that OpenBLAS keeps them on this thread (it spreads m x n x k above 2^18): on a busy machine its
    threads wait for one another for milliseconds, and how they split the sum changes the last bits.
    """
    step = max(1, (1 << 18) // max(asked.size, 1))
    out = np.empty((len(asked), len(vectors)), dtype=np.float32)
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step].astype(np.float32, copy=False)
        np.matmul(asked, block.T, out=out[:, start : start + step])
    return out


def _named(prompt: str, relations: Relations, words: Words) -> np.ndarray:
    """How surely each operation is about the kind of a name in the prompt, or searches for it; float32 [n].

    The word right beside a name says its kind, as does that it made something; else a word near to it perhaps, and a
    full name without a kind beside it is a person's.
    """
    kinds = np.zeros(words.size, dtype=np.float32)

    def grade(about: tuple[np.ndarray, np.ndarray, float], sure: float) -> bool:
        """Grades what is of a kind, and less what searches for it beside others; whether anything is."""
        things, searches, aside = about
        kinds[searches] = np.maximum(kinds[searches], np.float32(sure * aside))
        kinds[things] = np.maximum(kinds[things], np.float32(sure))
        return bool(len(things) or len(searches))

    for named in naming.names(prompt):
        if grade(_about(named.beside, relations, words), _MY if named.is_own else 1.0):
            continue
        if named.last:
            grade(_about(named.last, relations, words), _OWN)
        if named.as_person:
            grade(_about_always(naming.PERSONS, relations, words), named.as_person)
        if named.as_firm:
            grade(_about_always(naming.MAKERS, relations, words), named.as_firm)
        if not named.makes:
            grade(_about(named.near, relations, words), _NEAR)
    return kinds


def _own(prompt: str, relations: Relations, words: Words) -> np.ndarray:
    """Whether each operation reads the caller's own of a kind that the prompt calls so ("my boards"); float32 [n]."""
    own = np.zeros(words.size, dtype=np.float32)
    if said := naming.own_kinds(prompt):
        about = words.last_about(words.terms(said))
        own[about[relations.own[about] & (relations.verb[about] == 0)]] = 1.0
    return own


def _acted(prompt: str, relations: Relations, n: int) -> np.ndarray:
    """Whether each operation is called by one of the verbs that the prompt asks for; float32 [n]."""
    acted = np.zeros(n, dtype=np.float32)
    for act in verbs.prompt_acts(prompt):
        acted[relations.acts.get(verbs.same(act), [])] = 1.0
    return acted


def _about(text: str, relations: Relations, words: Words) -> tuple[np.ndarray, np.ndarray, float]:
    """Operations on what a word of `text` is, those that search for it, and how much less these are about it."""
    things = words.last_about(words.terms(text))
    searches = relations.entities.searched_by(text, relations.free)
    return things, searches, _ASIDE if (relations.free[things] > 0).any() else 1.0


def _about_always(text: str, relations: Relations, words: Words) -> tuple[np.ndarray, np.ndarray, float]:
    """The same of a text that does not come from a prompt, remembered with the catalog."""
    known = _ALWAYS.setdefault(words, {})
    if text not in known:
        known[text] = _about(text, relations, words)
    return known[text]


def _unexplained(prompt_vector: np.ndarray, vectors: np.ndarray, session: Session) -> np.ndarray:
    """The prompt with the span of the last operations' meanings projected out, unit length again."""
    last = session.recent[:_EXPLAINED_BY]
    if not len(last):
        return prompt_vector
    basis, _ = np.linalg.qr(vectors[last].astype(np.float32).T)
    left = prompt_vector - basis @ (basis.T @ prompt_vector)
    size = float(np.linalg.norm(left))
    return left / size if size > 1e-4 else np.zeros_like(prompt_vector)


def _range(cosine: np.ndarray) -> tuple[float, float]:
    """Median and best."""
    middle = len(cosine) // 2
    return float(np.partition(cosine, middle)[middle]), float(cosine.max())


def _scaled(cosine: np.ndarray, within: tuple[float, float]) -> np.ndarray:
    """0 at the median and below, 1 at the best."""
    median, best = within
    return np.maximum(cosine - np.float32(median), 0) / np.float32(max(best - median, 1e-6))


def _share(score: np.ndarray) -> np.ndarray:
    return (score / max(float(score.max(initial=0.0)), 1e-6)).astype(np.float32)
