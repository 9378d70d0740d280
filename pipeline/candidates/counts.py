"""Which number of a prompt a parameter takes: beside its noun or unit, behind its name, a year, an amount of money.

`Counts` reads the words of a prompt once, when it is first asked. Called by `wish`.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Collection, Sequence, Set
from typing import Any

from pipeline.candidates import names, parameters, spans
from pipeline.candidates.literals import unquoted
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import (
    ALL_BOUNDS,
    BOUND_WORDS,
    CUED,
    CURRENCIES,
    ISO_CURRENCIES,
    NUMBERED,
    SCALES,
    TIMES,
    TYPED,
    UNIT_WORDS,
    UNITS,
)
from pipeline.types import Parameter

_PERCENT = re.compile(r"[\d.,]+ ?%")  # counts nothing
_YEAR = re.compile(r"19\d\d|20\d\d")


_FEW = r"(\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?![\d:.,]*\d|\w| ?%)"
_ENDS = r" *(?:$|[.,;!?)])"
_PEOPLE = re.compile(
    rf"\b{_FEW} (people|persons?|guests?|of us|travell?ers?|passengers?|riders?|diners?|pax)\b"
    rf"|\b(?:party|group) of {_FEW}|\b(?:table|room|dinner|lunch|ride) for {_FEW}(?! ?[ap]\.?m| [a-z]+s\b)"
    rf"|\bwe(?: are|['’]re| will be|['’]ll be) {_FEW}(?={_ENDS}| (?:people|persons|in|this|tonight|at|on)\b)"
    rf"|\bfor (?!one\b){_FEW}(?={_ENDS}| (?:tonight|today|tomorrow|at|on|from|in|with|please|under|next|this)\b)"
)
_ANYBODY = frozenset(("", "people", "person", "of us", "pax"))
_MANY = r"(\d{1,4}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_WANTED = re.compile(
    r"(?:\b(?:add|buy|get|give|move|need|put|receive|redeem|sell|send|ship|take|want|withdraw)"
    r"|(?:^|[.,;:!?] |\b(?:please|and|then|i|like to|want to|need to) )"
    r"(?:book|order|pack|pick|purchase|reserve|return|transfer))"
    rf"(?: me| us| up| another)? {_MANY}(?![\w:.,/-]*\d) ([\w-]+)"
    rf"|\b(?!one of){_MANY} ?(?:[x×] (?=\w)|(?:units?|pieces?|pcs|copies|items)\b"
    r"|of (?:it|them|these|those|this|that|product)\b)"
)
_NO_THINGS = TIMES | UNIT_WORDS
_NO_THINGS |= frozenset(
    re.findall(
        r"\w+",
        "percent kg km lb lbs gram grams kilo kilos euro euros dollar dollars usd eur gbp pounds cents am pm second "
        "minute point points degree degrees more extra additional fewer less",
    )
)

_LOWER = frozenset(("min", "minimum", "gte", "gt", "above", "over", "low", "lowest", "lower", "least"))
_UPPER = frozenset(("max", "maximum", "lte", "lt", "below", "under", "high", "highest", "upper", "most", "budget"))
_MORE, _LESS = "(?:more|greater|higher|larger|bigger|pricier|dearer)", "(?:less|fewer|lower|smaller|cheaper)"
_BOUND = re.compile(
    rf"""(?ix) (?P<most>\b(?:max(?:imum)?|under|below|at\ most|within|budget|up\ to|not\ (?:over|above|exceeding)
        |(?:no|not|never)\ {_MORE}\ than|{_LESS}(?:\ \w+)?\ than)\b|<=?|≤)
    | (?P<least>\b(?:min(?:imum)?|over|above|at\ least|exceed(?:s|ing)?|not\ (?:under|below)|starting\ at|from(?=\s*$)
        |(?:no|not|never)\ {_LESS}\ than|{_MORE}(?:\ \w+)?\ than)\b|>=?|≥)"""
)
_BEHIND = re.compile(  # "$50 max", "$10 or more"
    r"(?i)\s*(?:(?P<most>(?:max(?:imum)?|at most|tops|(?:or|and) (?:less|under|below|cheaper|lower))\b)"
    r"|(?P<least>(?:min(?:imum)?|at least|(?:or|and) (?:more|over|above|higher|up|upwards))\b|\+))"
)
_BETWEEN = re.compile(r"(?i)\bbetween\b")
_TO = re.compile(r"(?i)\s*(?:[-–—]|to|until|till)\s*")
_FILL = re.compile(r"(?i)(?:\W*\b(?!(?:and|for|in|or|with)\b)[^\W\d]+){0,3}\W*")  # between "maximum" and its amount
_FIGURE = re.compile(
    r"[#-]?(?:[$€£] ?|[A-Z]{3} )?\d(?:[\d.,'’ \u00a0\u202f]*\d)?(?:[kKmM]\b)?"
    rf"(?: ?(?:[$€£](?! ?\d)|(?i:(?:us )?dollars|euros?|pounds|{'|'.join(sorted(ISO_CURRENCIES))})\b))?"
)


class Counts:
    """The numbers of one prompt, `said` being its words in their order."""

    def __init__(self, said: Sequence[str], words: Set[str], numbers: Sequence[spans.Span], prompt: str) -> None:
        self._said, self._words, self._numbers, self._prompt = said, words, numbers, prompt

    @functools.cached_property
    def _pairs(self) -> list[tuple[str, str]]:
        return [(a, names.singular(b)) for a, b in itertools.pairwise(self._said)]

    @functools.cached_property
    def ordinals(self) -> list[tuple[int, str]]:
        """Places and what is at them: "the fourth season", "season four"."""
        found = [(place, what) for word, what in self._pairs if (place := spans.ordinal(word)) is not None]
        return found + [(n, a) for a, b in self._pairs if (n := spans.ordinal(b) or spans.number_word(b)) is not None]

    @functools.cached_property
    def _numerals(self) -> list[tuple[int, str]]:
        return [(n, what) for word, what in self._pairs if (n := spans.number_word(word)) is not None and n > 1]

    def of(self, name: Name) -> str | None:
        """The number before the parameter's noun or unit: 3 of "the last 3 days" for `days`, 45 of "45 min".

        What else the name says has to stand in the prompt too: `maxMinutes` takes "under 45 min", `activeMinutes` not.
        Of what is numbered "the fourth season" is one too.
        """
        noun, others = parameters.counted(name)
        if name.kind in ("", "number") and name.entity in NUMBERED and len(name.words) == 1 + bool(name.kind):
            found = {place for place, what in self.ordinals if what == name.entity}
            if len(found) == 1:
                return str(found.pop())
        if noun in NUMBERED and not name.is_plural:
            return None  # of "two pages" neither is page 2
        noun = UNITS.get(noun, noun)
        if not all(not self._words.isdisjoint(BOUND_WORDS.get(word, (word,))) for word in others):
            return None
        own, numbers = self._bounded(others, [s for s in self._numbers if not _PERCENT.match(self._prompt, s.start)])
        if own and noun in map(names.singular, self._words):
            return own[0].value
        for span in numbers:
            after = names.singular(span.after[0]) if span.after else ""
            if after and UNITS.get(after, after) == noun:
                return span.value
        return next((str(count) for count, what in self._numerals if UNITS.get(what, what) == noun), None)

    def _bounded(
        self, said: Sequence[str], numbers: Sequence[spans.Span]
    ) -> tuple[Sequence[spans.Span], Sequence[spans.Span]]:
        """Numbers that stand behind the bound that a name says, and all but those behind the other one.

        "a minimum of 3 and a maximum of 9 nodes".
        """
        bounds = {word for bound in said for word in BOUND_WORDS.get(bound, ())}
        if not bounds:
            return (), numbers
        own = [span for span in numbers if not bounds.isdisjoint(span.before[:2])]
        others = [s for s in numbers if s not in own and not ALL_BOUNDS.isdisjoint(s.before[:2])]
        return own, [span for span in numbers if span not in others]

    @functools.cached_property
    def _people(self) -> list[tuple[str, str]]:
        """Numbers of those who come along, and what they are called."""
        found = _PEOPLE.findall(unquoted(self._prompt.lower()))
        return [(next(filter(None, (first, *others))), names.singular(noun)) for first, noun, *others in found]

    def people(self, name: Name, parameter: Parameter) -> str | None:
        """How many come along, for what counts them: 4 of "a table for 4", "we are four", "4 people"."""
        if not (self._people and parameters.takes_people(name, parameter) and ALL_BOUNDS.isdisjoint(name.words)):
            return None
        own = _ANYBODY | {names.singular(word) for word in name.words}
        found = {count for count, noun in self._people if noun in own or "size" in name.words}
        count = found.pop() if len(found) == 1 else ""
        return count if count.isdigit() else str(spans.number_word(count) or "") or None

    @functools.cached_property
    def _wanted(self) -> set[str]:
        """How many of a thing are asked for: "add 3 of product X", "five of them", "4 x B-8"."""
        found = _WANTED.findall(unquoted(self._prompt.lower()))
        return {
            many or other for many, noun, other in found if other or not (noun in _NO_THINGS or many in ("a", "an"))
        }

    def quantity(self, name: Name) -> str | None:
        """The only number of things that is asked for, for what is called a quantity."""
        if not self._wanted or not parameters.is_quantity(name):
            return None
        count = next(iter(self._wanted)) if len(self._wanted) == 1 else ""
        return count if count.isdigit() else str(spans.number_word(count) or "") or None

    def behind(self, name: Name) -> str | None:
        """The number behind the parameter's noun: 30 of "turn the volume down to 30" for `volume_percent`."""
        stem = [word for word in name.words if word not in SCALES or len(name.words) == 1]
        if name.kind or not stem:
            return None
        for span in self._numbers:
            near = [word for word in span.before if word not in CUED]
            if near[: len(stem)] == stem[::-1] and not TIMES.intersection(span.after[:1]):
                return span.value
        return None

    def year(self, name: Name, parameter: Parameter) -> str | None:
        """The only year the prompt names, for what is called a year or a season."""
        if not self._numbers or name.words[-1] not in ("year", "season") or parameter.type == "boolean":
            return None
        years = {span.value for span in self._numbers if _YEAR.fullmatch(span.value)}
        return next(iter(years)) if len(years) == 1 else None

    def amount(self, name: Name, parameter: Parameter, money: Sequence[spans.Span], lower: str) -> str | None:
        """The only amount of the currency that the description says, where the prompt says the parameter's noun."""
        sign = parameters.currency(parameter) if money else ""
        found = {span.value for span in money}
        noun = next((word for word in reversed(name.words) if word not in CURRENCIES), "")  # `cap` of `cap_usd`
        if not sign or len(found) != 1 or noun not in self._words:
            return None
        said = {other for word, other in CURRENCIES.items() if word in self._words or other in lower}
        return found.pop() if said == {sign} else None

    def bound(self, name: Name, parameter: Parameter, money: Sequence[spans.Span]) -> Any:
        """The amount for the bound that a name says: 10 of "between $10 and $50" for `min_price`.

        "" where the prompt says only the other bound or several; None where it says none, or the name does.
        """
        words = frozenset(name.words)
        if words.isdisjoint(TYPED["money"]) or (is_lower := _is_lower(name)) is None:
            return None
        money = money if parameter.required or parameters.tells_unit(parameter) else ()
        said = self._sides(money, words & TYPED["money"])
        if not said:
            return "" if len({span.value for span in money}) > 1 else None
        found = {parameters.as_money(s.value, parameter) if s.kind == "money" else s.value for s in said[is_lower]}
        return found.pop() if len(found) == 1 else ""

    def _sides(self, money: Sequence[spans.Span], nouns: Set[str]) -> dict[bool, list[spans.Span]]:
        """Amounts that are a lower (True) or an upper (False) bound; a plain number is one behind its noun."""
        numbers = [span for span in self._numbers if not _PERCENT.match(self._prompt, span.start)]
        stems = tuple(nouns if nouns.isdisjoint(("price", "cost")) else {*nouns, "price", "cost"})
        found: list[tuple[bool, spans.Span]] = []
        points, at = sorted((*money, *numbers), key=lambda span: span.start), 0
        for span, following in itertools.zip_longest(points, points[1:]):
            if span.start < at:
                continue
            clause = re.split(r"[.,;!?]", self._prompt[at : span.start])[-1]
            at = self._end(span)
            is_amount = span.kind == "money" or any(word.startswith(stems) for word in spans.words(clause))
            link = self._prompt[at : following.start] if following else ""
            joins = _TO.fullmatch(link) or (link.strip().lower() == "and" and _BETWEEN.search(clause))
            if following and joins and (is_amount or following.kind == "money"):
                found += [(True, span), (False, following)]
                at = self._end(following)
                continue
            cues = list(_BOUND.finditer(clause))
            cue = cues[-1] if cues and _FILL.fullmatch(clause, cues[-1].end()) else None
            if cue is None and (cue := _BEHIND.match(self._prompt, at)) is not None:
                at = cue.end()
            if cue is not None and is_amount:
                found.append((cue.lastgroup == "least", span))
        return {side: [span for other, span in found if other is side] for side in (True, False)} if found else {}

    def _end(self, span: spans.Span) -> int:
        match = _FIGURE.match(self._prompt, span.start)
        return match.end() if match else span.start + len(span.value)


def _is_lower(name: Name) -> bool | None:
    """Whether a name says a lower bound; None where it says none: `price_from`, `max_price`, `price`."""
    lower = name.words[-1] == "from" or not _LOWER.isdisjoint(name.words)
    upper = name.words[-1] == "to" or not _UPPER.isdisjoint(name.words)
    return lower if lower is not upper else None


def next_amount(found: Sequence[spans.Span], parameter: Parameter, given: Collection[str]) -> Any:
    """The first amount of money that is not `given` yet, else the last."""
    amounts = [parameters.as_money(span.value, parameter) for span in found]
    sent = {text.removesuffix(".0") for text in given}
    return next((amount for amount in amounts if f"{float(amount):.10g}" not in sent), amounts[-1])
