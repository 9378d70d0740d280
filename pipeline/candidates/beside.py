"""What spans of a prompt mean by the words beside them: whose id it is, whose birthday, who asks.

Pure functions of spans; used by `wish`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.candidates import names, spans
from pipeline.candidates.vocabulary import BIRTH, CUE_NOISE, NAMED

SELF = "#self"  # key of the ids by which the caller is introduced
LONG_NUMBER = 5  # digits; shorter ones count something or are a year
_BORN = BIRTH - {"birthday"}  # what is done on a birthday may be meant
_PLURAL_VERBS = frozenset(
    ("needs", "does", "says", "gets", "goes", "comes", "looks", "shows", "fails", "wants", "seems")
)


def mentions(found: Sequence[spans.Span]) -> dict[str, list[str]]:
    """Entity -> ids the prompt names beside it: "issue 42", "orders #W1 and #W2"."""
    said: dict[str, list[str]] = {}
    previous = ""
    for span in found:
        if span.kind not in ("id", "number", "uuid", "slug", "code"):
            continue
        if span.kind == "number" and len(span.value) < LONG_NUMBER and is_counted(span):
            continue
        cues = [word for word in span.before if word not in CUE_NOISE]
        joined = bool(previous) and span.before[:1] in (("and",), ("or",))
        if span.before[:1] in (("am",), ("are",)):
            cues = ["user"]  # "I am mei_davis_8935"
        if span.kind != "number" and is_self(span):
            said.setdefault(SELF, []).append(span.value)
        entity = previous if joined else names.singular(cues[0]) if cues else ""
        if entity:
            said.setdefault(entity, []).append(span.value)
        previous = entity
    return said


def is_self(span: spans.Span) -> bool:
    """Whether the caller is introduced by it: "you are", "I'm", "my name is"."""
    near = span.before[:1]
    return span.before[:2] in (("are", "you"), ("am", "i"), ("is", "name")) or near in (
        ("i'm",),
        ("you're",),
        ("i’m",),
        ("you’re",),
    )


def is_title(span: spans.Span) -> bool:
    """Whether a phrase names something by itself: several words, no street behind its number."""
    first, *more = span.value.split()
    return bool(more) and len(first) > 1 and not (span.before and span.before[0].isdigit())


def is_counted(span: spans.Span) -> bool:
    """Whether a number counts what follows it: 40 of "order 40 bags" is no order."""
    after = span.after[0] if span.after else ""
    return len(after) > 3 and after != names.singular(after) and after not in _PLURAL_VERBS


def named(found: Sequence[spans.Span]) -> dict[str, list[str]]:
    """Entity -> quoted words beside it: `label "bug"`, `the "bug" label`, `a repository named "x"`."""
    quoted: dict[str, list[str]] = {}
    for span in found:
        cues = [word for word in span.before if word not in NAMED and word not in CUE_NOISE]
        for cue in (*cues[:1], *span.after[:1]):
            quoted.setdefault(names.singular(cue), []).append(span.value)
    return quoted


def is_birth(span: spans.Span) -> bool:
    """Whether a date is somebody's birthday: "born on", "date of birth:", "my birthday is"."""
    if _BORN.intersection(span.before):
        return True
    near = [word for word in span.before if word not in ("is", "was", "on")]
    return near[:1] == ["birthday"]
