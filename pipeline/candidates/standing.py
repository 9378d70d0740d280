"""How far the arguments of a candidate are known: the columns of group "bound" are made of it.

Called by `pipeline.predict.prepare` for each candidate that got arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.candidates import names
from pipeline.candidates.arguments import Binding
from pipeline.types import Operation

# What one is asked for first at a desk: who one is, or a number of one's own.
_WORDS = (
    "user member account customer client guest patient passenger subscriber renter tenant student employee caller "
    "traveler traveller driver holder buyer shopper contact person learner reader rider owner resident policyholder "
    "cardholder email mail phone mobile fullname firstname lastname surname username birthdate dateofbirth"
)
_PERSONS = frozenset(_WORDS.split())


def standing(operation: Operation, binding: Binding, past: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
    """How many arguments the operation requires, how many have no value, how many the prompt gave, `anew`, `caller`.

    Not counted is a header or cookie without a value, nor what only a picked alternative of the body requires. `past`
    are the arguments of its past calls; `anew` is 1 where none had these, -1 where one had, 0 without any.
    `caller`: it reads by what the prompt says a person is called or known by.
    """
    required = [one.name for one in operation.parameters if one.required or one.location == "path"]
    asked = {one.name for one in operation.parameters if one.location not in ("header", "cookie")}
    missing = len(asked.intersection(name.partition(".")[0] for name in binding.missing if name not in binding.chosen))
    counts = {one.name for one in operation.parameters if one.type in ("integer", "number") and _counts(one.name)}
    told = {raw.partition(".")[0] for raw, (kind, _) in binding.origins.items() if kind == "prompt"}
    is_caller = operation.verb == "read" and not past and not missing and any(map(_is_persons, told - counts))
    anew = 0
    if past:
        is_old = any(all(sent.get(name) == str(value) for name, value in binding.params.items()) for sent in past)
        anew = -1 if is_old else 1
    return len(required), missing, len(told.intersection(required)), anew, is_caller


def _counts(raw: str) -> bool:
    """Whether a number of that name says how many come along: `guests` is nobody."""
    taken = names.name(raw, "")
    return taken.is_plural and not taken.kind


def _is_persons(raw: str) -> bool:
    taken = names.name(raw, "")
    return taken.entity in _PERSONS or taken.full in _PERSONS
