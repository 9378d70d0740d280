"""What the words beside a span say of it: of what it is an id, who is introduced by it, whether it is a birthday.

Pure functions of spans; which parameter takes which span is `wish`'s business, which calls this.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence, Set

from pipeline.candidates import names, spans
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import BIRTH, CUE_NOISE, IMPERATIVES, NAMED

SELF = "#self"  # key of the ids by which the caller is introduced
LONG_NUMBER = 5  # digits; shorter ones count something or are a year
_BORN = BIRTH - {"birthday"}  # what is done on a birthday may be meant
_SHORT = {"pr": ("pr", "pull", "pullrequest"), "mr": ("mr", "mergerequest"), "cr": ("cr", "change", "changerequest")}
_KEY = re.compile(r"[A-Z][A-Z0-9_]{1,9}")
_OLD = frozenset(("drop", "old", "remove", "removed", "current", "previous", "existing"))
_NEW = frozenset(("add", "added", "new", "replacement", "target"))
_A = r"(?:(?!and\b|for\b|with\b)[a-z]+ ){0,3}(#?(?=[\w-]*\d)[\w-]+)"
_SWAP = re.compile(
    rf"(?i)\b(?:swap|exchange|trade|replace|substitute|switch)(?: out)? {_A} (?:for|with|by) {_A}"
    rf"|\b(?:drop|remove)(?:ping)? {_A},?(?: and| then)? add(?:ing)? {_A}"
)
SWAPS = frozenset(("swap", "exchange", "trade", "replace", "substitute", "switch", "drop", "dropping", "remove"))
_MOVES = frozenset(("move", "moved", "reschedule", "postpone", "push", "shift", "change", "switch", "rebook", "bring"))
_CHANGES = _MOVES | frozenset(
    re.findall(
        r"\w+", "grow raise increase resize expand extend lower reduce drop cut scale update bump adjust upgrade"
    )
)
_MOVED = re.compile(
    rf"\b(?:{'|'.join(sorted(_MOVES))})\b"
    r"(?:(?!\b(?:ends?|ending|due|until|till|through|dates|deadline|expiry|check-?out)\b)[^.;!?])*$"
)
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
        for called in _SHORT.get(entity, (entity,)) if entity else ():
            mentions.setdefault(called, []).append(span.value)
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


def swapped(prompt: str, name: Name) -> str | None:
    """What is to go or to come, for what is called so: "swap CS-101 for CS-102" and `drop_course_id`."""
    if len(name.words) < 2 or not name.kind or (side := name.words[0]) not in _OLD | _NEW:
        return None
    found = _SWAP.search(prompt)
    pair = [text.strip() for text in found.groups() if text] if found else []
    return pair[side in _NEW] if len(pair) == 2 else None


def on_side(found: Sequence[spans.Span], side: str) -> list[spans.Span]:
    """Of several values those behind "from" for that side, for "to" the others; for "any" these if there are some."""
    sent = [span for span in found if "from" in span.before[: 1 + (span.before[:1] == ("number",))]]
    if side == "from":
        return sent
    others = [span for span in found if span not in sent]
    return others if others or side == "to" else list(found)


def aims(numbers: Sequence[spans.Span], words: Set[str]) -> list[spans.Span]:
    """Numbers without what one is changed from: 200 of "grow it from 100 GB to 200 GB"."""
    if "from" not in words or "to" not in words or _CHANGES.isdisjoint(words):
        return list(numbers)
    left: list[spans.Span] = []
    old: spans.Span | None = None
    for span in numbers:
        if old is not None and span.before[:1] == ("to",) and old.value in span.before[1:]:
            left[-1] = dataclasses.replace(span, before=old.before[1:])
        else:
            left.append(span)
        old = span if span.before[:1] == ("from",) else None
    return left


def moved_days(days: Sequence[spans.Span], lower: str) -> Sequence[spans.Span]:
    """Days without what is moved away from: "move it from 3 May to 9 May" says no two ends of a time, nor does "to"."""
    if not 0 < len(days) < 3 or days[-1].before[:1] != ("to",) or len(days[-1].before) == 1:
        return days
    first, last = days[0], days[-1]
    is_pair = first is not last
    if is_pair and (first.before[:1] != ("from",) or len(first.before) == 1 or first.value[:10] == last.value[:10]):
        return days
    if _MOVED.search(lower[max(0, first.start - 60) : first.start]) is None:
        return days
    return [dataclasses.replace(last, before=first.before[1:])]
