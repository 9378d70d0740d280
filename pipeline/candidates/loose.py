"""Ids of a prompt that stand alone, and whose they are by their prefix or their shape. Called by `wish`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from pipeline.candidates import names, parameters
from pipeline.candidates.names import Name
from pipeline.candidates.spans import Span
from pipeline.types import Parameter

_PREFIX = re.compile(r"([A-Za-z]+)_|([A-Z]+)-(?=\d)")


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
