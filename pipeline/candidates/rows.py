"""Lists of objects that a prompt says: who travels, who is invited, how many of what is ordered.

Which objects they are say the names of their fields: an e-mail address, the two names of a person, a quantity beside
an id. Pure functions of a prompt, its spans and a parameter; called by `wish`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.candidates import names, spans
from pipeline.candidates.listed import Lists
from pipeline.candidates.names import Name
from pipeline.candidates.spans import Span
from pipeline.candidates.vocabulary import BIRTH, PERSON, TEXT
from pipeline.types import Parameter

_WORD = r"[A-ZÀ-ÖØ-ÞĀ-Ž](?:[^\W\d_]|['’-](?=[^\W\d_])){1,40}"
_PERSON = re.compile(
    rf"(?<![\w'’-])({_WORD}) ((?:(?:van|von|de|del|der|di|da|la|le) ){{0,2}}{_WORD})(?![\w'’-]| {_WORD})"
)
_DETAIL = re.compile(
    r"(?i),? ?[(<]?(?:(?:is |was )?born(?: on| in)?|date of birth:?|dob:?|birthday:?|aged?|at|,)? ?[(<]?"
)
_JOIN = re.compile(r"[)>]?,? ?(?:and |& )?")
_COUNT = r"(\d{1,5}|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_ID = r"#?(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*"
_OF_IT = re.compile(
    rf"(?i)(?<![\w.,:-]){_COUNT}(?: ?[x×])? (?:(?:units?|pieces?|pcs|items?) )?(?:of )?((?-i:{_ID}))(?![\w-])"
)
_TIMES_IT = re.compile(rf"(?<![\w-])({_ID}) ?[x×] ?(\d{{1,5}})(?![\w.])")
_QUANTITY = frozenset(("quantity", "qty", "count", "units"))
_TEXTS = TEXT | {"question", "label"}


def of(name: Name, parameter: Parameter, prompt: str, found: Mapping[str, Sequence[Span]], lists: Lists) -> Any:
    """The objects that the prompt says for an array of them; None where it says none."""
    if parameter.type != "array" or not parameter.fields:
        return None
    fields = {field: names.name(field, name.entity) for field in parameter.fields}
    mail = next((field for field in fields if "email" in fields[field].words), "")
    part = {PERSON[taken.full]: field for field, taken in fields.items() if taken.full in PERSON}
    if part or (mail and "name" in fields):
        part = part or {"full_name": "name"}
        birth = next((field for field, taken in fields.items() if not BIRTH.isdisjoint(taken.words)), "")
        if people := _people(name, prompt, found, part, mail, birth):
            return people
    if mail:
        return [{mail: address} for address in lists.emails(name, parameter)] or None
    amount = next((field for field in fields if not _QUANTITY.isdisjoint(fields[field].words)), "")
    if amount:
        return _amounts(fields, amount, prompt)
    text = [field for field in fields if field in _TEXTS]
    if len(text) == 1 and "quoted" in found:
        quotes = lists.quotes(names.singular(name.words[-1]))
        return [{text[0]: quote} for quote in quotes] or None
    return None


def _people(
    name: Name, prompt: str, found: Mapping[str, Sequence[Span]], part: Mapping[str, str], mail: str, birth: str
) -> list[dict[str, str]]:
    """Persons with their birthday or address behind the name, or in a list behind the argument's noun."""
    noun = re.compile(rf"(?i)\b{re.escape(names.singular(name.words[-1]))}s?:?(?: are| is)? $")
    people: list[dict[str, str]] = []
    end = -1  # of the last person
    for match in _PERSON.finditer(prompt):
        first, last = match.groups()
        row = {
            field: first if kind == "first_name" else last if kind == "last_name" else match.group()
            for kind, field in part.items()
        }
        at = match.end()
        for _ in range(2):
            detail = _DETAIL.match(prompt, at)
            begin = detail.end() if detail else at
            day = next((s for s in found.get("date", ()) if s.start == begin and not s.is_short), None)
            address = next((s for s in found.get("email", ()) if s.start == begin), None)
            if birth and day is not None:
                row[birth] = day.value[:10]
                at = re.compile(r"[^,;()]*").match(prompt, begin).end()  # type: ignore[union-attr]
            elif mail and address is not None:
                row[mail], at = address.value, begin + len(address.value)
        follows = end >= 0 and _JOIN.fullmatch(prompt[end : match.start()]) is not None
        if len(row) > len(part) or noun.search(prompt[: match.start()]) or follows:
            people.append(row)
            end = at
    return people


def _amounts(fields: Mapping[str, Name], amount: str, prompt: str) -> list[dict[str, Any]] | None:
    """Ids with how many of each: "2 of SKU-1 and 1 of SKU-2", "SKU-1 x 3"."""
    others = [field for field, taken in fields.items() if field != amount]
    keys = [
        f for f in others if fields[f].kind in ("id", "code", "key", "number") or fields[f].full in ("sku", "product")
    ]
    if len(keys) != 1:
        return None
    said = [(match.group(2), match.group(1)) for match in _OF_IT.finditer(prompt)]
    said += [(match.group(1), match.group(2)) for match in _TIMES_IT.finditer(prompt)]
    rows = []
    for key, count in said:
        number = int(count) if count.isdigit() else spans.number_word(count.lower()) or 1
        rows.append({keys[0]: key.lstrip("#"), amount: number})
    return rows or None
