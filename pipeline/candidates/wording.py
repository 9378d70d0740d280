"""What a prompt words for an argument: flags said by their name ("make it private"), texts said by theirs.

Pure functions of a prompt's text and spans and of one parameter; used by `wish`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

from pipeline.candidates import names
from pipeline.candidates.names import Name
from pipeline.candidates.spans import Span
from pipeline.candidates.vocabulary import DATE_WORDS, PLAIN_ENUMS, SENTENCE_STARTERS, TEXT
from pipeline.types import Operation, Parameter

_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|(?<!\w)'[^'\n]*'(?!\w)|`[^`\n]*`")
_OPPOSITES = {"public": "private", "private": "public", "visible": "hidden", "hidden": "visible"}
_SWITCHES = frozenset(("state", "enabled", "enable", "active", "on"))
_ON = re.compile(r"\b(?:turn|switch)(?:ed)? (?:\w+ ){0,3}on\b|\b(?:enable|activate)")
_OFF = re.compile(r"\b(?:turn|switch)(?:ed)? (?:\w+ ){0,3}off\b|\b(?:disable|deactivate)")
_DENIED = re.compile(r"(?:\b(?:not|no|never|without|stop|non)|n['’]t)(?:[ -]\w+){0,2}[ -]$")
_BOTH = re.compile(r"\b(?:with|and|or) (?:and|or) without (?:\w+ ){0,2}$")
_ENDING = re.compile(r"(?:ing|ed|e|d|s)$")
_TITLES = frozenset(("name", "title", "topic", "summary", "subject", "headline", "displayname"))
_BODIES = frozenset(("body", "text", "message", "content", "comment"))
_CALLED = frozenset(("called", "named", "titled"))
_SAYING = frozenset(("saying", "says", "reading"))
_TO = frozenset(("to", "as", "into"))
_OTHER_NAMES = frozenset(("first", "last", "middle", "family", "given", "user", "file"))
_PLAIN = re.compile(r"(?: [a-z]+){1,3}(?![\w'’])")
_LABELS = frozenset(("tag", "label", "tags", "labels"))


def flag(parameter: Parameter, lower: str, operation: Operation) -> bool | None:
    """True where the prompt says the flag's name outside of quotes, False where it denies it or says the opposite.

    None where it says nothing, or both, or where the word names the operation itself.
    """
    words = [word for word in names.split(parameter.name) if word != "is"]
    text = _QUOTED.sub(" ", lower)
    if len(words) == 1 and words[0] in _SWITCHES:
        on, off = _ON.search(text) is not None, _OFF.search(text) is not None
        return on if on is not off else None
    if not words or (len(words) == 1 and not _tells(words[0], operation)):
        return None
    found: set[bool] = set()
    for match in _pattern(tuple(words)).finditer(text):
        if _BOTH.search(text[: match.start()]):
            return None
        found.add(match.group(1) is None and _DENIED.search(text[: match.start()]) is None)
    opposite = _OPPOSITES.get(words[-1]) if len(words) == 1 else None
    for match in re.finditer(rf"\b{opposite}\b", text) if opposite else ():
        found.add(_DENIED.search(text[: match.start()]) is not None)
    return found.pop() if len(found) == 1 else None


def _tells(word: str, operation: Operation) -> bool:
    """Whether a word alone can say a flag: no plain one, and none by which the operation is called."""
    own = {names.singular(w) for w in re.findall(r"[a-z]+", f"{operation.path} {operation.summary}".lower())}
    return len(word) > 3 and word not in PLAIN_ENUMS and word not in TEXT and names.singular(word) not in own


@functools.lru_cache(maxsize=4096)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Finds the words in their order, in any of their forms and up to two others apart; group 1 is an `un-`."""
    forms = []
    for word in words:
        stem = _ENDING.sub("", word) if len(word) > 4 else word
        doubled = len(stem) > 3 and stem[-1] == stem[-2]
        forms.append(
            re.escape(stem[:-1] if doubled else stem) + (f"{stem[-1]}?" if doubled else "") + "(?:e|ed|d|s|es|ing)?"
        )
    return re.compile(r"\b(un)?" + r" (?:\w+ ){0,2}".join(forms) + r"\b")


def text(name: Name, is_needed: bool, found: Mapping[str, Sequence[Span]], lower: str) -> str | None:
    """The text that the prompt gives to what is set: `the title to "X"`, `rename A to B`, `a project called Garden`.

    A quote beside the thing's own noun ("the task 'Buy milk'") is its title, or the text it needs, unless that changes.
    """
    last = names.singular(name.words[-1])
    is_title, is_body = name.full in _TITLES, name.full in _BODIES
    quoted = found.get("quoted", ())
    phrases = [*quoted, *found.get("entity", ()), *found.get("slug", ())]
    for span in phrases:
        cue, said = span.before[0] if span.before else "", lower[: span.start]
        if cue in _TO and last not in DATE_WORDS:
            changes = re.search(rf"\b{re.escape(last)}\b[^.!?\"“]*$", said)
            if changes or (is_title and re.search(r"\brename[^.!?]*$", said)):
                return span.value
        is_called = (is_title and cue in _CALLED) or (is_body and cue in _SAYING)
        if is_called:
            return _run_on(span, lower)
        if cue == last and (is_title or is_body or last in TEXT) and _is_whole(name, span):
            return span.value
    if re.search(r"\brename", lower) or not (is_title or (is_body and is_needed)):
        return None
    others = (TEXT | _LABELS | _SAYING) - {last, *_CALLED}
    free = [
        span.value for span in quoted if span.before[:1] == (name.resource,) and others.isdisjoint(span.before[1:2])
    ]
    return free[0] if free else None


def _is_whole(name: Name, span: Span) -> bool:
    """Whether all of the name stands before it: of "first name Ada" no `name` and no `last_name` is said."""
    near = [word for word in span.before if word not in ("is", "the")]
    return near[: len(name.words)] == [*name.words][::-1] and (name.full != "name" or not _OTHER_NAMES & {*near[1:2]})


def _run_on(span: Span, lower: str) -> str:
    """A name with the plain words that follow: "called Road trip with" is one of two words."""
    following = _PLAIN.match(lower, span.start + len(span.value)) if span.kind == "entity" else None
    more = following.group().split() if following else []
    more = more[: next((i for i, word in enumerate(more) if word in SENTENCE_STARTERS), len(more))]
    return " ".join((span.value, *more))
