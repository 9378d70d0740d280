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

from pipeline.candidates import beside, names, parameters, spans, wording
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import (
    BIRTH,
    BOUND_WORDS,
    BOUNDS,
    CHANGES,
    COUNTED,
    COUNTS,
    CUE_NOISE,
    CUED,
    CURRENCIES,
    DUE,
    FIRST_DAY,
    FREE_TEXT,
    HAPPENED,
    LAST_DAY,
    LIMITS,
    NUMBERED,
    PERSON,
    PLAIN_DAY,
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


class Wish:
    """A prompt, read for its values; an empty one gives nothing."""

    def __init__(self, prompt: str, today: datetime.date | None = None) -> None:
        self.spans = spans.extract(prompt, today) if prompt else ()
        said = spans.words(prompt)
        self.words = frozenset(said)
        self.lower = prompt.lower()
        self._today = today.isoformat() if today else ""
        pairs = [(a, names.singular(b)) for a, b in itertools.pairwise(said)]
        self.ordinals = [(place, what) for word, what in pairs if (place := spans.ordinal(word)) is not None]
        self.ordinals += [(n, a) for a, b in pairs if (n := spans.ordinal(b) or spans.number_word(b)) is not None]
        self._numerals = [(n, what) for word, what in pairs if (n := spans.number_word(word)) is not None and n > 1]
        self._changes = not CHANGES.isdisjoint(self.words)
        self._by_kind: dict[str, list[spans.Span]] = {}
        for span in self.spans:
            self._by_kind.setdefault(span.kind, []).append(span)
        self._mentions = beside.mentions(self.spans)
        self._quoted = beside.named(self._by_kind.get("quoted", ()))
        self._lone = self._standing_alone()

    def _standing_alone(self) -> dict[str, str]:
        """Values that can only be ids, each with the word before it: long numbers, UUIDs, codes."""
        others = {span.value for kind in ("zip", "phone") for span in self._by_kind.get(kind, ())}
        found: dict[str, str] = {}
        for span in self.spans:
            long = span.kind == "number" and len(span.value) >= beside.LONG_NUMBER and span.value.isdigit()
            if (long or span.kind in ("id", "uuid", "code")) and span.value not in others:
                cue = next((word for word in span.before if word not in CUE_NOISE), "")
                found.setdefault(span.value, "" if cue in _PREPOSITIONS else names.singular(cue))
        return found

    def lone(self, name: Name, parameter: Parameter, template: names.Template) -> str | None:
        """The only id in the prompt, unless a noun before it says that it is another thing's; None for a secret."""
        if len(self._lone) != 1 or parameter.enum or parameter.type == "boolean" or name.kind == "key":
            return None
        value, cue = next(iter(self._lone.items()))
        is_bare = len(name.words) == 1 and bool(name.kind)
        return value if is_bare or cue in ("", name.entity, template.last) else None

    @property
    def pair(self) -> tuple[str, str] | None:
        """The two values of the first `owner/repo` in the prompt."""
        pairs = self._by_kind.get("pair")
        if not pairs:
            return None
        left, _, right = pairs[0].value.partition("/")
        return left, right

    def mention(self, name: Name, parameter: Parameter, given: Collection[str]) -> str | None:
        """An id the prompt names beside the entity ("issue 42"): the first not `given` yet, else the last."""
        if not self._by_kind:
            return None
        values = self._mentions.get(name.entity) if name.full not in PERSON else None
        if values is None and name.kind == "id" and name.entity in SERVED:
            values = self._mentions.get(beside.SELF)
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
            return self._literal(parameter)
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
        if parameter.type in ("integer", "number"):
            count = self._counted(name) or self._cued(name) or self._amount(name, parameter)
            if count is not None:
                return count
        if "string" in (parameter.type, parameter.items) and words & FREE_TEXT and name.kind != "id":
            return self._search_text(name, given)
        if name.kind in ("id", "number", "sha", "key") or parameter.location == "path" or parameters.shapes(parameter):
            return self._loose_id(name, parameter, given, others)
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

    def worded(self, name: Name, parameter: Parameter) -> str | None:
        """The text that a write is to set, where the prompt says it by the argument's name or as a thing's name."""
        if parameter.type not in ("string", "any") or parameter.enum or name.kind not in ("", "name"):
            return None
        return wording.text(name, parameter.required, self._by_kind, self.lower) if self._by_kind else None

    def flag(self, parameter: Parameter, operation: Operation) -> bool | None:
        """Whether the prompt wants what a boolean says."""
        return wording.flag(parameter, self.lower, operation) if self.words else None

    def optional(self, name: Name, parameter: Parameter, operation: Operation, sent: Collection[str] = ()) -> Any:
        """As `typed`, for a parameter nobody has to give: only what the prompt says with its own words.

        What was `sent` before is not searched for again.
        """
        if parameter.enum:
            return self._literal(parameter, operation)
        if parameter.type == "boolean":
            return self.flag(parameter, operation)
        if not self.spans:
            return None
        if operation.method in ("POST", "PUT", "PATCH") and (text := self.worded(name, parameter)) is not None:
            return text
        words = frozenset(name.words)
        sets = operation.method in ("POST", "PUT", "PATCH")
        if "date" in self._by_kind and (
            (words & (FIRST_DAY | LAST_DAY) and parameters.is_date(parameter))
            or (sets and parameters.takes_day(name, parameter) and (parameter.format or name.words[-1] != "time"))
        ):
            is_meant = HAPPENED.isdisjoint(words) or not self.words.isdisjoint(words & HAPPENED)
            day = self._date(words, parameter, is_needed=False, sets=sets) if is_meant else None
            twin = parameters.twin_day(name, parameter, operation)  # `due_date` beside `due_datetime`
            return day if not twin or self._has_time(day) is (parameter.format == "date-time") else None
        if "zone" in self._by_kind and words & TYPED["zone"]:
            return self._by_kind["zone"][0].value
        for kind in (*_CONTACTS, "latitude", "longitude"):
            if kind in self._by_kind and words & TYPED[kind] and len(name.words) == 1:
                if operation.method in ("GET", "HEAD") or kind not in _CONTACTS:
                    return self._old_first(self._by_kind[kind])[0].value
                new = self.renewed(name, parameter, sent)
                return new if operation.method == "PATCH" else new or self._by_kind[kind][0].value
        if (year := self._year(name, parameter)) is not None:
            return year
        if "money" in self._by_kind and words & TYPED["money"] and (name.words[-1] in self.words or words & BOUNDS):
            return parameters.as_money(self._by_kind["money"][0].value, parameter)
        if parameter.type in ("integer", "number"):
            is_limit = name.full in LIMITS
            cues = COUNTS if is_limit else frozenset((name.words[-1],))
            numbers = [span for span in self._by_kind.get("number", ()) if not TIMES.intersection(span.after[:1])]
            found = next((span.value for span in numbers if cues.intersection(span.before[:1])), None)
            if is_limit and found is None:
                found = next((s.value for s in numbers if {s.after[:1], s.after[:2]} & COUNTED), None)
            return found if found is not None else self._counted(name)
        if parameter.type not in ("string", "any") and parameter.items != "string":
            return None
        if words & FREE_TEXT and name.kind != "id":
            return self._search_text(name, sent)
        if parameter.type == "array":
            return None
        if name.kind in ("", "id") and not name.is_generic:
            ids = {span.value for kind in ("id", "uuid") for span in self._by_kind.get(kind, ())}
            if name.kind == "id":
                ids |= {s.value for s in self._by_kind.get("number", ()) if len(s.value) >= beside.LONG_NUMBER}
            found = next((value for value in self._mentions.get(name.entity, ()) if value in ids), None)
            if found is not None:
                return found
        last = names.singular(name.words[-1])
        quoted = self._by_kind.get("quoted", ())
        return next((span.value for span in quoted if last in map(names.singular, span.before[:2])), None)

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
        noun = names.singular(name.words[-1])
        if name.kind in ("", "number") and name.entity in NUMBERED and len(name.words) == 1 + bool(name.kind):
            found = {place for place, what in self.ordinals if what == name.entity}
            if len(found) == 1:
                return str(found.pop())
        if noun in NUMBERED and not name.is_plural:
            return None  # of "two pages" neither is page 2
        noun = UNITS.get(noun, noun)
        if not all(self.words.intersection(BOUND_WORDS.get(word, (word,))) for word in name.words[:-1]):
            return None
        for span in self._by_kind.get("number", ()):
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
        said = {other for word, other in CURRENCIES.items() if word in self.words or other in self.lower}
        return found.pop() if said == {sign} else None

    def _literal(self, parameter: Parameter, operation: Operation | None = None) -> Any:
        """The enum literal that the prompt names as a word of its own; None where it names none or two.

        A word of `operation`'s own path or summary names the operation, not the literal.
        """
        found = []
        for literal in parameter.enum:
            text = str(literal).lower()
            words = names.split(str(literal)) or (text,)
            if len(text) < 3 or text in PLAIN_ENUMS or not self.words.issuperset(words):
                continue
            if " ".join(words) in _spaced(self.lower):
                found.append((literal, words))
        if found and operation is not None:
            taken = set(spans.words(f"{operation.path} {operation.summary}"))
            found = [f for f in found if not any(w in taken or names.singular(w) in taken for w in f[1])]
        return found[0][0] if len(found) == 1 else None

    def _date(
        self, words: Collection[str], parameter: Parameter, is_needed: bool = True, sets: bool = False
    ) -> str | None:
        """The day (and time) for a parameter: the one cued as its end of a time, else the only one that may be meant.

        One that nobody has to give is cued, or what a call `sets` and the prompt says the name of: "due 4 May 2026".
        """
        found = self._by_kind.get("date", ())
        if not BIRTH.isdisjoint(words) or "date of birth" in parameter.description.lower():
            return self._birth(found, parameter)
        found = [span for span in found if not beside.is_birth(span)]
        if parameters.takes_monday(parameter):
            found = [span for span in found if datetime.date.fromisoformat(span.value[:10]).weekday() == 0]
        is_local = bool(self._by_kind.get("zone"))
        first, last = bool(FIRST_DAY.intersection(words)), parameters.takes_last_day(words, parameter)
        for span in found:
            cue = span.before[:1]
            if (first and FIRST_DAY.intersection(cue)) or (last and LAST_DAY.intersection(cue)):
                return parameters.as_date(span.value, parameter, is_local)
        other_end = _ENDS if first and not last else _BEGINS if last and not first else frozenset()
        if len(found) != 1 or other_end.intersection(found[0].before[:1]):
            return None
        starts = (
            first and parameter.format != "date" and "T" in found[0].value and not DUE.intersection(found[0].before)
        )
        says = sets and (starts or not self.words.isdisjoint(set(words) - PLAIN_DAY))
        return parameters.as_date(found[0].value, parameter, is_local) if is_needed or says else None

    def _has_time(self, day: str | None) -> bool:
        """Whether the prompt says a time of the day, too."""
        return day is not None and any("T" in s.value and s.value[:10] == day[:10] for s in self._by_kind["date"])

    def _birth(self, found: Sequence[spans.Span], parameter: Parameter) -> str | None:
        """The only date said to be a birthday, else the only past one that stands beside a name: "Ada, 3 May 1949"."""
        past = [s for s in found if s.before[:1] not in _DAY_CUES and (not self._today or s.value < self._today)]
        days = {span.value for span in [s for s in found if beside.is_birth(s)] or past}
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
                and (kind == "quoted" or not (spans.is_time(span.value) or beside.is_self(span)))
            ]
            found = [s for s in found if len(s.value) > 3 or not s.value.isupper()] or found  # "TV" names no show
            near = [s for s in found if name.resource in map(names.singular, (*s.before[:1], *s.after[:1]))]
            callers = [span.start for span in phrases if beside.is_self(span)] if kind != "quoted" and not near else []
            if callers:
                found = [span for span in found if span.start < callers[0] or beside.is_title(span)]
            if found:
                return (near or found)[0].value
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


@functools.lru_cache(maxsize=64)
def _spaced(lower: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", lower))
