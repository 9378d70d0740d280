"""Ids of a prompt that stand alone, and whose they are by their prefix or their shape.

`Ids` reads the prompt, for `wish`; `Against` holds it against what the session has, for `arguments`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from pipeline.candidates import names, numbered, parameters
from pipeline.candidates.fitting import fit
from pipeline.candidates.names import Name
from pipeline.candidates.seen import Found, Seen
from pipeline.candidates.spans import Span
from pipeline.candidates.vocabulary import IMPERATIVES, NAME_IMPERATIVES
from pipeline.types import Operation, Parameter

_PREFIX = re.compile(r"([A-Za-z]+)_|([A-Z]+)-(?=\d)")
_QUOTES = ("'", '"', "“", "`")
_THEN = r"(?:,? (?:and|or|then|plus|vs\.?|versus) |, ?| ?[/;+&] ?|→| -> )"
_LIST = re.compile(rf"{_THEN}((?:[A-ZÀ-Ž][\w'’.-]{{0,40}} ){{1,3}}[A-ZÀ-Ž][\w'’-]{{0,40}}|[^\s,;/+&()?!]{{1,60}})")
_QUOTED_LIST = re.compile(rf"[\"'”`]{_THEN}[\"'“`]([^\"'”`]{{1,60}})[\"'”`]")
_IN_KEY = re.compile(  # "Number of the ticket within its key", "15 of WEB-15"
    r"(?i)\bnumber\b[^.;]{0,40}\b(?:with)?in (?:(?:its|the|an?|each|that) )?(?:\w+ )?key\b|\bnumeric part\b"
    r"|\b(\d{1,9}) (?:of|in|for) ['\"`]?[A-Z]{2,10}-\1\b"
)
_OR = re.compile(r"(?i)\b(?:or|vs|versus)\b")  # not all of the list are meant
_LISTED_MAX = 8  # things of one list
_LETTERS = re.compile(r"([A-Za-z]{1,12})[_-](?=[\w-]*\d)")
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ACTS = frozenset(  # verbs that are no things too, as an order and a change are
    re.findall(
        r"\w+",
        "abort acknowledge approve cancel delete destroy discard erase expire fetch finalize get open purge reject "
        "remove reverse rollback see send show suspend undo unfreeze void withdraw",
    )
)
_VERBS = IMPERATIVES | NAME_IMPERATIVES | _ACTS | {"add", "change", "close", "set", "update"}
_ENDS = frozenset(
    ("again", "and", "as", "because", "but", "for", "from", "if", "in", "instead", "now", "please", "since", "then",
     "today", "too", "with")
)  # fmt: skip
IsOwn = Callable[[str, str, str], bool | None]  # is it by its prefix what the argument of a path takes?
_LONG = 4  # digits; shorter numbers count something


def _form(value: str) -> tuple[bool, ...]:
    marks = (mark in value for mark in "-_@.: ")
    return any(map(str.isdigit, value)), value[:1].isupper(), value.lower() != value, *marks


class Meant(Protocol):
    """The things of answers that the prompt means, by entity and key, and the ids of what is called so."""

    keys: set[tuple[str, Any]]

    def called(self, name: Name, value: Any) -> Found | None: ...


class Ids:
    """The ids of one prompt; `mentions` are those that stand beside an entity, `alone` what can only be ids."""

    def __init__(
        self,
        prompt: str,
        found: Mapping[str, Sequence[Span]],
        mentions: Mapping[str, Collection[str]],
        alone: Mapping[str, str],
    ) -> None:
        self._prompt, self._found, self._mentions, self._alone = prompt, found, mentions, alone
        self._lower = prompt.lower()
        self.are_any = any(found.get(kind) for kind in ("id", "uuid", "number", "slug", "code"))

    def nearness(self, name: Name, value: str) -> int:
        """How clearly a value is of that name: 3 beside its noun, 2 beside a word of it or by its prefix, else 0."""
        if value in self._mentions.get(name.entity, ()) or value in self._mentions.get(name.full, ()):
            return 3
        if any(value in self._mentions.get(names.singular(word), ()) for word in name.words[:-1]):
            return 2
        found = _PREFIX.match(value)
        prefix = (found.group(1) or found.group(2)).lower() if found else ""
        return 2 if prefix and parameters.abbreviates(prefix, name) else 0

    def lone(self, name: Name, parameter: Parameter, template: names.Template, is_own: IsOwn) -> str | None:
        """The only id in the prompt, or the first of its only list of them, whosever it is by its prefix or its noun.

        None for a secret.
        """
        alone = self._alone or {value: "" for value in self._numbers(True) if len(value) >= _LONG}
        value, cue = next(iter(alone.items()), ("", ""))
        if not value or parameter.enum or parameter.type == "boolean" or name.kind == "key":
            return None
        if len(alone) > 1 and not set(self._listed(value)).issuperset(alone):
            return None
        if (known := is_own(value, template.path, parameter.name)) is not None:
            return value if known else None
        is_bare = len(name.words) == 1 and bool(name.kind)
        return value if is_bare or cue in ("", name.entity, template.last) or cue in _ACTS else None

    def _listed(self, value: str) -> list[str]:
        """A value and all that is listed with it behind it."""
        found = [value]
        while (following := self.behind(value, found)) is not None:
            found.append(following)
        return found

    def behind(self, value: str, used: Collection[str]) -> str | None:
        """What is listed with a value and stands behind it, the first not `used`: `b-2` of "b-1, b-2 and b-3".

        It looks as the value does: digits, marks, capitals, quotes. A plain word or a URL lists nothing.
        """
        said = re.search(re.escape(value), self._prompt, re.I)  # lower case may be longer: places in it are others
        if not value or said is None or "://" in value:
            return None
        is_quoted = self._prompt[: said.start()].endswith(_QUOTES)
        if value.isalpha() and value.islower() and not is_quoted:
            return None
        form, end = _form(value), said.end()
        for _ in range(_LISTED_MAX):
            found = (_QUOTED_LIST if is_quoted else _LIST).match(self._prompt, end)
            if found is None:
                return None
            item = found[1].rstrip(".?!")
            if _form(item) != form:
                return None
            plain = item.removeprefix("#") if value.isdigit() else item
            if plain not in used:
                return plain
            end = found.start(1) + len(item)
        return None

    def says(self, value: str) -> bool:
        """Whether the prompt has the value itself, as a word."""
        lower = value.lower()
        return lower in self._lower and re.search(rf"(?<![\w-]){re.escape(lower)}(?![\w-])", self._lower) is not None

    def like(self, value: str, name: Name, is_acted_on: bool = True) -> list[str]:
        """What looks as an id does that the prompt does not say: a UUID, the same prefix or shape, the only numbers.

        Numbers are those that a verb acts on ("cancel 8102 and 8103"); else what may be ids: marked, or long.
        """
        if self.says(value):
            return []
        if value.isdigit():
            return self._numbers(is_acted_on)
        if _UUID.fullmatch(value):
            return list(dict.fromkeys(span.value for span in self._found.get("uuid", ())))
        mine, form = letters(value), parameters.shape(value)
        is_short = bool(mine) and parameters.abbreviates(mine, name)
        found = []
        for kind in ("id", "slug", "code"):
            for span in self._found.get(kind, ()):
                theirs = letters(span.value)
                is_same = bool(mine) and theirs == mine
                if is_same or (kind == "id" and not is_short and parameters.shape(span.value) == form):
                    found.append(span.value)
        return list(dict.fromkeys(found))

    def _numbers(self, is_acted_on: bool) -> list[str]:
        numbers = [s for kind in ("number", "id") for s in self._found.get(kind, ()) if s.value.lstrip("#").isdigit()]
        marked = [span for span in numbers if self._prompt[span.start : span.start + 1] == "#"]
        numbers, is_marked = marked or numbers, bool(marked)
        values = list(dict.fromkeys(span.value.lstrip("#") for span in numbers))
        if not values or (len(values) > 1 and not set(self._listed(values[0])).issuperset(values)):
            return []
        last = numbers[-1]
        behind = self._prompt[last.start + is_marked + len(last.value.lstrip("#")) :][:1]
        is_whole = is_marked or not last.after or last.after[0] in _ENDS or (behind != "" and behind in ".,;:!?)")
        if is_acted_on:
            is_sure = _OR.search(self._prompt, numbers[0].start, last.start) is None
            return values if is_whole and is_sure and _VERBS.intersection(numbers[0].before[:1]) else []
        return values if is_whole and (is_marked or all(len(value) >= _LONG for value in values)) else []

    def otherwise(self, value: Any, parameter: Parameter, given: Collection[str]) -> str | None:
        """The only id that is of a kind that the parameter says it takes, as `value` of an answer is."""
        shapes = parameters.shapes(parameter) if "id" in self._found else frozenset()
        if parameters.prefix(str(value)) not in shapes:
            return None
        said = {span.value for span in self._found["id"] if parameters.prefix(span.value) in shapes}
        return said.pop() if len(said) == 1 and said.isdisjoint(given) else None

    def numbered(self, name: Name, parameter: Parameter) -> str | None:
        """The number in the only key that has one, `15` of WEB-15, for what says that it takes no more of it."""
        if parameter.type != "integer" or _IN_KEY.search(f"{' '.join(name.words)}. {parameter.description}") is None:
            return None
        keys = {span.value for span in self._found.get("id", ()) if numbered.KEY.fullmatch(span.value)}
        return keys.pop().partition("-")[2] if len(keys) == 1 else None

    def keyed(self, name: Name, raw: str, path: str, given: Collection[str]) -> str | None:
        """The only key of a numbered thing (WEB-15), or the next of a list, for the argument of a path that takes it.

        None where the prompt says another noun before it.
        """
        if numbered.taker(path) != raw:
            return None
        keys = [span for span in self._found.get("id", ()) if numbered.KEY.fullmatch(span.value)]
        said = dict.fromkeys(s.value for s in keys if not numbered.is_anothers(s, name, _VERBS))
        if not said or (len(said) > 1 and not set(self._listed(next(iter(said)))).issuperset(said)):
            return None
        return next((value for value in said if value not in given), next(reversed(said)))

    def holder(self, noun: str) -> str | None:
        """The key of what holds a numbered thing, where the prompt asks for it: `WEB` for "the project of WEB-15"."""
        keys = (s.value for s in self._found.get("id", ()) if numbered.KEY.fullmatch(s.value))
        return next((key.partition("-")[0] for key in keys if numbered.is_held(self._prompt, key, noun)), None)

    def is_called(self, value: str, noun: str) -> bool:
        """Whether the prompt says that a key is the noun's own: "project WEB-15"."""
        return numbered.is_called(self._prompt, value, noun)

    def prefixed(self, name: Name, given: Collection[str]) -> str | None:
        """An id whose prefix is short for the entity: `ch_1` of a charge."""
        for span in self._found.get("id", ()):
            prefix, mark, _ = span.value.partition("_")
            if mark and span.value not in given and parameters.abbreviates(prefix.lower(), name):
                return span.value
        return None

    def of(self, name: Name, parameter: Parameter, given: Collection[str], others: Collection[str]) -> str | None:
        """An id that stands alone: its prefix is short for it (`ch_1`, charge), or its shape is the example's.

        `others` are values that belong to parameters of other names.
        """
        shapes = parameters.shapes(parameter)
        is_listed = sum(form.endswith("_*") for form in shapes) > 1  # 'gift_card_1' or 'certificate_2', no user's id
        for size in (int(form[2:]) for form in shapes if form[:2] == "A0"):  # a locator may lack digits: IFOYYZ
            words = re.findall(rf"(?<![\w-])[A-Z]{{{size}}}(?![\w-])", self._prompt)
            plain = [word for word in words if word not in given and not self._prompt.isupper()]
            if plain and not any(parameters.shape(span.value) in shapes for span in self._found.get("id", ())):
                return plain[0]
        for kind in ("id", "uuid"):
            for span in self._found.get(kind, ()):
                value = span.value
                if value in given or value in self._mentions.get("user", ()):
                    continue
                if value in others and not parameters.has_prefix(value):
                    continue
                if parameters.is_anothers(value, name, parameter) or _is_foreign(value, name, shapes):
                    continue
                if parameters.prefix(value) in shapes or (not is_listed and parameters.shape(value) in shapes):
                    return value
                found = _PREFIX.match(value)
                if found and parameters.abbreviates((found.group(1) or found.group(2)).lower(), name):
                    return value
                if parameter.format == "uuid" and kind == "uuid":
                    return value
        return None


class Against:
    """What the prompt says, against what the session has: of two ids of one kind it is the prompt's that is meant."""

    def __init__(self, ids: Ids, seen: Seen, meant: Meant, is_own: IsOwn) -> None:
        self._ids, self._seen, self._meant, self._is_own = ids, seen, meant, is_own

    def instead(
        self,
        found: Found | None,
        name: Name,
        parameter: Parameter,
        operation: Operation,
        together: Mapping[str, Found],
        given: Collection[str],
    ) -> Found | None:
        """The id that the prompt says, where what was found is another; what goes `together`, where it is no such."""
        if found is None or not self._ids.are_any or not _says_which(name, parameter, found):
            return found
        raw = parameter.name
        if found[1] == "prompt":
            return together.get(raw) if self._is_anothers(found[0], name, parameter, operation) else found
        near, others = str(found[0]), self._seen.others(name)
        if self._ids.says(near) or self._is_meant(found, name):
            return found
        if parameters.is_key(name, parameter):
            said = [self._ids.of(name, parameter, given, others), self._ids.keyed(name, raw, operation.path, given)]
        else:
            said = [self._ids.prefixed(name, given)]
        if _takes_what_is_said(raw, operation, together):
            said += [value for value in self._rivals(near, name, True) if value not in others and value not in given]
        for value in said:
            if value is not None and not self._is_anothers(value, name, parameter, operation):
                return found if fit(value, parameter) is None else (value, "prompt", -1)
        return found

    def doubted(self, operation: Operation, bound: dict[str, Found]) -> list[str]:
        """Takes ids of other entities out of what is bound, and what would be destroyed where the prompt says another.

        Returns which of them the call cannot do without.
        """
        lost = self._unheld(operation, bound) if self._ids.are_any else []
        template = names.template(operation.path)
        for parameter in operation.parameters if self._ids.are_any else ():
            raw = parameter.name
            found = bound.get(raw)
            if found is None or found[1] == "default":
                continue
            is_inside = parameter.location == "path"
            name = names.name(raw, template.resources.get(raw, "") if is_inside else template.last)
            if not _says_which(name, parameter, found):
                continue
            if found[1] == "prompt":
                is_wrong = self._is_anothers(found[0], name, parameter, operation)
            else:
                is_wrong = bool(operation.destructive) and self._is_rivalled(found, name, bound)
            if is_wrong:
                del bound[raw]
                lost += [raw] if parameter.required or is_inside else []
        return lost

    def _unheld(self, operation: Operation, bound: dict[str, Found]) -> list[str]:
        """Takes out, or puts right, keys of what holds a numbered thing: WEB-15 is no project, but in WEB."""
        lost: list[str] = []
        resources = names.template(operation.path).resources
        thing = bound.get(numbered.taker(operation.path), ("", "", -1))
        is_said = thing[1] == "prompt" and numbered.KEY.fullmatch(str(thing[0])) is not None
        held = numbered.holders(operation.path)
        for parameter in [p for p in operation.parameters if p.location == "path" and p.name in held] if held else ():
            raw = parameter.name
            noun, found = names.name(raw, resources[raw]).entity, bound.get(raw)
            if (holder := self._ids.holder(noun)) is not None and fit(holder, parameter) is not None:
                bound[raw] = holder, "prompt", -1
            elif found is not None:
                key = str(found[0])
                is_thing = numbered.KEY.fullmatch(key) is not None and not self._ids.is_called(key, noun)
                is_other = is_said and numbered.HEAD.fullmatch(key) and not str(thing[0]).startswith(f"{key}-")
                if is_other or (is_thing and found[1] == "prompt"):
                    del bound[raw]
                    lost.append(raw)
        return lost

    def _is_rivalled(self, found: Found, name: Name, bound: Mapping[str, Found]) -> bool:
        used = {str(other[0]) for other in bound.values()} | self._seen.others(name)
        rivals = () if self._is_meant(found, name) else self._rivals(str(found[0]), name, False)
        return not used.issuperset(rivals)

    def _rivals(self, value: str, name: Name, is_acted_on: bool) -> list[str]:
        """What looks as a value does in the prompt, less what people only call a thing by: "order #1002"."""
        found = self._ids.like(value, name, is_acted_on)
        return [rival for rival in found if not any(self._meant.called(name, mark + rival) for mark in ("", "#"))]

    def _is_meant(self, found: Found, name: Name) -> bool:
        return found[1] == "response" and (name.entity, found[0]) in self._meant.keys

    def _is_anothers(self, value: Any, name: Name, parameter: Parameter, operation: Operation) -> bool:
        """Whether the letters before an id are short for another entity, or were seen with others only."""
        prefix = letters(value) if isinstance(value, str) else ""
        if not prefix or parameters.prefix(value) in parameters.shapes(parameter):
            return False
        if self._ids.nearness(name, value) or parameters.abbreviates(prefix, name):
            return False
        if (is_own := self._is_own(value, operation.path, parameter.name)) is not None:
            return not is_own
        having = [entities for text, entities in self._seen.carried.items() if letters(text) == prefix]
        return bool(having) and all(name.entity not in entities for entities in having)


def _says_which(name: Name, parameter: Parameter, found: Found) -> bool:
    """Whether an argument says which thing is meant: a key, or a bare noun that took what stands in a path."""
    if isinstance(found[0], (list, dict)):
        return False
    if parameters.is_key(name, parameter):
        return True
    is_noun = not name.kind and not name.is_generic and found[1] in ("path", "prompt")
    return is_noun and parameter.type in ("string", "integer", "any")


def _takes_what_is_said(raw: str, operation: Operation, together: Mapping[str, Found]) -> bool:
    """Whether of the arguments that say which thing is meant it is the only one, or the last of the path, that can."""
    lacking = [
        p.name
        for p in operation.parameters
        if p.name not in together and (p.location == "path" or (p.required and p.name.lower().endswith("id")))
    ]
    return lacking == [raw] if lacking else raw == next(reversed(list(together)), raw)


def letters(value: str) -> str:
    """The letters before the first mark of an id, in lower case: `ch` of `ch_123`; "" without."""
    found = _LETTERS.match(value)
    return found.group(1).lower() if found else ""


def _is_foreign(value: str, name: Name, shapes: Collection[str]) -> bool:
    """Whether an id has other letters in front than the examples, whose letters are short for the entity."""
    prefix = letters(value)
    if not prefix or parameters.prefix(value) in shapes or parameters.abbreviates(prefix, name):
        return False
    return any(parameters.abbreviates(form[:-2], name) for form in shapes if form.endswith("_*"))
