"""What the words beside a span say of it: of what it is an id, who is introduced by it, whether it is a birthday.

Pure functions of spans; which parameter takes which span is `wish`'s business, which calls this.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from pipeline.candidates import names, spans
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import BIRTH, CUE_NOISE, IMPERATIVES, NAMED

SELF = "#self"  # key of the ids by which the caller is introduced
LONG_NUMBER = 5  # digits; shorter ones count something or are a year
_BORN = BIRTH - {"birthday"}  # what is done on a birthday may be meant
_KEY = re.compile(r"[A-Z][A-Z0-9_]{1,9}")
_PREPOSITIONS = frozenset(
    ("for", "on", "to", "at", "in", "by", "about", "like", "from", "into", "up", "look", "show", "see")
)
_PLURAL_VERBS = frozenset(
    ("needs", "does", "says", "gets", "goes", "comes", "looks", "shows", "fails", "wants", "seems")
)


def mentions(found: Sequence[spans.Span]) -> dict[str, list[str]]:
    """Entity -> ids the prompt names beside it: "issue 42", "orders #W1, #W2 and #W3"."""
    mentions: dict[str, list[str]] = {}
    previous = ""
    last: tuple[str, tuple[str, ...]] = "", ()
    for span in found:
        if span.kind not in ("id", "number", "uuid", "slug", "code"):
            continue
        if span.kind == "number" and len(span.value) < LONG_NUMBER and _is_counted(span):
            continue
        cues = [word for word in span.before if word not in CUE_NOISE]
        joined = bool(previous) and (span.before[:1] in (("and",), ("or",)) or (span.kind, span.before[:1]) == last)
        if span.before[:1] in (("am",), ("are",)):
            cues = ["user"]  # "I am mei_davis_8935"
        if span.kind != "number" and is_self(span):
            mentions.setdefault(SELF, []).append(span.value)
        entity = previous if joined else names.singular(cues[0]) if cues else ""
        if entity:
            mentions.setdefault(entity, []).append(span.value)
        previous = entity
        last = (span.kind, tuple(spans.words(span.value))[-1:])
    return mentions


def standing_alone(found: Sequence[spans.Span]) -> dict[str, str]:
    """Values that can only be ids, each with the noun before it: long numbers, UUIDs, codes."""
    others = {span.value for span in found if span.kind in ("zip", "phone")}
    alone: dict[str, str] = {}
    for span in found:
        long = span.kind == "number" and len(span.value) >= LONG_NUMBER and span.value.isdigit()
        if (long or span.kind in ("id", "uuid", "code")) and span.value not in others:
            cue = next((word for word in span.before if word not in CUE_NOISE), "")
            is_noun = cue not in _PREPOSITIONS and cue not in IMPERATIVES
            alone.setdefault(span.value, names.singular(cue) if is_noun else "")
    return alone


def named(found: Sequence[spans.Span]) -> dict[str, list[str]]:
    """Entity -> quoted words beside it: `label "bug"`, `the "bug" label`, `a repository named "x"`."""
    quoted: dict[str, list[str]] = {}
    for span in found:
        cues = [word for word in span.before if word not in NAMED and word not in CUE_NOISE]
        for cue in (*cues[:1], *(word for word in span.after[:1] if word not in _PREPOSITIONS)):
            quoted.setdefault(names.singular(cue), []).append(span.value)
    return quoted


def is_self(span: spans.Span) -> bool:
    """Whether the caller is introduced by it: "you are", "I'm", "my name is"."""
    near = span.before[:1]
    return span.before[:2] in (("are", "you"), ("am", "i"), ("is", "name")) or near in (
        ("i'm",),
        ("you're",),
        ("i’m",),
        ("you’re",),
    )


def is_birth(span: spans.Span) -> bool:
    """Whether a date is somebody's birthday: "born on", "date of birth:", "my birthday is"."""
    if _BORN.intersection(span.before):
        return True
    near = [word for word in span.before if word not in ("is", "was", "on")]
    return near[:1] == ["birthday"]


def is_title(span: spans.Span) -> bool:
    """Whether a phrase names something by itself: several words, no street behind its number."""
    first, *more = span.value.split()
    return bool(more) and len(first) > 1 and not (span.before and span.before[0].isdigit())


def is_key(span: spans.Span, entity: str) -> bool:
    """Whether capitals stand right behind the noun of what they are the key of: "project OPS"."""
    return span.before[:1] == (entity,) and _KEY.fullmatch(span.value) is not None


def _is_counted(span: spans.Span) -> bool:
    """Whether a number counts what follows it: 40 of "order 40 bags" is no order."""
    after = span.after[0] if span.after else ""
    return len(after) > 3 and after != names.singular(after) and after not in _PLURAL_VERBS


def called(phrases: Sequence[spans.Span], name: Name, given: Collection[str] = ()) -> str | None:
    """The capitalised phrase right behind the noun, one not `given` yet: `guest_name` of "guests Li Wen and Jo Paz"."""
    behind = [span.value for span in phrases if span.before and names.singular(span.before[0]) == name.entity]
    texts = [text for phrase in behind for text in re.split(r",? and |, ", phrase)] if len(name.words) > 1 else []
    return next((text for text in texts if text not in given), None)
