"""Amounts of money that are objects: `amount: {currency_code, value}`, `tip_money: {amount, currency}`.

Which of a prompt's amounts is meant, its currency, and how it is written. Pure; called by `nested`.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import msgspec

from pipeline.candidates import names, parameters
from pipeline.candidates.fitting import fit
from pipeline.candidates.names import Name
from pipeline.candidates.seen import Found
from pipeline.candidates.wish import Wish
from pipeline.types import Parameter

_AMOUNTS = frozenset(("amount", "value", "total", "price", "cost", "sum", "units"))
_PLAIN = _AMOUNTS | {"money", "payment", "unit"}  # words that do not say which amount it is
_PARTS_MAX = 3
_NO_CENTS = frozenset(("JPY", "KRW"))  # ISO 4217: no minor unit


def currency(whole: Parameter) -> Parameter | None:
    """The part of an amount of money that says the currency; None for what is no such amount."""
    found = [p for p in whole.parts if "currency" in names.split(p.name) and not p.parts]
    is_money = len(whole.parts) <= _PARTS_MAX and len(found) == 1 and len(_amounts(whole)) == 1
    return found[0] if is_money else None


def kinds(objects: Sequence[Parameter]) -> set[str]:
    """Words that tell amounts apart: `tip` of `tip_money`."""
    return {word for whole in objects if currency(whole) is not None for word in _kind(whole)}


def said(whole: Parameter, wish: Wish, needed: bool, fees: Set[str]) -> str | None:
    """The only amount of the prompt that may be meant: of a tip or a fee the one that is said to be."""
    kind = _kind(whole)
    found = {
        span.value
        for span in wish.amounts
        for near in [{names.singular(word) for word in (*span.before, *span.after)}]
        if (near & kind if kind and not needed else not near & (fees - kind))
    }
    return found.pop() if len(found) == 1 else None


def code(wish: Wish, name: Name, part: Parameter, is_needed: bool) -> Found | None:
    """The prompt's only currency; "$" counts as one only where `is_needed`."""
    sign = wish.mention(name, msgspec.structs.replace(part, enum=(), required=is_needed), ())
    value = None if sign is None else fit(sign, part)
    return None if value is None else (value, "prompt", -1)


def written(whole: Parameter, amount: str, currency: str) -> tuple[Parameter, Any]:
    """The part that takes the amount, and how it is written there; None where the spec does not say in which unit."""
    part = _amounts(whole)[0]
    told = msgspec.structs.replace(part, description=f"{part.description} {whole.description}")
    if not parameters.tells_unit(told):
        return part, None
    return part, fit(amount if currency.upper() in _NO_CENTS else parameters.as_money(amount, told), part)


def _amounts(whole: Parameter) -> list[Parameter]:
    return [p for p in whole.parts if not _AMOUNTS.isdisjoint(names.split(p.name)) and not p.parts]


def _kind(whole: Parameter) -> set[str]:
    """The words that say which amount it is."""
    return {names.singular(word) for word in names.split(whole.name)} - _PLAIN
