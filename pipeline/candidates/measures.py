"""What a prompt measures with a unit, in the unit that a parameter counts in: "25%", "2 hours" as seconds, "20 EUR".

Pure functions of a prompt and a parameter; called by `wish`, and by `train/slots.py` to tell what was made up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from pipeline.candidates import spans
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import ALL_BOUNDS, BOUND_WORDS
from pipeline.types import Parameter

_PERCENT = re.compile(r"(?<![\w.,])(\d{1,3}(?:\.\d{1,6})?) ?(?:%|percent\b|per cent\b)")
_PERCENTS = frozenset(("percent", "percentage", "pct"))
_PLAIN = frozenset(("off", "rate", "value", "discount"))  # beside "percent" they say nothing more
_SECONDS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "day": 86400, "week": 604800}
_UNIT = rf"({'|'.join(_SECONDS)})s?\b"
_TIME = re.compile(rf"(?<![\w.,])(\d{{1,6}}|[a-z]{{2,8}})[ -]?{_UNIT}")
_COUNTS_IN = re.compile(
    rf"\b(?:in|number of|for how many|how many) (?:\w+ )?{_UNIT}|\b{_UNIT} (?:to|until|after|for)\b"
)
_LASTING = frozenset(("duration", "timeout", "ttl", "delay", "interval", "length", "lifetime", "time"))
_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "dollar": "USD", "euro": "EUR", "pound": "GBP"}
_CODES = "USD EUR GBP JPY CHF CAD AUD NZD SEK NOK DKK PLN CZK HUF INR CNY BRL MXN SGD HKD ZAR TRY KRW ILS"
_CODE = re.compile(rf"(?i:\b({_CODES.replace(' ', '|')}) ?\d|\d ?({_CODES.replace(' ', '|')})\b)")
_SIGN = re.compile(r"([$€£]) ?\d|\d (dollar|euro|pound)s?\b")


def percent(lower: str, name: Name, said: Collection[str]) -> str | None:
    """The only percentage of a prompt in lower case, for `percent_off`; `fee_percent` only where a fee is `said`."""
    if _PERCENTS.isdisjoint(name.words):
        return None
    found = set(_PERCENT.findall(lower))
    is_meant = all(word in said for word in name.words if word not in _PERCENTS and word not in _PLAIN)
    return found.pop() if len(found) == 1 and is_meant else None


def duration(lower: str, name: Name, parameter: Parameter, said: Collection[str]) -> int | None:
    """The only time span of a prompt in lower case, in the unit that the parameter says it counts in.

    One that nobody has to give takes it where a word of its name is `said`.
    """
    unit = _unit(name, parameter)
    if not unit or not (parameter.required or any(word in said for word in name.words)):
        return None
    found = set(_times(lower))
    seconds = found.pop() if len(found) == 1 else 0
    return seconds // unit if seconds and seconds % unit == 0 else None


def bounded(found: Sequence[spans.Span], said: Collection[str]) -> tuple[Sequence[spans.Span], Sequence[spans.Span]]:
    """Of numbers, those that stand behind the bound that a name says, and all but those behind the other one.

    "a minimum of 3 and a maximum of 9 nodes".
    """
    bounds = {word for bound in said for word in BOUND_WORDS.get(bound, ())}
    if not bounds:
        return (), found
    own = [span for span in found if not bounds.isdisjoint(span.before[:2])]
    others = [s for s in found if s not in own and not ALL_BOUNDS.isdisjoint(s.before[:2])]
    return own, [span for span in found if span not in others]


def currency(prompt: str, name: Name, parameter: Parameter) -> str | None:
    """The ISO 4217 code of the only currency that a prompt's amounts are in; in the case that the description says.

    A sign is enough where a currency has to be given: "$" may stand for another dollar.
    """
    if name.words[-1] != "currency" or parameter.type not in ("string", "any"):
        return None
    found = currencies(prompt, parameter.required)
    code = found.pop() if len(found) == 1 else None
    return code.lower() if code and _is_lower(parameter) else code


def currencies(prompt: str, with_signs: bool = True) -> set[str]:
    """Codes of the currencies that a prompt's amounts are in."""
    codes = {(a or b).upper() for a, b in _CODE.findall(prompt)}
    said = _SIGN.findall(prompt.lower()) if not codes else ()
    return codes or {_SIGNS[word or sign] for sign, word in said if word or with_signs}


def times(lower: str) -> Iterator[int]:
    """Time spans of a prompt in lower case, in each unit that counts them whole."""
    for seconds in _times(lower):
        yield from (seconds // unit for unit in set(_SECONDS.values()) if seconds % unit == 0)


def _times(lower: str) -> Iterator[int]:
    for count, unit in _TIME.findall(lower):
        number = int(count) if count.isdigit() else spans.number_word(count) or 0
        if number:
            yield number * _SECONDS[unit]


def _unit(name: Name, parameter: Parameter) -> int:
    """Seconds of the unit that a parameter counts in, 0 where it counts no time, or where its own name says in what."""
    if parameter.type not in ("integer", "number") or _LASTING.isdisjoint(name.words):
        return 0
    found = _COUNTS_IN.search(parameter.description.lower())
    return _SECONDS[found.group(1) or found.group(2)] if found else 0


def _is_lower(parameter: Parameter) -> bool:
    literals = (parameter.example, parameter.default)
    return "lowercase" in parameter.description.lower() or any(isinstance(v, str) and v.islower() for v in literals)
