"""Which ids and quoted words of a prompt stand beside which nouns: "issue 42", "orders #W1 and #W2", `label "bug"`.

Called by `wish`, once a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.candidates import names, spans
from pipeline.candidates.vocabulary import CUE_NOISE, NAMED

_PLURAL_VERBS = frozenset(
    ("needs", "does", "says", "gets", "goes", "comes", "looks", "shows", "fails", "wants", "seems")
)
SELF = "#self"  # key of the ids by which the caller is introduced
LONG_NUMBER = 5  # digits; shorter ones count something or are a year


def ids_beside(found: Sequence[spans.Span]) -> dict[str, list[str]]:
    """Entity -> ids the prompt names beside it: "issue 42", "orders #W1 and #W2"."""
    mentions: dict[str, list[str]] = {}
    previous = last = ""
    for span in found:
        if span.kind not in ("id", "number", "uuid", "slug", "code"):
            continue
        if span.kind == "number" and len(span.value) < LONG_NUMBER and _is_counted(span):
            continue
        cues = [word for word in span.before if word not in CUE_NOISE]
        joined = bool(previous) and span.before[:1] in (("and",), ("or",), tuple(spans.words(last)[-1:]))
        if span.before[:1] in (("am",), ("are",)):
            cues = ["user"]  # "I am mei_davis_8935"
        if span.kind != "number" and is_self(span):
            mentions.setdefault(SELF, []).append(span.value)
        entity = previous if joined else names.singular(cues[0]) if cues else ""
        if entity:
            mentions.setdefault(entity, []).append(span.value)
        previous, last = entity, span.value
    return mentions


def quotes_beside(found: Sequence[spans.Span]) -> dict[str, list[str]]:
    """Entity -> quoted words beside it: `label "bug"`, `the "bug" label`, `a repository named "x"`."""
    quoted: dict[str, list[str]] = {}
    for span in found:
        cues = [word for word in span.before if word not in NAMED and word not in CUE_NOISE]
        for cue in (*cues[:1], *span.after[:1]):
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


def _is_counted(span: spans.Span) -> bool:
    """Whether a number counts what follows it: 40 of "order 40 bags" is no order."""
    after = span.after[0] if span.after else ""
    return len(after) > 3 and after != names.singular(after) and after not in _PLURAL_VERBS
