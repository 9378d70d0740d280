"""What the prompt gives to a parameter: ids named beside an entity, typed spans, enum literals, search text.

`Wish` reads a prompt once; its methods answer for one parameter in about a microsecond. It knows
nothing of past calls (`arguments` does, and asks it) and returns only what stands in the prompt, or an
enum literal that does; never a guess.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import re
from collections.abc import Collection, Sequence
from typing import Any

from pipeline.candidates import branches, flags, literals, measures, mentions, names, parameters, spans
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import (
    BIRTH,
    BOUND_WORDS,
    BOUNDS,
    CHANGES,
    COUNTS,
    CUE_NOISE,
    CUED,
    CURRENCIES,
    DOMAIN_CUES,
    FIRST_DAY,
    FREE_TEXT,
    IMPERATIVES,
    LAST_DAY,
    LIMITS,
    NAMING,
    NUMBERED,
    PERSON,
    PLAIN_ENUMS,
    SCALES,
    SERVED,
    TEXT,
    TIMES,
    TYPED,
    UNITS,
)
from pipeline.types import Operation, Parameter

_YEAR = re.compile(r"19\d\d|20\d\d")
_PLAIN_SLUG = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)+")  # names a thing, is no id
_PREPOSITIONS = frozenset(
    ("for", "on", "to", "at", "in", "by", "about", "like", "from", "into", "up", "look", "show", "see")
)
_DAY_CUES = frozenset((word,) for word in (*FIRST_DAY, *LAST_DAY, "on", "for", "by", "at", "of", "week"))
_BEGINS = frozenset(("since", "from", "after"))
_ENDS = frozenset(("until", "till", "and", "through"))
_CONTACTS = ("email", "zip", "phone")
_BORN = BIRTH - {"birthday"}  # what is done on a birthday may be meant


class Wish:
    """A prompt, read for its values; an empty one gives nothing."""

    def __init__(self, prompt: str, today: datetime.date | None = None) -> None:
        self.spans = spans.extract(prompt, today) if prompt else ()
        said = spans.words(prompt)
        self.words = frozenset(said)
        self._prompt, self._lower = prompt, prompt.lower()
        self._today = today.isoformat() if today else ""
        pairs = [(a, names.singular(b)) for a, b in itertools.pairwise(said)]
        self._ordinals = [(place, what) for word, what in pairs if (place := spans.ordinal(word)) is not None]
        self._ordinals += [(n, a) for a, b in pairs if (n := spans.ordinal(b) or spans.number_word(b)) is not None]
        self._numerals = [(n, what) for word, what in pairs if (n := spans.number_word(word)) is not None and n > 1]
        self._changes = not CHANGES.isdisjoint(self.words)
        self._by_kind: dict[str, list[spans.Span]] = {}
        for span in self.spans:
            self._by_kind.setdefault(span.kind, []).append(span)
        self._mentions = mentions.ids_beside(self.spans)
        self._quoted = mentions.quotes_beside(self._by_kind.get("quoted", ()))
        self._lone = self._standing_alone()

    def _standing_alone(self) -> dict[str, str]:
        """Values that can only be ids, each with the word before it: long numbers, UUIDs, codes."""
        others = {span.value for kind in ("zip", "phone") for span in self._by_kind.get(kind, ())}
        found: dict[str, str] = {}
        for span in self.spans:
            long = span.kind == "number" and len(span.value) >= mentions.LONG_NUMBER and span.value.isdigit()
            if (long or span.kind in ("id", "uuid", "code")) and span.value not in others:
                cue = next((word for word in span.before if word not in CUE_NOISE), "")
                is_noun = cue not in _PREPOSITIONS and cue not in IMPERATIVES
                found.setdefault(span.value, names.singular(cue) if is_noun else "")
        return found

    def lone(self, name: Name, parameter: Parameter, template: names.Template) -> str | None:
        """The only id in the prompt, unless a noun before it says that it is another thing's; None for a secret."""
        if len(self._lone) != 1 or parameter.enum or parameter.type == "boolean" or name.kind == "key":
            return None
        value, cue = next(iter(self._lone.items()))
        is_bare = len(name.words) == 1 and bool(name.kind)
        return value if is_bare or cue in ("", name.entity, template.last) else None

    def speaks_of(self, item: Any) -> int:
        """How surely the prompt names an item of a list: 2 by one of its texts, 1 by the name that one begins with."""
        if not self.words or not isinstance(item, dict):
            return 0
        texts = [value.lower() for value in itertools.islice(item.values(), 20) if isinstance(value, str)]
        if any(3 <= len(text) <= 80 and text not in PLAIN_ENUMS and text in self._lower for text in texts):
            return 2
        first = tuple(f"{span.value.lower()} " for span in self._by_kind.get("entity", ()) if len(span.value) > 2)
        return int(any(text.startswith(first) for text in texts))

    @property
    def pair(self) -> tuple[str, str] | None:
        """The two values of the first `owner/repo` in the prompt."""
        pairs = self._by_kind.get("pair")
        if not pairs:
            return None
        left, _, right = pairs[0].value.partition("/")
        return left, right

    def mention(self, name: Name, parameter: Parameter, given: Collection[str]) -> Any:
        """An id the prompt names beside the entity ("issue 42"): the first not `given` yet, else the last.

        A list takes all of them: "droplets 3164494 and 3164495".
        """
        if not self._by_kind:
            return None
        values = self._mentions.get(name.entity) if name.full not in PERSON else None
        if values is None and name.kind == "id" and name.entity in SERVED:
            values = self._mentions.get(mentions.SELF)
        if values is None and not name.is_generic:
            values = self._mentions.get(name.full)
        if values is None and name.kind == "name" and name.entity in names.PEOPLE:
            people = (self._mentions.get(word, ()) for word in names.PEOPLE)
            values = [value for found in people for value in found if not value.isdigit()]
            values = values or [span.value for span in self._by_kind.get("handle", ())]
        if values is None and len(name.words) > 2 and name.kind:
            values = self._mentions.get(names.singular(name.words[-2]))  # `payment_dispute_id` of "dispute 50399"
        if values is None and name.kind in ("", "name", "slug", "key", "code"):
            values = self._quoted.get(name.entity)
        if not values or parameter.type == "boolean":
            return None
        if name.kind == "id":
            values = [value for value in values if not _PLAIN_SLUG.fullmatch(value)] or [""]
        if parameter.type == "array":
            return [value for value in dict.fromkeys(values) if value] or None
        return next((value for value in values if value not in given), values[-1]) or None

    def typed(
        self, name: Name, parameter: Parameter, given: Collection[str], others: Collection[str] = frozenset()
    ) -> Any:
        """A span of the type the parameter declares, or its name or description says; None without one.

        `others` are values that belong to parameters of other names.
        """
        if not self.words:
            return None
        if parameter.enum:
            return literals.named(parameter, name, self._prompt, self.words)
        if parameter.type == "boolean":
            return flags.said(self._lower, name.words, (name.resource,))
        words = frozenset(name.words)
        if parameter.format in ("date", "date-time") or (
            "date" in self._by_kind and parameters.takes_day(name, parameter)
        ):
            return self._date(words, parameter)
        for kind, takers in TYPED.items():
            if words & takers or parameter.format == kind:
                found = self._by_kind.get(kind)
                if kind == "money" and found:
                    return parameters.as_money(found[0].value, parameter)
                return _first_new(self._old_first(found), given) if found else None
        if "phone" in self._by_kind and parameters.takes_phone(name, parameter):
            return _first_new(self._old_first(self._by_kind["phone"]), given)
        if (part := parameters.person(name, parameter)) is not None:
            found = self._by_kind.get(part)
            return found[0].value if found else None
        if (year := self._year(name, parameter)) is not None:
            return year
        if (measured := self._measured(name, parameter) or self._networked(name, parameter)) is not None:
            return measured
        if parameter.type in ("integer", "number"):
            count = self._counted(name) or self._cued(name) or self._amount(name, parameter)
            if count is not None:
                return count
        if "string" in (parameter.type, parameter.items) and words & FREE_TEXT and name.kind != "id":
            return self._search_text(name, given)
        if name.kind in ("id", "number", "sha", "key") or parameter.location == "path" or parameters.shapes(parameter):
            return self._loose_id(name, parameter, given, others)
        if not name.kind and not name.is_generic and (prefixed := self._prefixed(name, given)) is not None:
            return prefixed
        if parameter.type in ("string", "any") and name.full in TEXT and len(self._by_kind.get("quoted", ())) == 1:
            return self._by_kind["quoted"][0].value
        return None

    def renewed(self, name: Name, parameter: Parameter, sent: Collection[str]) -> str | None:
        """The e-mail address, phone number or zip code that a write is to set: said to be new, or not `sent` yet."""
        words = frozenset(name.words)
        for kind in _CONTACTS:
            found = self._by_kind.get(kind)
            if found and (words & TYPED[kind] or (kind == "phone" and parameters.takes_phone(name, parameter))):
                new = [span for span in found if span.value not in sent]
                return next((span.value for span in new if self._is_new(span)), new[0].value if new else None)
        return None

    def _is_new(self, span: spans.Span) -> bool:
        """Whether a value is said to take another's place: "change it to new@x.org", "my new number is"."""
        return "new" in span.before or (self._changes and span.before[:1] in (("to",), ("into",)))

    def _old_first(self, found: Sequence[spans.Span]) -> list[spans.Span]:
        """Several values, those first that are not said to be new: who is looked up is known by the old one."""
        return sorted(found, key=self._is_new)

    def optional(self, name: Name, parameter: Parameter, operation: Operation, sent: Collection[str] = ()) -> Any:
        """As `typed`, for a parameter nobody has to give: only what the prompt says with its own words.

        What was `sent` before is not searched for again.
        """
        if parameter.enum:
            return literals.named(parameter, name, self._prompt, self.words, operation)
        if parameter.type == "boolean":
            taken = frozenset(spans.words(f"{operation.path} {operation.summary}"))
            return flags.said(self._lower, name.words, taken)
        if not self.spans:
            return None
        words = frozenset(name.words)
        if "date" in self._by_kind and words & (FIRST_DAY | LAST_DAY) and parameters.is_date(parameter):
            return self._date(words, parameter, is_needed=False)
        for kind in (*_CONTACTS, "latitude", "longitude"):
            if kind in self._by_kind and words & TYPED[kind] and len(name.words) == 1:
                if operation.method in ("GET", "HEAD") or kind not in _CONTACTS:
                    return self._old_first(self._by_kind[kind])[0].value
                new = self.renewed(name, parameter, sent)
                return new if operation.method == "PATCH" else new or self._by_kind[kind][0].value
        if (year := self._year(name, parameter)) is not None:
            return year
        if "money" in self._by_kind and words & TYPED["money"] and parameters.tells_unit(parameter):
            if name.words[-1] in self.words or words & BOUNDS or len(name.words) == 1:
                return parameters.as_money(self._by_kind["money"][0].value, parameter)
            return None
        if (measured := self._measured(name, parameter) or self._networked(name, parameter)) is not None:
            return measured
        if (found := self._identified(name, parameter)) is not None:
            return found
        if parameter.type in ("integer", "number"):
            cues = COUNTS if name.full in LIMITS else frozenset((name.words[-1],))
            numbers = [span for span in self._by_kind.get("number", ()) if not TIMES.intersection(span.after[:1])]
            found = next((span.value for span in numbers if cues.intersection(span.before[:1])), None)
            return found or self._counted(name) or self._cued(name)
        if parameter.type not in ("string", "any") and parameter.items != "string":
            return None
        if words & FREE_TEXT and name.kind != "id":
            return self._search_text(name, sent)
        if parameter.type == "array":
            return None
        last = names.singular(name.words[-1])
        cues = NAMING.get(name.full, frozenset((last,))) if operation.method == "POST" else frozenset((last,))
        quoted = self._by_kind.get("quoted", ())
        return next((span.value for span in quoted if not cues.isdisjoint(map(names.singular, span.before[:2]))), None)

    def _measured(self, name: Name, parameter: Parameter) -> Any:
        """A percentage, time span or currency, in what the parameter counts in; a number for a word; a branch."""
        if parameter.type in ("integer", "number"):
            found: Any = measures.percent(self._lower, name, self.words)
            found = found or measures.duration(self._lower, name, parameter, self.words)
            return found or literals.labelled(parameter, self._prompt, self.words)
        return measures.currency(self._prompt, name, parameter) or branches.named(self._prompt, name, parameter)

    def _networked(self, name: Name, parameter: Parameter) -> Any:
        """The only address, or name of a host, of the prompt; of several hosts the only one behind "in" or its noun."""
        if "address" not in self._by_kind and "host" not in self._by_kind:
            return None
        kind = parameters.network(name, parameter)
        found = list(dict.fromkeys(span.value for span in self._by_kind.get(kind, ())))
        if parameter.type == "array":
            return found or None
        if len(found) > 1 and kind == "host":
            cues = (*DOMAIN_CUES, *name.words)
            found = [span.value for span in self._by_kind[kind] if not {*span.before[:1]}.isdisjoint(cues)]
        return found[0] if len(found) == 1 else None

    def _identified(self, name: Name, parameter: Parameter) -> Any:
        """Ids that the prompt names beside the entity, or that say by their prefix whose they are; all for a list."""
        if name.kind not in ("", "id") or name.is_generic or parameter.type == "boolean":
            return None
        ids = {span.value for kind in ("id", "uuid") for span in self._by_kind.get(kind, ())}
        said = self._mentions.get(name.entity, ())
        found = [value for value in said if value in ids or (name.kind and value.isdigit() and value in self._lone)]
        if parameter.type == "array":
            return list(dict.fromkeys(found)) or None
        return found[0] if found else self._prefixed(name, ())

    def _prefixed(self, name: Name, given: Collection[str]) -> str | None:
        """An id whose prefix is short for the entity: `ch_1` of a charge."""
        for span in self._by_kind.get("id", ()):
            prefix, mark, _ = span.value.partition("_")
            if mark and span.value not in given and parameters.abbreviates(prefix.lower(), name):
                return span.value
        return None

    def _year(self, name: Name, parameter: Parameter) -> str | None:
        """The only year the prompt names, for what is called a year or a season."""
        if "number" not in self._by_kind or name.words[-1] not in ("year", "season") or parameter.type == "boolean":
            return None
        years = {span.value for span in self._by_kind.get("number", ()) if _YEAR.fullmatch(span.value)}
        return next(iter(years)) if len(years) == 1 else None

    def _counted(self, name: Name) -> str | None:
        """The number before the parameter's noun or unit: 3 of "the last 3 days" for `days`, 45 of "45 min".

        What else the name says has to stand in the prompt too: `maxMinutes` takes "under 45 min", `activeMinutes` not.
        Of what is numbered "the fourth season" is one too.
        """
        noun, others = parameters.counted(name)
        if name.kind in ("", "number") and name.entity in NUMBERED and len(name.words) == 1 + bool(name.kind):
            found = {place for place, what in self._ordinals if what == name.entity}
            if len(found) == 1:
                return str(found.pop())
        if noun in NUMBERED and not name.is_plural:
            return None  # of "two pages" neither is page 2
        noun = UNITS.get(noun, noun)
        if not all(self.words.intersection(BOUND_WORDS.get(word, (word,))) for word in others):
            return None
        own, numbers = measures.bounded(self._by_kind.get("number", ()), others)
        if own and noun in map(names.singular, self.words):
            return own[0].value
        for span in numbers:
            after = names.singular(span.after[0]) if span.after else ""
            if after and UNITS.get(after, after) == noun:
                return span.value
        return next((str(count) for count, what in self._numerals if UNITS.get(what, what) == noun), None)

    def _cued(self, name: Name) -> str | None:
        """The number behind the parameter's noun: 30 of "turn the volume down to 30" for `volume_percent`."""
        stem = [word for word in name.words if word not in SCALES or len(name.words) == 1]
        if name.kind or not stem:
            return None
        for span in self._by_kind.get("number", ()):
            near = [word for word in span.before if word not in CUED]
            if near[: len(stem)] == stem[::-1] and not TIMES.intersection(span.after[:1]):
                return span.value
        return None

    def _amount(self, name: Name, parameter: Parameter) -> str | None:
        """The only amount of the currency that the description says, where the prompt says the parameter's noun."""
        sign, found = parameters.currency(parameter), {span.value for span in self._by_kind.get("money", ())}
        if not sign or len(found) != 1 or name.words[-1] not in self.words:
            return None
        said = {other for word, other in CURRENCIES.items() if word in self.words or other in self._lower}
        return found.pop() if said == {sign} else None

    def _date(self, words: Collection[str], parameter: Parameter, is_needed: bool = True) -> str | None:
        found = self._by_kind.get("date", ())
        if not BIRTH.isdisjoint(words) or "date of birth" in parameter.description.lower():
            return self._birth(found, parameter)
        found = [span for span in found if not _is_birth(span)]
        if parameters.takes_monday(parameter):
            found = [span for span in found if datetime.date.fromisoformat(span.value[:10]).weekday() == 0]
        first, last = bool(FIRST_DAY.intersection(words)), parameters.takes_last_day(words, parameter)
        for span in found:
            cue = span.before[:1]
            if (first and FIRST_DAY.intersection(cue)) or (last and LAST_DAY.intersection(cue)):
                return parameters.as_date(span.value, parameter)
        other_end = _ENDS if first and not last else _BEGINS if last and not first else frozenset()
        if not is_needed or len(found) != 1 or other_end.intersection(found[0].before[:1]):
            return None
        return parameters.as_date(found[0].value, parameter)

    def _birth(self, found: Sequence[spans.Span], parameter: Parameter) -> str | None:
        """The only date said to be a birthday, else the only past one that stands beside a name: "Ada, 3 May 1949"."""
        past = [s for s in found if s.before[:1] not in _DAY_CUES and (not self._today or s.value < self._today)]
        days = {span.value for span in [s for s in found if _is_birth(s)] or past}
        return parameters.as_date(days.pop(), parameter) if len(days) == 1 else None

    def _search_text(self, name: Name, given: Collection[str]) -> str | None:
        """What to look for: quoted words, else a capitalised phrase, the one beside the resource first.

        Who asks is not looked for, nor is the single word that is left where they say who they are.
        """
        sought = {text.lower() for text in given}
        for kind in ("quoted", "entity", "opening"):
            phrases = self._by_kind.get(kind, ())
            found = [
                span
                for span in phrases
                if span.value.lower() not in sought
                and span.value.lower() != name.resource
                and (kind == "quoted" or not (spans.is_time(span.value) or mentions.is_self(span)))
            ]
            found = [s for s in found if len(s.value) > 3 or not s.value.isupper()] or found  # "TV" names no show
            beside = [s for s in found if name.resource in map(names.singular, (*s.before[:1], *s.after[:1]))]
            callers = (
                [span.start for span in phrases if mentions.is_self(span)] if kind != "quoted" and not beside else []
            )
            if callers and not beside:
                found = [span for span in found if span.start < callers[0] or _is_title(span)]
            if found:
                return (beside or found)[0].value
        return None

    def _loose_id(
        self, name: Name, parameter: Parameter, given: Collection[str], others: Collection[str]
    ) -> str | None:
        """An id that stands alone: its prefix is short for it (`ch_1`, charge), or its shape is the example's."""
        shapes = parameters.shapes(parameter)
        for kind in ("id", "uuid"):
            for span in self._by_kind.get(kind, ()):
                value = span.value
                if value in given or value in self._mentions.get("user", ()):
                    continue
                if value in others and not parameters.has_prefix(value):
                    continue
                prefix, mark, _ = value.partition("_")
                if parameters.shape(value) in shapes or (mark and parameters.abbreviates(prefix.lower(), name)):
                    return value
                if parameter.format == "uuid" and kind == "uuid":
                    return value
        return None


@functools.lru_cache(maxsize=256)
def read(prompt: str, today: datetime.date | None) -> Wish:
    """The prompt, read; remembered, as one prompt comes with each call of a session."""
    return Wish(prompt, today)


def _first_new(found: Sequence[spans.Span], given: Collection[str]) -> str:
    return next((span.value for span in found if span.value not in given), found[-1].value)


def _is_birth(span: spans.Span) -> bool:
    """Whether a date is somebody's birthday: "born on", "date of birth:", "my birthday is"."""
    if _BORN.intersection(span.before):
        return True
    near = [word for word in span.before if word not in ("is", "was", "on")]
    return near[:1] == ["birthday"]


def _is_title(span: spans.Span) -> bool:
    """Whether a phrase names something by itself: several words, no street behind its number."""
    first, *more = span.value.split()
    return bool(more) and len(first) > 1 and not (span.before and span.before[0].isdigit())
