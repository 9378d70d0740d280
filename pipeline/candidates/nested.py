"""Objects of a body, made of what is found for their parts: `{"ticket": {"subject": ...}}`, `{"start": {"date": ...}}`.

What only wraps the real fields (`data`, the `ticket` of /tickets, the only property of a body) is read as if its parts
were arguments; of what else a call can hold, a part says whose it is by the object's name: `project: {key}` takes what
`project_key` would, `end: {date}` what `end_date` would. Nothing is given for its constants or defaults alone, and of
what nobody has to give nothing that lacks something. Where a value comes from is `arguments`' business, which calls
this and is asked for each part.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence, Set
from typing import Any, Protocol

import msgspec

from pipeline.candidates import money, names
from pipeline.candidates.fitting import fit
from pipeline.candidates.names import Name
from pipeline.candidates.seen import Found
from pipeline.candidates.vocabulary import PERSON, PLAIN_DAY, TEXT, TYPED
from pipeline.candidates.wish import Wish
from pipeline.types import Operation, Parameter

# What says nothing of what is in it.
_WRAPPERS = names.WRAPPERS | frozenset(
    ("attribute", "attributes", "config", "configuration", "contact", "details", "fields", "info", "input", "metadata",
     "name", "options", "params", "payload", "person", "preferences", "profile", "properties", "relationships",
     "request", "resource", "settings", "spec")
)  # fmt: skip
_WRITTEN = frozenset(("body", "content", "text", "message"))  # of a thing: what is written is the thing
_KEYS = frozenset(("id", "number", "key", "slug", "code", "sha"))
_REFERENCE_MAX = 5  # parts of what only says which thing is meant
_WHOSE = frozenset((*PERSON, "phone", "phonenumber", "emailaddress", "address"))  # said of anybody
_CONSTANTS = frozenset(("type", "kind", "object"))
_OWN_NAMES = frozenset(("name", "title"))


class Ask(Protocol):
    """What the session finds for a part."""

    def __call__(self, name: Name, part: Parameter, needed: bool, at: str, among: Operation) -> Found | None:
        """A value that fits the part `at` a dotted place, `among` what stands beside it; None where none is known."""
        ...


@dataclasses.dataclass(slots=True)
class Built:
    """An object with where each of its values came from and what it lacks, by dotted names."""

    at: str
    value: dict[str, Any] = dataclasses.field(default_factory=dict)
    kinds: dict[str, str] = dataclasses.field(default_factory=dict)  # part -> kind of origin
    origins: dict[str, tuple[str, int]] = dataclasses.field(default_factory=dict)
    missing: list[str] = dataclasses.field(default_factory=list)

    def add(self, part: str, found: Found) -> None:
        self.value[part], self.kinds[part] = found[0], found[1]
        self.origins[f"{self.at}.{part}"] = found[1], found[2]

    def drop(self, part: str) -> None:
        del self.value[part], self.kinds[part], self.origins[f"{self.at}.{part}"]

    def put(self, part: str, inner: Built) -> None:
        self.value[part], self.kinds[part] = inner.value, inner.origin[0]
        self.origins |= inner.origins
        self.missing += inner.missing

    @property
    def origin(self) -> tuple[str, int]:
        """Where the object as a whole comes from: the prompt if any of it does, else the latest call."""
        known = [origin for origin in self.origins.values() if origin[0] != "default"]
        said = [origin for origin in known if origin[0] == "prompt"]
        return (said or sorted(known, key=lambda origin: -origin[1]) or [("default", -1)])[0]


class Builder:
    """Builds the objects of one operation's body; `taken` are texts that its plain arguments took from the prompt."""

    def __init__(self, operation: Operation, wish: Wish, ask: Ask, taken: Set[str]) -> None:
        self._operation, self._wish, self._ask, self._taken = operation, wish, ask, taken
        self._resource = names.template(operation.path).last

    def build(self, objects: Sequence[Parameter]) -> list[tuple[Parameter, Built | None]]:
        """Each of the body's objects, None for what nothing is known of."""
        is_only = sum(parameter.location == "body" for parameter in self._operation.parameters) == 1
        fees = money.kinds(objects) if self._wish.amounts else frozenset()
        return self._told_apart(
            [(p, self._object(p, p.name, self._resource, p.required or is_only, is_only, True, fees)) for p in objects]
        )

    def _object(
        self, whole: Parameter, at: str, resource: str, needed: bool, is_only: bool, is_near: bool, fees: Set[str]
    ) -> Built | None:
        """`is_near`: nothing around it is optional; `fees`: words by which amounts beside it are told apart."""
        noun, is_plain = names.resource_of(whole.name), whole.name.lower() in _WRAPPERS
        is_said, wraps = self._wish.says(whole.name), is_only or is_plain or noun == resource
        if not (needed or wraps or is_said or is_near):
            return None
        built, role = Built(at), "" if wraps else _role(whole)
        if role == "money":
            self._money(whole, built, needed, fees)
        elif role == "moment":
            self._moment(whole, built, needed)
        elif role == "reference":
            self._reference(whole, built, needed, noun)
        else:
            inner = resource if is_plain else noun
            self._plain(whole, built, needed, inner, wraps, is_said)
            self._within(whole, built, needed, inner, is_near and (needed or wraps))
            if not self._speaks(whole, built, wraps or is_said, needed):
                return None
            self._complete(whole, built, needed, inner)
        if not built.value:
            return None
        built.missing += [f"{at}.{part.name}" for part in whole.parts if part.required and part.name not in built.value]
        if built.missing and not needed:
            return None
        built.value = {part.name: built.value[part.name] for part in whole.parts if part.name in built.value}
        return built

    # What has fields of its own

    def _plain(self, whole: Parameter, built: Built, needed: bool, resource: str, wraps: bool, is_said: bool) -> None:
        """Adds the parts that are no objects."""
        among = msgspec.structs.replace(self._operation, parameters=whole.parts)
        plain = [part for part in whole.parts if not part.parts]
        only = _only_text(plain) if needed and wraps and self._operation.method == "POST" else None
        for part in plain:
            name, must = self._name(part, whole, resource, wraps, is_said), needed and (part.required or part is only)
            found = self._ask(name, part, must, f"{built.at}.{part.name}", among) if name is not None else None
            if found is not None and (
                (wraps and needed) or not (self._is_taken(found, part) or (is_said and self._is_anothers(found, whole)))
            ):
                built.add(part.name, found)
        self._choose(whole, built)

    def _within(self, whole: Parameter, built: Built, needed: bool, resource: str, is_near: bool) -> None:
        """Adds the parts that are objects; what the others took from the prompt is none of theirs."""
        before = self._taken
        self._taken = before | {str(built.value[part]) for part, kind in built.kinds.items() if kind == "prompt"}
        objects, is_single = [part for part in whole.parts if part.parts], len(whole.parts) == 1
        fees = money.kinds(objects) if objects and self._wish.amounts else frozenset()
        found = []
        for part in objects:
            must, is_only = needed and (part.required or is_single), is_single and part.name.lower() in _WRAPPERS
            place = f"{built.at}.{part.name}"
            found.append((part, self._object(part, place, resource, must, is_only, is_near, fees)))
        self._taken = before
        for part, inner in self._told_apart(found):
            if inner is not None:
                built.put(part.name, inner)

    def _complete(self, whole: Parameter, built: Built, needed: bool, resource: str) -> None:
        """Adds what an object that is given must have, and the literal that says of which type it is."""
        for part in whole.parts:
            if part.name in built.value or part.parts:
                continue
            found = None
            if part.required and not needed:
                among = msgspec.structs.replace(self._operation, parameters=whole.parts)
                found = self._ask(names.name(part.name, resource), part, True, f"{built.at}.{part.name}", among)
            elif len(part.enum) == 1 and part.name.lower().strip("_@") in _CONSTANTS:
                literal = fit(part.enum[0], part)
                found = None if literal is None else (literal, "default", -1)
            if found is not None:
                built.add(part.name, found)

    def _speaks(self, whole: Parameter, built: Built, is_named: bool, needed: bool) -> bool:
        """Whether what was found is worth an object: not constants alone, nor literals alone in what is not named."""
        found = [part for part, kind in built.kinds.items() if kind != "default"]
        if not found:
            lacks = any(part.required and part.name not in built.value for part in whole.parts)
            return needed and bool(built.value) and not lacks
        settings = {p.name for p in whole.parts if p.enum or (p.type == "boolean" and len(names.split(p.name)) == 1)}
        return is_named or not settings.issuperset(found) or any(self._is_rhythm(built.value[part]) for part in found)

    def _is_rhythm(self, literal: Any) -> bool:
        """Whether the prompt says how often by it: "per month"."""
        return re.search(rf"\b(?:per|every|each) {re.escape(str(literal).lower())}\b", self._wish.lower) is not None

    def _choose(self, whole: Parameter, built: Built) -> None:
        """Drops what several parts took of the prompt: a thing's name or title keeps it, else the one that is said."""
        takers: dict[str, list[str]] = {}
        for part in whole.parts:
            if built.kinds.get(part.name) == "prompt" and part.type in ("string", "any") and not part.enum:
                takers.setdefault(str(built.value[part.name]), []).append(part.name)
        for alike in takers.values():
            kept = [name for name in alike if name.lower() in _OWN_NAMES] or list(filter(self._wish.says, alike))
            for name in alike if len(alike) > 1 else ():
                if kept != [name]:
                    built.drop(name)

    def _name(self, part: Parameter, whole: Parameter, resource: str, wraps: bool, is_said: bool) -> Name | None:
        """What a part goes by: its own name in what is spoken of, else what says nothing alone by the object's too.

        None for a text or literal that says nothing alone, of what is not spoken of.
        """
        own = names.name(part.name, resource)
        if wraps:
            return own
        if own.full in _WRITTEN and part.type in ("string", "any"):
            return names.name(whole.name, self._resource)
        if is_said or not (own.is_generic or own.full in _WHOSE):
            return own
        return names.name(f"{whole.name}_{part.name}", "") if own.kind in _KEYS or part.type == "boolean" else None

    # What is one value

    def _reference(self, whole: Parameter, built: Built, needed: bool, noun: str) -> None:
        """Adds one of the keys of what says which thing is meant, first one that the prompt or the last call says."""
        among = msgspec.structs.replace(self._operation, parameters=whole.parts)
        for must in (False, True) if needed else (False,):
            for part in whole.parts:
                name = names.name(part.name, noun)
                name = names.name(f"{whole.name}_{part.name}", "") if name.is_generic else name
                found = self._ask(name, part, must, f"{built.at}.{part.name}", among)
                if found is not None and found[1] != "default" and not self._is_taken(found, part):
                    built.add(part.name, found)
                    return

    def _moment(self, whole: Parameter, built: Built, needed: bool) -> None:
        """Adds a day with its time and zone."""
        days = [part for part in whole.parts if _is_day(part)]
        dated = {part.name: msgspec.structs.replace(part, name=f"{whole.name}_{part.name}") for part in days}
        among = msgspec.structs.replace(self._operation, parameters=(*dated.values(), *self._operation.parameters))
        for must in (False, True) if needed else (False,):
            for part in days if not built.value else ():
                if part.required or not must:
                    name, place = names.name(dated[part.name].name, ""), f"{built.at}.{part.name}"
                    is_clock = len(days) > 1 and part.name.lower() == "time"
                    found = self._ask(name, part if is_clock else dated[part.name], must, place, among)
                    if found is not None and found[1] != "default":
                        built.add(part.name, found)
        for part in whole.parts if built.value else ():
            if not TYPED["zone"].isdisjoint(names.split(part.name)) and not part.parts:
                name = names.name(part.name, names.resource_of(whole.name))
                found = self._ask(name, part, part.required, f"{built.at}.{part.name}", among)
                if found is not None:
                    built.add(part.name, found)

    def _money(self, whole: Parameter, built: Built, needed: bool, fees: Set[str]) -> None:
        """Adds the prompt's amount with its currency: one that an earlier call had before a plain "$"."""
        currency = money.currency(whole)
        amount = money.said(whole, self._wish, needed, fees)
        if currency is None or amount is None:
            return
        name, place = names.name(currency.name, names.resource_of(whole.name)), f"{built.at}.{currency.name}"
        code = money.code(self._wish, name, currency, False) or self._ask(name, currency, True, place, self._operation)
        if code is None or code[1] == "default":
            code = money.code(self._wish, name, currency, True) or code
        part, value = money.written(whole, amount, "" if code is None else str(code[0]))
        if value is not None:
            built.add(part.name, (value, "prompt", -1))
            if code is not None:
                built.add(currency.name, code)

    # What keeps objects apart

    def _told_apart(self, found: list[tuple[Parameter, Built | None]]) -> list[tuple[Parameter, Built | None]]:
        """Of objects that came out alike what the prompt names, or what the others say more than."""
        kept: list[tuple[Parameter, Built | None]] = []
        for whole, built in found:
            if built is None or len(found) == 1:
                kept.append((whole, built))
                continue
            words = set(names.split(whole.name))
            alike = [
                other.name
                for other, one in found
                if other is not whole and one is not None and one.value == built.value
            ]
            more = [other for other in alike if words < set(names.split(other))]  # `billing_address` beside `address`
            is_meant = len(more) == len(alike) or self._wish.says(whole.name)
            is_meant = is_meant and not any(map(self._wish.says, more))
            kept.append((whole, built if is_meant else None))
        return kept

    def _is_anothers(self, found: Found, whole: Parameter) -> bool:
        """Whether the prompt says several such values, and this one not behind the object's noun."""
        kinds = {span.kind for span in self._wish.spans if span.value == found[0]} if found[1] == "prompt" else set()
        if len({span.value for span in self._wish.spans if span.kind in kinds}) < 2:
            return False
        noun = re.escape(names.name(whole.name, "").words[-1])
        near = rf"\b{noun}s?\b[^.!?;]{{0,40}}{re.escape(str(found[0]).lower())}"
        return re.search(near, self._wish.lower) is None

    def _is_taken(self, found: Found, part: Parameter) -> bool:
        """Whether another argument took that text of the prompt; settings are nobody's alone."""
        is_setting = bool(part.enum) or part.type == "boolean"
        return found[1] == "prompt" and not is_setting and str(found[0]) in self._taken


def may_fill(whole: Parameter, lower: str, has_values: bool) -> bool:
    """Whether anything is known for what nobody has to give: a flag or literal in a prompt in lower case, or values."""
    for part in whole.parts:
        if part.type == "boolean":
            if names.name(part.name, "").words[-1][:4] in lower:
                return True
        elif (
            part.parts or (has_values and not part.enum) or any(str(literal).lower() in lower for literal in part.enum)
        ):
            return True
    return False


def _role(whole: Parameter) -> str:
    """Which one value an object is: money, a moment or a reference; "" for what has fields of its own."""
    if money.currency(whole) is not None:
        return "money"
    return "moment" if any(map(_is_day, whole.parts)) else "reference" if _is_reference(whole) else ""


def _is_reference(whole: Parameter) -> bool:
    """Whether all that it has says which thing is meant, and any of it will do: `{id, key, name}`."""
    kinds = [names.name(part.name, "").kind for part in whole.parts]
    return (
        len(kinds) <= _REFERENCE_MAX
        and all(kind in _KEYS or kind == "name" for kind in kinds)
        and not _KEYS.isdisjoint(kinds)
        and not any(part.required or part.parts or part.enum for part in whole.parts)
    )


def _only_text(parts: Sequence[Parameter]) -> Parameter | None:
    """The only text of a new thing whose schema says of nothing that it is required."""
    texts = [part for part in parts if names.name(part.name, "").full in TEXT and part.type in ("string", "any")]
    return texts[0] if len(texts) == 1 and not any(part.required for part in parts) else None


def _is_day(part: Parameter) -> bool:
    """Whether a part is a day that its object names: the `dateTime` of `start`."""
    return part.type in ("string", "any") and PLAIN_DAY.issuperset(names.name(part.name, "").words)
