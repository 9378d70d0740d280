"""Which argument takes a name that the prompt calls a thing by: `{repo}` of "the web repo", `{owner}` of "acme/web".

What a prompt calls so is `keynames`' to read; here it meets the names of parameters. Used by `wish`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from pipeline import keynames
from pipeline.candidates import names
from pipeline.candidates.names import Name
from pipeline.types import Parameter

_SHORT = {
    "repo": "repository", "org": "organization", "organisation": "organization", "env": "environment",
    "app": "application", "db": "database", "ns": "namespace", "svc": "service", "config": "configuration",
    "wf": "workflow", "proj": "project",
}  # fmt: skip
_CODE = re.compile(r"[A-Z][A-Z0-9]{1,9}-\d{1,9}")
_PEOPLE = frozenset(keynames.PEOPLE)


class CalledSo:
    """The names of one prompt, less plain words that the API `knows`: "project members" calls no project so."""

    def __init__(self, prompt: str, knows: Callable[[str], bool]) -> None:
        said = keynames.called(prompt) if prompt else ()
        self._called = [c for c in said if c.is_shaped or c.is_certain or not knows(c.value)]
        self.pairs = keynames.pairs(prompt) if prompt else ()

    def pair(self, template: names.Template, named: Collection[str]) -> tuple[str, str] | None:
        """The values of the two parameters that go together: of the pair beside their noun, else of the first one.

        With a literal between them both must be among the `named`, those that take names.
        """
        if not self.pairs or template.pair is None or not (template.is_close or set(template.pair) <= set(named)):
            return None
        own = _nouns(names.name(template.pair[1], template.resources.get(template.pair[1], "")))
        found = next((pair for pair in self.pairs if _whole(pair.noun) in own), self.pairs[0])
        return found.owner, found.value

    def of(self, name: Name, parameter: Parameter, given: Collection[str]) -> str | None:
        """The name beside the parameter's noun, one not `given` yet if there is one; else what stands in a pair."""
        if not (self._called or self.pairs) or parameter.type == "array" or not keynames.takes_name(parameter):
            return None
        nouns = _nouns(name)
        if name.is_generic and (parameter.location != "path" or name.kind == "key"):
            return None
        if {"branch", "ref"} & nouns and parameter.location != "path":
            return None  # of two branches `branches` tells which is the base
        values = [said.value for said in self._called if not nouns.isdisjoint(map(_whole, said.nouns))]
        if name.kind == "key":
            values = [value for value in values if not value.istitle()]  # "Ops" is called so, and has another key
        return next((value for value in values if value not in given), values[-1]) if values else None

    def lone(self, name: Name, template: names.Template) -> str | None:
        """The only name of which the prompt does not say what it is, for the only one that a path still lacks.

        A plain word is nobody's login; where a path takes nothing else, a code like "OPS-12" goes first.
        """
        loose = [said for said in self._called if not said.nouns]
        if len(template.names) == 1:
            loose = [said for said in loose if _CODE.fullmatch(said.value)] or loose
        if len(loose) != 1:
            return None
        is_taken = loose[0].is_shaped or bool(template.names[1:]) or _PEOPLE.isdisjoint(_nouns(name))
        return loose[0].value if is_taken else None


def _whole(noun: str) -> str:
    word = names.singular(noun)
    return _SHORT.get(word, word)


def _nouns(name: Name) -> set[str]:
    """What a thing may be called that a parameter takes the name of."""
    found = {_whole(name.entity), _whole(name.words[-1 - bool(name.kind and name.words[1:])])} - {""}
    if found & names.PEOPLE or name.full in ("username", "handle"):
        found |= set(keynames.PEOPLE)
    return found
