"""A catalog as the generator knows it: a text that opens every prompt about it, and the arguments that it may fill.

The text is the same for every query, so an engine with a prefix cache reads it once; it tells each operation in one
line, which an option then need not repeat. The arguments are a part of the reply's JSON schema: one for the catalog,
so that an engine compiles its grammar once. Made by `propose` from what `travel.cards` sends; pure.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from pipeline.candidates.quoting import clean, estimate_tokens
from pipeline.types import Candidate, Parameter

_SUMMARY_MAX = 90  # characters of an operation's summary
_PARAMETERS_MAX = 8  # of an operation that are listed
_ENUM_SHOWN = 5
_NAMES_MAX = 128  # arguments in the schema: a grammar of so many compiles in 0.4 s (xgrammar 0.2.8, 21 November 2026)
_ENUM_MAX = 20
_VALUE_MAX = 60
_INTEGER_MAX = 10**12  # without a bound a model may write digits to the end
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]:$-]{0,39}")
_LITERAL = re.compile(r"[ -~]{1,40}")


@dataclasses.dataclass(frozen=True, slots=True)
class Overview:
    """What does not change between two queries in a catalog."""

    text: str
    listed: frozenset[str]  # the operations that the text tells of
    arguments: dict[str, Any]  # JSON schema of each argument, by name


def overview(cards: Sequence[Candidate], token_limit: int) -> Overview:
    """The overview of a catalog within about `token_limit` tokens: of too many operations those of the shortest paths.

    Lines are sorted by path, so that what belongs together stands together.
    """
    lines: dict[str, str] = {}
    for card in sorted(cards, key=lambda c: (c.path.count("/"), c.path, c.method)):
        line = describe(card)
        token_limit -= estimate_tokens(line) + 1
        if token_limit < 0:
            break
        lines[card.operation] = line
    order = sorted(lines, key=lambda operation: operation.split(" ", 1)[::-1])
    return Overview("\n".join(lines[operation] for operation in order), frozenset(lines), _arguments(cards))


def describe(candidate: Candidate) -> str:
    """An operation in one line: method, path, summary, arguments beside the path's, optional ones marked."""
    parameters = [p for p in candidate.schema if p.location in ("query", "body")]
    parameters.sort(key=lambda p: not p.required)
    shown = ", ".join(_parameter(p) for p in parameters[:_PARAMETERS_MAX])
    summary = clean(candidate.summary or candidate.operation_id, _SUMMARY_MAX)
    return f"{name(candidate)} | {summary}" + (f" | {shown}" if shown else "")


def name(candidate: Candidate) -> str:
    return clean(candidate.operation, 120)


def _parameter(parameter: Parameter) -> str:
    name = clean(parameter.name, 40) + ("" if parameter.required else "?")
    if parameter.enum:
        return name + ":" + "/".join(clean(str(value), 20) for value in parameter.enum[:_ENUM_SHOWN])
    return name if parameter.type in ("string", "any") else f"{name}:{parameter.type}"


def _arguments(cards: Sequence[Candidate]) -> dict[str, Any]:
    """One schema for each name that operations take, of the type all of them give it; the commonest names."""
    declared: dict[str, list[Parameter]] = collections.defaultdict(list)
    for card in cards:
        for parameter in card.schema:
            if parameter.location not in ("header", "cookie") and _NAME.fullmatch(parameter.name):
                declared[parameter.name].append(parameter)
    commonest = sorted(declared, key=lambda n: (-sum(1 + p.required for p in declared[n]), n))[:_NAMES_MAX]
    return {name: _typed(declared[name]) for name in sorted(commonest)}


def _typed(parameters: Sequence[Parameter]) -> dict[str, Any]:
    types = {parameter.type for parameter in parameters}
    literals = list(dict.fromkeys(value for parameter in parameters for value in parameter.enum))
    plain = all(isinstance(value, str) and _LITERAL.fullmatch(value) for value in literals)
    if plain and len(literals) <= _ENUM_MAX and all(parameter.enum for parameter in parameters):
        return {"enum": literals}
    if types == {"integer"}:
        return {"type": "integer", "minimum": -_INTEGER_MAX, "maximum": _INTEGER_MAX}
    if types == {"boolean"}:
        return {"type": "boolean"}
    return {"type": "string", "maxLength": _VALUE_MAX}  # read with the type of the operation that is picked
