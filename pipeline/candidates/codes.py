"""Codes of three capitals in the prompt: airports ("from JFK to SEA"), currencies ("250 CHF", "80 euros").

A parameter takes one where its example is of that form ('JFK'), or its name or description says so (IATA, ISO 4217).
Of two ends it takes the one that its name means, and without any description where that is all that its name says
(`origin`, `to_currency`, `base`). Pure; `wish` asks.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence

from pipeline.candidates.literals import unquoted
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import ISO_CURRENCIES
from pipeline.types import Parameter

_FORM = re.compile(r"['\"`][A-Z]{3}['\"`]|\bIATA\b|\b4217\b|(?i:\bthree[- ]letter\b)")
_CODE = re.compile(r"(?:(?<![\w.-])|(?<=(?<![\w.-])[A-Z]{3}-))[A-Z]{3}(?=-[A-Z]{3}(?![\w-]|\.\w)|(?![\w-]|\.\w))")
_BETWEEN = re.compile(r"[\s,)]*(?:to|into|and|[-–—>→]+)\s(?:[^.;!?\n]{0,30})|\s?(?:[-–—]>?|→|/)\s?")
_STARTS = frozenset(("origin", "from", "source", "departure", "base", "start", "sell"))
_AIMS = frozenset(("destination", "to", "target", "arrival", "quote", "end", "dest", "buy"))
_MONEY_ENDS = frozenset(("base", "quote"))
_CLEAR = _MONEY_ENDS | frozenset(("origin", "destination", "dest", "airport", "iata"))
_BARE = _CLEAR | frozenset(("from", "to", "source", "target", "code"))  # a departure may be a day
_BACK = frozenset(("back", "return", "returning", "round", "roundtrip"))
_ACRONYMS = frozenset(
    re.findall(
        r"\w+",
        "API ATM CEO CSV DNS DOB ETA FAQ FYI GPS PDF PIN PLZ POS SIM SMS SQL SSN TBD URL USA USB VAT VIP",
    )
)
_DOLLARS = re.compile(r"(?i)\$ ?\d|\d dollars?\b")
_CURRENCY = re.compile(rf"\b(?!USD)(?:{'|'.join(sorted(ISO_CURRENCIES))})\b")  # "$" may stand for other dollars
_SAID = re.compile(
    rf"(?<![A-Za-z])({'|'.join(sorted(ISO_CURRENCIES))})(?![A-Za-z])"
    r"|(€|(?i:\beuros?\b))|(£|(?i:\b(?:in|british) pounds\b|\bpounds sterling\b))|((?i:\bUS ?\$|\bUS dollars?\b))"
    r"|(?i:\b(yen|swiss francs?|zloty|zlotys|swedish kronor|danish kroner|norwegian kroner)\b)"
)
_CALLED = {"yen": "JPY", "swis": "CHF", "zlot": "PLN", "swed": "SEK", "dani": "DKK", "norw": "NOK"}

LANGUAGES = dict(
    re.findall(
        r"(\w+) (\w\w)",
        "arabic ar bulgarian bg chinese zh croatian hr czech cs danish da dutch nl english en estonian et finnish fi "
        "french fr german de greek el hebrew he hindi hi hungarian hu indonesian id italian it japanese ja korean ko "
        "latvian lv lithuanian lt norwegian no persian fa polish pl portuguese pt romanian ro russian ru serbian sr "
        "slovak sk slovenian sl spanish es swahili sw swedish sv thai th turkish tr ukrainian uk vietnamese vi",
    )
)
_LANGUAGE = re.compile(r"\b639-1\b|(?i:\blanguage codes?\b)")
_SAYS_LANGUAGE = re.compile(
    rf"\b(in|into|to|from) ({'|'.join(LANGUAGES)})"
    r"(?=$|[.,;:!?)]| (?:and|or|for|to|into|on|with|from|at|please|starting|about|by|that|between|under)\b)"
)


class Codes:
    """The codes of one prompt."""

    def __init__(self, prompt: str, words: Collection[str]) -> None:
        found = list(_CODE.finditer(prompt)) if any(c.islower() for c in prompt) else []
        found = [match for match in found if match.group() not in _ACRONYMS]
        self._all = tuple(dict.fromkeys(match.group() for match in found))
        self._ends = [
            (a.group(), b.group())
            for a, b in itertools.pairwise(found)
            if a.group() != b.group() and _BETWEEN.fullmatch(prompt[a.end() : b.start()])
        ]
        self._goes_back = not _BACK.isdisjoint(words)
        said = (
            "EUR" if euro else "GBP" if pound else "USD" if dollar else code or _CALLED[called.lower()[:4]]
            for code, euro, pound, dollar, called in _SAID.findall(prompt)
        )
        self.currencies = tuple(dict.fromkeys(said))
        self.dollars = ("USD",) if not self.currencies and _DOLLARS.search(prompt) else ()

        self.are_any = bool(self._all or self.currencies or self.dollars)

    def take(self, name: Name, parameter: Parameter, given: Collection[str] = ()) -> str | None:
        """The code for a parameter of that form; the way back goes from where the way there, `given` before, went."""
        if not self.are_any or parameter.type not in ("string", "any") or parameter.enum:
            return None
        words = set(name.words)
        is_money = "currency" in words or "4217" in parameter.description or "currency" in parameter.description.lower()
        start, aim = not _STARTS.isdisjoint(words), not _AIMS.isdisjoint(words)
        is_told = is_money or _FORM.search(f"{parameter.description} '{parameter.example}'") is not None
        if not is_told and not (start is not aim and _is_bare_end(words, parameter)):
            return None
        if start is not aim:
            kinds = (is_money,) if is_told else _kinds(words)
            pairs = [pair for pair in self._ends if ISO_CURRENCIES.issuperset(pair) in kinds]
            if not is_told and len(pairs) > 1:
                return None
            ends = [pair if start else pair[::-1] for pair in pairs]
            if self._goes_back and len(ends) == 1 and set(given) == {ends[0][0]}:
                return ends[0][1]
            return next((there for there, _ in ends if there not in given), ends[-1][0] if ends else None)
        if not is_money or name.words[-1] not in ("currency", "code"):
            return None
        is_plain = parameter.required and _CURRENCY.search(parameter.description) is None
        found = self.currencies or (self.dollars if is_plain else ())
        code = found[0] if len(found) == 1 else None
        return code.lower() if code and _is_lower(parameter) else code


def languages(lower: str, words: Collection[str]) -> list[tuple[str, str]]:
    """Languages that a prompt in lower case says, each with the word before it: ("into", "de")."""
    if LANGUAGES.keys().isdisjoint(words):
        return []
    return [(side, LANGUAGES[said]) for side, said in _SAYS_LANGUAGE.findall(unquoted(lower))]


def language(said: Sequence[tuple[str, str]], parameter: Parameter, name: Name) -> str | None:
    """The code (ISO 639-1) of the only language that is said on the parameter's side of things."""
    if _LANGUAGE.search(parameter.description) is None or parameter.type != "string":
        return None
    words = set(name.words)
    sides = ("from",) if words & _STARTS else ("to", "into") if words & _AIMS else ("in", "to", "into")
    found = {code for side, code in said if side in sides}
    return found.pop() if len(found) == 1 else None


def _is_bare_end(words: Collection[str], parameter: Parameter) -> bool:
    """Whether a parameter says nothing but that it is one of two ends; `from` only in a query that needs it."""
    if parameter.description or parameter.example or parameter.format or parameter.location == "path":
        return False
    is_clear = not _CLEAR.isdisjoint(words) or (parameter.required and parameter.location == "query")
    return is_clear and _BARE.issuperset(words)


def _kinds(words: Collection[str]) -> tuple[bool, ...]:
    """Whether ends of that name may be currencies, and whether they may be anything else."""
    if not _MONEY_ENDS.isdisjoint(words):
        return (True,)
    return (False,) if not _CLEAR.isdisjoint(words) else (True, False)


def _is_lower(parameter: Parameter) -> bool:
    literals = (parameter.example, parameter.default)
    return "lowercase" in parameter.description.lower() or any(isinstance(v, str) and v.islower() for v in literals)
