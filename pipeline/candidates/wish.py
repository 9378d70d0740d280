"""What the prompt gives to a parameter: ids named beside an entity, typed spans, enum literals, search text.

`Wish` reads a prompt once; its methods answer for one parameter in about a microsecond. It knows
nothing of past calls (`arguments` does, and asks it) and returns only what stands in the prompt, or an
enum literal that does; never a guess.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Collection, Sequence
from typing import Any

from pipeline.candidates import (
    beside,
    branches,
    changes,
    codes,
    countries,
    counts,
    dates,
    days,
    flags,
    listed,
    literals,
    loose,
    measures,
    names,
    parameters,
    periods,
    rows,
    shifts,
    spans,
    wording,
)
from pipeline.candidates.fitting import fit
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import (
    BOUNDS,
    CHANGES,
    COUNTED,
    COUNTS,
    DOMAIN_CUES,
    DONE,
    FREE_TEXT,
    LIMITS,
    PERSON,
    SERVED,
    SIDES,
    TEXT,
    TIMES,
    TYPED,
    UNITS,
)
from pipeline.types import Operation, Parameter

_PLAIN_SLUG = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)+")  # names a thing, is no id
_CONTACT_NOUNS = {"email": {"address"}, "phone": {"number"}, "zip": {"code"}}
_CONTACTS = ("email", "zip", "phone")


class Wish:
    """A prompt, read for its values; an empty one gives nothing."""

    def __init__(self, prompt: str, today: datetime.date | None = None) -> None:
        self.spans = spans.extract(prompt, today) if prompt else ()
        said = spans.words(prompt)
        self.words = frozenset(said)
        self._prompt, self.lower = prompt, prompt.lower()
        self.moves = not changes.CUES.isdisjoint(self.words) and bool(changes.said(self.lower))  # a number changes
        self._shifts = not shifts.CUES.isdisjoint(self.words) and shifts.said(self.lower) is not None  # or a day does
        self._languages = codes.languages(self.lower, self.words)
        self._has_own = "my" in self.words or listed.has_urn(prompt)
        self._codes = codes.Codes(prompt, self.words)
        self._names_country = bool(prompt) and bool(countries.said(prompt))
        self._has_codes = self._names_country or self._codes.are_any
        self._swaps = not beside.SWAPS.isdisjoint(self.words)
        self._changes = not CHANGES.isdisjoint(self.words)
        self._by_kind: dict[str, list[spans.Span]] = {}
        for span in self.spans:
            self._by_kind.setdefault(span.kind, []).append(span)
        self._shifts = self._shifts and "date" not in self._by_kind  # it says where to
        self.moves = self.moves or self._shifts
        if "number" in self._by_kind:
            self._by_kind["number"] = beside.aims(self._by_kind["number"], self.words)
        self._counts = counts.Counts(said, self.words, self._by_kind.get("number", ()), prompt)
        self.lists = listed.Lists(prompt, self.words, self._by_kind)
        is_local = "zone" in self._by_kind
        period = periods.said(prompt, today, not self.words.isdisjoint(DONE)) if prompt else None
        moved = beside.moved_days(self._by_kind.get("date", ()), self.lower)
        says_time = bool(moved) and days.says_time(prompt)
        self._dates = dates.Dates(moved, self.words, is_local, today, period, says_time)
        self.speaks = bool(self.spans) or period is not None
        self._mentions = beside.mentions(self.spans)
        self._quoted = beside.named(self._by_kind.get("quoted", ()))
        self._lone = beside.standing_alone(self.spans)
        self.ids = loose.Ids(prompt, self._by_kind, self._mentions, self._lone)
        self._named: dict[str, bool] = {}  # what `says` answered

    def change(self, parameter: Parameter, resource: str, operation: Operation) -> changes.Change | shifts.Shift | None:
        """By what the prompt changes a number, or moves a day."""
        if self._shifts and parameter.type in ("string", "any"):
            return shifts.of(self.lower, names.name(parameter.name, resource), parameter, operation)
        return changes.of(self.lower, parameter, resource)

    @property
    def ordinals(self) -> Sequence[tuple[int, str]]:
        """Places and what is at them: (2, "one") of "the second one"."""
        return self._counts.ordinals

    def says(self, name: str) -> bool:
        """Whether the prompt names something by all the words of its name."""
        if (known := self._named.get(name)) is None:
            said = (
                word in self.words or {names.singular(word), f"{word}s"} & self.words
                for word in names.name(name, "").words
            )
            known = self._named[name] = all(said)
        return known

    @property
    def amounts(self) -> Sequence[spans.Span]:
        """The amounts of money."""
        return self._by_kind.get("money", ())

    def mention(self, name: Name, parameter: Parameter, given: Collection[str]) -> Any:
        """An id named beside the entity ("issue 42"): the first not `given` yet, else the last; all for a list."""
        if self._has_codes and (code := self._coded(name, parameter, given)) is not None:
            return code
        if parameter.type == "array" and not parameter.enum and (found := self.lists.of(name, parameter)) is not None:
            return found
        if self._has_own and (own := self._own(name, parameter)) is not None:
            return own
        if not self._by_kind:
            return None
        if (value := self._sided(name, parameter, given) or self.ids.numbered(name, parameter)) is not None:
            return value
        values = self._mentions.get(name.entity) if name.full not in PERSON else None
        if values is None and name.kind == "id" and name.entity in SERVED:
            values = self._mentions.get(beside.SELF)
        if values is None and not name.is_generic:
            values = self._mentions.get(name.full)
        if values is None and name.kind == "name" and name.entity in names.PEOPLE:
            people = (self._mentions.get(word, ()) for word in names.PEOPLE)
            values = [value for found in people for value in found if not value.isdigit()]
            values = values or [span.value for span in self._by_kind.get("handle", ())]
        if values is None and name.kind == "key":
            values = [
                span.value for span in self._by_kind.get("entity", ()) if beside.is_key(span, name.entity)
            ] or None
        if values is None and len(name.words) > 2 and name.kind:
            values = self._mentions.get(names.singular(name.words[-2]))  # `payment_dispute_id` of "dispute 50399"
        if values is None and name.kind in ("", "name", "slug", "key", "code"):
            values = self._quoted.get(name.entity)
        if not values or parameter.type == "boolean":
            return None
        fitted = [value for value in values if fit(value, parameter) is not None]
        values = fitted or ([""] if parameter.enum else values)
        if name.kind == "id":
            values = [value for value in values if not _PLAIN_SLUG.fullmatch(value)] or [""]
        if parameter.type == "array":
            return [value for value in dict.fromkeys(values) if value] or None
        return next((value for value in values if value not in given), values[-1]) or None

    def _coded(self, name: Name, parameter: Parameter, given: Collection[str] = ()) -> Any:
        """The code of an airport, a currency or a country."""
        if self._names_country and (country := countries.code(self._prompt, name, parameter)) is not None:
            return country
        return self._codes.take(name, parameter, given)

    def objects(self, name: Name, parameter: Parameter) -> Any:
        """The objects that the prompt says for a list of them."""
        return rows.of(name, parameter, self._prompt, self._by_kind, self.lists) if self.words else None

    def _sided(self, name: Name, parameter: Parameter, given: Collection[str]) -> str | None:
        """An IBAN, or the id that stands behind "from" or "to" where the name begins so: `from_account_id`."""
        takes_iban, side = "iban" in name.words, SIDES.get(name.words[0]) if len(name.words) > 1 else None
        if self._swaps and parameter.type != "array" and (swapped := beside.swapped(self._prompt, name)) is not None:
            return swapped
        if not takes_iban and (side is None or name.kind not in ("id", "number", "key", "code")):
            return None
        noun = names.singular(name.words[-1 - bool(name.kind)])
        found = [span for span in self._by_kind.get("id", ()) if parameters.is_iban(span.value) is takes_iban]
        if side and not takes_iban:  # "from list 5 to list 8", "from loc_1 to loc_2"
            found += [span for span in self._by_kind.get("slug", ()) if span.value[-1].isdigit()]
            found += [s for s in self._by_kind.get("number", ()) if s.before[:1] == (noun,) and s.value.isdigit()]
        for span in found if side and not takes_iban else ():
            before = re.split(r"[.,;!?]", self._prompt[max(0, span.start - 45) : span.start])[-1]
            near = spans.words(before)[::-1][:4]
            place = next((place for place, word in enumerate(near) if word in SIDES and word != "new"), 9)
            if place < (9 if noun in near else 2) and SIDES[near[place]] == side:
                return span.value
        return _first_new(found, given) if takes_iban and found else None

    def typed(
        self, name: Name, parameter: Parameter, given: Collection[str], others: Collection[str] = frozenset()
    ) -> Any:
        """A span of the type the parameter declares, or its name or description says; None without one.

        `others` are values that belong to parameters of other names.
        """
        if not self.words:
            return None
        if (answer := flags.granted(name, parameter, self.words, self.lower)) is not None:
            return answer
        if parameter.enum:
            return literals.named(parameter, name, self._prompt, self.words, given=given)
        if said := parameters.literals(parameter):
            return literals.described(said, parameter, name, self._prompt, self.words, given=given)
        if parameter.type == "boolean":
            return flags.said(self.lower, name.words, (name.resource,))
        words = frozenset(name.words)
        if parameter.format in ("date", "date-time") or (
            "date" in self._by_kind and parameters.takes_day(name, parameter)
        ):
            return self._dates.of(words, parameter, given=given)
        if (bound := self._counts.bound(name, parameter, self.amounts)) is not None:
            return None if bound == "" else bound
        if UNITS.keys() & words and (count := self._counts.of(name)) is not None:
            return count  # `gb_amount` is no money
        for kind, takers in TYPED.items():
            if (words & takers and (kind != "money" or not name.is_plural)) or parameter.format == kind:
                found = self._by_kind.get(kind)
                if kind == "money" and found:
                    return counts.next_amount(found, parameter, given)
                return _first_new(self._old_first(found), given) if found else None
        if "phone" in self._by_kind and (side := parameters.takes_phone(name, parameter)):
            found = beside.on_side(self._by_kind["phone"], side)
            return _first_new(self._old_first(found), given) if found else None
        if (
            name.kind == "name"
            and name.full not in PERSON
            and (who := beside.called(self._by_kind.get("entity", ()), name, given)) is not None
        ):
            return who
        if (part := parameters.person(name, parameter)) is not None:
            found = self._by_kind.get(part)
            return found[0].value if found else None
        if (year := self._counts.year(name, parameter) or self._dates.month(name, parameter)) is not None:
            return year
        if (measured := self._measured(name, parameter) or self._networked(name, parameter)) is not None:
            return measured
        if parameter.type in ("integer", "number"):
            count = (
                self._counts.people(name, parameter)
                or self._counts.of(name)
                or self._counts.behind(name)
                or self._counts.quantity(name)
                or self._counts.amount(name, parameter, self._by_kind.get("money", ()), self.lower)
            )
            if count is not None:
                return count
        if "string" in (parameter.type, parameter.items) and words & FREE_TEXT and name.kind != "id":
            return wording.sought(self._by_kind, name, given)
        if (label := wording.labelled(name, parameter, self._by_kind)) is not None:
            return label
        if name.kind in ("id", "number", "sha", "key") or parameter.location == "path" or parameters.shapes(parameter):
            return self.ids.of(name, parameter, given, others)
        if not name.kind and not name.is_generic and (prefixed := self.ids.prefixed(name, given)) is not None:
            return prefixed
        quotes = self._by_kind.get("quoted", ())
        if parameter.type in ("string", "any") and name.full in TEXT and len(quotes) == 1:
            return quotes[0].value if not wording.is_anothers(name, quotes[0]) else None
        return None

    def renewed(self, name: Name, parameter: Parameter, sent: Collection[str]) -> str | None:
        """The e-mail address, phone number or zip code that a write is to set: said to be new, or not `sent` yet."""
        words = frozenset(name.words)
        for kind in _CONTACTS:
            found = self._by_kind.get(kind)
            side = parameters.takes_phone(name, parameter) if found and kind == "phone" else ""
            if found and (words & TYPED[kind] or side):
                found = beside.on_side(found, side) if side else found
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
        if parameter.type not in ("string", "any") or parameter.enum:
            return None
        if name.kind in ("key", "code", "slug"):
            return wording.quoted(name, self._by_kind.get("quoted", ()), is_new=False)
        if name.kind not in ("", "name"):
            return None
        return wording.text(name, parameter.required, self._by_kind, self.lower) if self._by_kind else None

    def optional(self, name: Name, parameter: Parameter, operation: Operation, sent: Collection[str] = ()) -> Any:
        """As `typed`, for a parameter nobody has to give: only what the prompt says with its own words.

        What was `sent` before is not searched for again.
        """
        if (answer := flags.granted(name, parameter, self.words, self.lower)) is not None:
            return answer
        if self._has_codes and (code := self._coded(name, parameter)) is not None:
            return code
        if parameter.enum:
            return literals.named(parameter, name, self._prompt, self.words, operation)
        if said := parameters.literals(parameter):
            return literals.described(said, parameter, name, self._prompt, self.words, operation)
        if parameter.type == "boolean":
            return flags.said(self.lower, name.words, literals.own_words(f"{operation.path} {operation.summary}"))
        if parameter.type == "array":
            items = self.objects(name, parameter) if parameter.fields else self.lists.of(name, parameter)
            if items is not None or parameter.fields:
                return items
        if not self.speaks:
            return None
        if (value := self._sided(name, parameter, ())) is not None:
            return value
        words = frozenset(name.words)
        is_write = operation.method in ("POST", "PUT", "PATCH")
        if is_write and (text := self.worded(name, parameter)) is not None:
            return text
        if (day := self._dates.optional(name, parameter, operation, sent)) is not None:
            return day
        if "zone" in self._by_kind and words & TYPED["zone"]:
            return self._by_kind["zone"][0].value
        for kind in (*_CONTACTS, "latitude", "longitude"):
            if (
                kind in self._by_kind
                and words & TYPED[kind]
                and words - TYPED[kind] - _CONTACT_NOUNS.get(kind, set()) <= self.words
            ):
                if operation.method in ("GET", "HEAD") or kind not in _CONTACTS:
                    return self._old_first(self._by_kind[kind])[0].value
                new = self.renewed(name, parameter, sent)
                first = self._by_kind[kind][0].value
                return new if operation.method == "PATCH" or first in sent else new or first
        if is_write and "last_name" in self._by_kind and (part := parameters.person(name, parameter)) is not None:
            callers = [
                (s.start, s.start + len(s.value)) for s in self._by_kind.get("full_name", ()) if beside.is_self(s)
            ]
            others = [
                s for s in self._by_kind.get(part, ()) if not any(start <= s.start < end for start, end in callers)
            ]
            return others[0].value if len({span.value for span in others}) == 1 else None
        if (year := self._counts.year(name, parameter) or self._dates.month(name, parameter)) is not None:
            return year
        if (bound := self._counts.bound(name, parameter, self.amounts)) is not None:
            return None if bound == "" else bound
        if "money" in self._by_kind and words & TYPED["money"] and parameters.tells_unit(parameter):
            amounts = self._by_kind["money"]
            if name.words[-1] in self.words or words & BOUNDS or (is_write and len(amounts) == len(name.words) == 1):
                return parameters.as_money(amounts[0].value, parameter)
        if (measured := self._measured(name, parameter) or self._networked(name, parameter)) is not None:
            return measured
        if (found := self._identified(name, parameter)) is not None:
            return found
        if parameter.type in ("integer", "number"):
            is_limit = name.full in LIMITS
            cues = COUNTS if is_limit else frozenset((name.words[-1],))
            numbers = [span for span in self._by_kind.get("number", ()) if not TIMES.intersection(span.after[:1])]
            found = next((span.value for span in numbers if cues.intersection(span.before[:1])), None)
            if is_limit and found is None:
                found = next((s.value for s in numbers if {s.after[:1], s.after[:2]} & COUNTED), None)
            found = found or self._counts.people(name, parameter)
            return found or self._counts.of(name) or self._counts.behind(name) or self._counts.quantity(name)
        if parameter.type not in ("string", "any") and parameter.items != "string":
            return None
        if words & FREE_TEXT and name.kind != "id":
            return wording.sought(self._by_kind, name, sent)
        if parameter.type == "array":
            return None
        if name.kind == "name" and (who := beside.called(self._by_kind.get("entity", ()), name)) is not None:
            return who
        if (label := wording.labelled(name, parameter, self._by_kind)) is not None:
            return label
        if is_write and (text := wording.spoken(name, self._by_kind.get("quoted", ()))) is not None:
            return text
        return wording.quoted(name, self._by_kind.get("quoted", ()), is_new=operation.method == "POST")

    def _measured(self, name: Name, parameter: Parameter) -> Any:
        """A percentage or time span, in what the parameter counts in; a number for a word; a branch."""
        if parameter.type in ("integer", "number"):
            found: Any = measures.percent(self.lower, name, self.words)
            found = found or measures.duration(self.lower, name, parameter, self.words)
            return found or literals.labelled(parameter, self._prompt, self.words)
        if self._languages and (language := codes.language(self._languages, parameter, name)) is not None:
            return language
        if self._has_own and len(urns := self.lists.urns(name, parameter)) == 1:
            return urns[0]
        return branches.named(self._prompt, name, parameter)

    def _own(self, name: Name, parameter: Parameter) -> str | None:
        """An address of the prompt, or what a description says to use for the caller's own: "my primary calendar"."""
        if len(urns := self.lists.urns(name, parameter)) == 1 and parameter.type == "string":
            return urns[0]
        own = parameters.keyword(parameter)
        says = own and re.search(rf"\bmy (?:{own} )?{name.entity}s?\b", self.lower)
        return own if says else None

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
        if name.kind not in ("", "id", "number") or name.is_generic or parameter.type == "boolean":
            return None
        ids = {span.value for kind in ("id", "uuid") for span in self._by_kind.get(kind, ())}
        said = self._mentions.get(name.entity, ())
        found = [value for value in said if value in ids or (name.kind and value.isdigit() and value in self._lone)]
        if parameter.type == "array":
            return list(dict.fromkeys(found)) or None
        return found[0] if found else self.ids.prefixed(name, ()) if name.kind != "number" else None


@functools.lru_cache(maxsize=256)
def read(prompt: str, today: datetime.date | None) -> Wish:
    """The prompt, read; remembered, as one prompt comes with each call of a session."""
    return Wish(prompt, today)


def _first_new(found: Sequence[spans.Span], given: Collection[str]) -> str:
    return next((span.value for span in found if span.value not in given), found[-1].value)
