"""Which of several things a prompt means by what it has most or least of: "the cheapest one", "the newest deal".

Pure functions of a prompt in lower case and the things of an answer; called by `answers`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.candidates import names

_PRICES = ("price", "cost", "fare", "fee", "rate", "rent", "amount", "total")
_MADE = ("created", "published", "posted", "listed", "added", "opened", "placed", "ordered", "uploaded", "date",
         "timestamp", "time", "updated")  # fmt: skip
_SIZES = ("size", "amount", "area", "volume", "value", "total", "capacity", "population")
_LASTING = ("duration", "transit", "eta", "minutes", "hours", "days", "time")
_RATED = ("rating", "score", "stars", "votes")
# What people say -> words of the fields that tell it, the best first; whether the highest is meant.
_MEANT: dict[str, tuple[tuple[str, ...], bool]] = {
    "cheapest": (_PRICES, False), "least expensive": (_PRICES, False), "lowest priced": (_PRICES, False),
    "most expensive": (_PRICES, True), "priciest": (_PRICES, True),
    "newest": (_MADE, True), "latest": (_MADE, True), "most recent": (_MADE, True),
    "oldest": (("birthdate", "birth", "born", "birthday", "dob", *_MADE), False), "earliest": (_MADE, False),
    "youngest": (("birthdate", "birth", "born", "birthday", "dob"), True),
    "biggest": (_SIZES, True), "largest": (_SIZES, True), "smallest": (_SIZES, False),
    "fastest": (_LASTING, False), "quickest": (_LASTING, False), "shortest": (_LASTING, False),
    "longest": (_LASTING, True),
    "best rated": (_RATED, True), "top rated": (_RATED, True), "highest rated": (_RATED, True),
}  # fmt: skip
_SAID = re.compile(rf"\bthe ({'|'.join(_MEANT).replace(' ', '[ -]')}) (?!(?:two|three|four|five|\d+)\b)([a-z]+)")
_END = re.compile(r"\s*(?:$|[.,;!?]| (?:on|for|at|from|to|please|and|as|with|by|in)\b)")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_FIELDS = 40  # of one thing
CUES = frozenset(re.findall(r"\w+", " ".join(_MEANT))) - {"most", "least", "priced"}


def place(items: Sequence[Any], entity: str, lower: str) -> int | None:
    """The index of the thing that has most or least of what the prompt says; None where not all tell, or two are even.

    Days are ordered as ISO 8601 writes them.
    """
    said = _SAID.search(lower)
    if said is None or len(items) < 2 or not all(isinstance(item, Mapping) for item in items):
        return None
    if said.group(2) != "of" and names.singular(said.group(2)) not in ("one", entity) and not _is_last(said, lower):
        return None
    words, is_highest = _MEANT[said.group(1).replace("-", " ")]
    for word in words:
        for raw in itertools.islice(items[0], _FIELDS):
            if word not in names.split(raw[:60]):
                continue
            values = [_amount(item.get(raw)) for item in items]
            if None in values or len({type(value) for value in values}) > 1:
                continue
            best = (max if is_highest else min)(values)  # type: ignore[type-var]
            return values.index(best) if values.count(best) == 1 else None
    return None


def _is_last(said: re.Match[str], lower: str) -> bool:
    """Whether nothing but the end of its phrase follows the noun, so that it names the things by another word."""
    return _END.match(lower, said.end()) is not None


def _amount(value: Any) -> float | str | None:
    """A number, also one in an amount of money, or a day as text."""
    if isinstance(value, Mapping):
        value = next((value[raw] for raw in ("amount", "value", "units") if raw in value), None)
    if isinstance(value, str):
        if _DAY.match(value):
            return value
        value = value.lstrip("$€£ ").replace(",", "")
        return float(value) if re.fullmatch(r"-?\d{1,15}(?:\.\d{1,9})?", value) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
