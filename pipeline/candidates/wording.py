"""Texts that a prompt words for an argument: what a thing is to be called, what is to be written in it.

Pure functions of a prompt's text and spans; used by `wish`, and flags are `flags`' business.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from pipeline.candidates import beside, codes, countries, names
from pipeline.candidates.names import Name
from pipeline.candidates.spans import Span, is_time
from pipeline.candidates.vocabulary import DATE_WORDS, SENTENCE_STARTERS, TEXT
from pipeline.types import Parameter

_TITLES = frozenset(("name", "title", "topic", "summary", "subject", "headline", "displayname"))
_BODIES = frozenset(("body", "text", "message", "content", "comment"))
_CALLED = frozenset(("called", "named", "titled"))
# What an optional text of a new thing is given with: `a coupon called "Welcome"`.
_NAMING = {
    "name": frozenset(("named", "called", "call", "name")),
    "title": frozenset(("titled", "called", "title", "entitled")),
    "description": frozenset(("described", "description", "describe")),
}
_SAYING = frozenset(("saying", "says", "reading"))
_SENDING = frozenset(("send", "reply", "say", "tell"))
_SPEAKING = frozenset(("post", "text", "write", "comment", "message", "tweet", "publish", "announce"))
_SPEAKING |= _SAYING | _SENDING
_COPULAS = (("is",), ("of",), ("to",), ("as",), ("with",))
_TO = frozenset(("to", "as", "into"))
# From where to where: `pickup` and `dropoff` of a ride.
_ENDS = {"pickup": "from", "origin": "from", "source": "from", "from": "from", "dropoff": "to", "destination": "to"}
_OTHER_NAMES = frozenset(("first", "last", "middle", "family", "given", "user", "file"))
_PLAIN = re.compile(r"(?: [a-z]+){1,3}(?![\w'’])")
_LINKS = frozenset(
    re.findall(r"\w+", "is to of as called named titled saying be with reading the a an for in it from by")
)
_NEAR = 200  # characters before a text that say whose it is
_PHRASES = 60  # of one prompt that are looked at
_LABELS = frozenset(("tag", "label", "tags", "labels"))


def text(name: Name, is_needed: bool, found: Mapping[str, Sequence[Span]], lower: str) -> str | None:
    """The text that the prompt gives to what is set: `the title to "X"`, `rename A to B`, `a project called Garden`.

    A quote beside the thing's own noun ("the task 'Buy milk'") is its title, or the text it needs, unless that changes.
    """
    last = names.singular(name.words[-1])
    is_title, is_body = name.full in _TITLES, name.full in _BODIES
    quotes = found.get("quoted", ())
    if (side := _ENDS.get(last)) is not None:
        renames = re.search(r"\b(?:rename|retitle)", lower) is not None  # that is what it is called from now on
        ends = [span.value for span in quotes if span.before[:1] == (side,) and not renames]
        if len(ends) == 1:
            return ends[0]
    phrases = [*quotes, *found.get("entity", ()), *found.get("slug", ())][:_PHRASES]
    if is_title:  # its own word says more than "named": a version named "v1" with the subject "Hello"
        own = [span.value for span in quotes if span.before[:1] == (last,) and _is_whole(name, span)]
        if len(own) == 1:
            return own[0]
    for span in phrases:
        cue, said = span.before[0] if span.before else "", lower[max(0, span.start - _NEAR) : span.start]
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
        span.value for span in quotes if span.before[:1] == (name.resource,) and others.isdisjoint(span.before[1:2])
    ]
    return free[0] if free else None


def quoted(name: Name, quotes: Sequence[Span], is_new: bool) -> str | None:
    """The quote behind the argument's own noun, or behind what gives a new thing such a text: `call it "Welcome"`."""
    last = frozenset((names.singular(name.words[-1]),))
    naming = _NAMING.get(name.full) if is_new else None
    for span in quotes:
        near = list(map(names.singular, span.before[:2]))
        if near and naming is None and near[0] not in _LINKS:
            near = near[:1]  # of "a high priority task 'Call'" no priority is said
        if not (naming or last).isdisjoint(near):
            return span.value
    return None


def spoken(name: Name, quotes: Sequence[Span]) -> str | None:
    """The only quote, right behind a word of saying, for what is written: `post "Live now"`, `send "Done" to Ann`."""
    if name.full not in _BODIES or len(quotes) != 1 or _SPEAKING.isdisjoint(quotes[0].before[:1]):
        return None
    return quotes[0].value


def labelled(name: Name, parameter: Parameter, found: Mapping[str, Sequence[Span]]) -> str | None:
    """The word with a digit right behind all of the argument's name, else the place that a city is.

    "size s-1vcpu-1gb", "promo code WELCOME10"; "hotels in Vienna".
    """
    if parameter.type != "string" or parameter.format or name.kind in ("id", "number", "sha", "key"):
        return None
    for kind in ("slug", "id", "code"):
        for span in found.get(kind, ()):
            near = span.before[1:] if span.before[:1] in _COPULAS else span.before
            if near[: len(name.words)] == name.words[::-1] and any(map(str.isdigit, span.value)):
                return span.value
    return _placed(name, parameter, found)


def _placed(name: Name, parameter: Parameter, found: Mapping[str, Sequence[Span]]) -> str | None:
    """The only capitalised phrase behind "in" or "near", no country, language or day, for a city to look in."""
    if parameter.location != "query" or parameter.type != "string" or "city" not in name.words or name.kind == "id":
        return None
    phrases = (span.value for span in found.get("entity", ()) if span.before[:1] in (("in",), ("near",)))
    said = {phrase for phrase in phrases if not is_time(phrase) and phrase.lower() not in codes.LANGUAGES}
    place = said.pop() if len(said) == 1 else ""
    return None if not place or countries.said(f"in {place}") else place


def is_anothers(name: Name, quote: Span) -> bool:
    """Whether the word before a quote says that it is a title, of what is written, or the other way round."""
    is_title = not (_TITLES | _CALLED).isdisjoint(quote.before[:1])
    is_body = not (_BODIES | _SAYING | _SENDING).isdisjoint(quote.before[:1])
    return (is_title and name.full in _BODIES | {"description", "note"}) or (is_body and name.full in _TITLES)


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


def sought(by_kind: Mapping[str, Sequence[Span]], name: Name, given: Collection[str]) -> str | None:
    """What to look for: quoted words, else a capitalised phrase, the one beside the resource first.

    Who asks is not looked for, nor is the single word that is left where they say who they are.
    """
    known = {text.lower() for text in given}
    for kind in ("quoted", "entity", "opening"):
        phrases = by_kind.get(kind, ())
        found = [
            span
            for span in phrases
            if span.value.lower() not in known
            and span.value.lower() != name.resource
            and (kind == "quoted" or not (is_time(span.value) or beside.is_self(span)))
        ]
        found = [s for s in found if len(s.value) > 3 or not s.value.isupper()] or found  # "TV" names no show
        close = [s for s in found if name.resource in map(names.singular, (*s.before[:1], *s.after[:1]))]
        callers = [span.start for span in phrases if beside.is_self(span)] if kind != "quoted" and not close else []
        if callers:
            found = [span for span in found if span.start < callers[0] or beside.is_title(span)]
        if found:
            return (close or found)[0].value
    return None
