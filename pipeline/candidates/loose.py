"""Ids of a prompt that stand alone, and whose they are by their prefix or their shape. Called by `wish`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from pipeline.candidates import names, parameters
from pipeline.candidates.names import Name
from pipeline.candidates.spans import Span
from pipeline.types import Parameter

_PREFIX = re.compile(r"([A-Za-z]+)_|([A-Z]+)-(?=\d)")
_QUOTES = ("'", '"', "“", "`")
_THEN = r"(?:,? (?:and|or|then|plus|vs\.?|versus) |, ?| ?[/;+&] ?|→| -> )"
_LIST = re.compile(rf"{_THEN}((?:[A-ZÀ-Ž][\w'’.-]{{0,40}} ){{1,3}}[A-ZÀ-Ž][\w'’-]{{0,40}}|[^\s,;/+&()?!]{{1,60}})")
_QUOTED_LIST = re.compile(rf"[\"'”`]{_THEN}[\"'“`]([^\"'”`]{{1,60}})[\"'”`]")
_LISTED_MAX = 8  # things of one list


def _form(value: str) -> tuple[bool, ...]:
    marks = (mark in value for mark in "-_@.: ")
    return any(map(str.isdigit, value)), value[:1].isupper(), value.lower() != value, *marks


class Ids:
    """The ids of one prompt; `mentions` are those that stand beside an entity."""

    def __init__(
        self, prompt: str, found: Mapping[str, Sequence[Span]], mentions: Mapping[str, Collection[str]]
    ) -> None:
        self._prompt, self._found, self._mentions = prompt, found, mentions

    def nearness(self, name: Name, value: str) -> int:
        """How clearly a value is of that name: 3 beside its noun, 2 beside a word of it or by its prefix, else 0."""
        if value in self._mentions.get(name.entity, ()) or value in self._mentions.get(name.full, ()):
            return 3
        if any(value in self._mentions.get(names.singular(word), ()) for word in name.words[:-1]):
            return 2
        found = _PREFIX.match(value)
        prefix = (found.group(1) or found.group(2)).lower() if found else ""
        return 2 if prefix and parameters.abbreviates(prefix, name) else 0

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
            if item not in used:
                return item
            end = found.start(1) + len(item)
        return None

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
                if parameters.is_anothers(value, name, parameter):
                    continue
                if parameters.prefix(value) in shapes or (not is_listed and parameters.shape(value) in shapes):
                    return value
                found = _PREFIX.match(value)
                if found and parameters.abbreviates((found.group(1) or found.group(2)).lower(), name):
                    return value
                if parameter.format == "uuid" and kind == "uuid":
                    return value
        return None
