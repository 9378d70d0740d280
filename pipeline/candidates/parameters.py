"""What a parameter takes, by what its name, its description and its example say: a day, a phone, ids of a shape.

Pure functions of one parameter (and its name, taken apart); which value of the prompt it takes then is `wish`'s
business, which calls this.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pipeline.candidates import dayforms, names
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import (
    BIRTH,
    COUNTING,
    CURRENCIES,
    DATE_WORDS,
    DAY,
    GIVERS,
    LAST_DAY,
    PEOPLE_NOUNS,
    PERSON,
    PLAIN_DAY,
    PLAIN_ENUMS,
    UNIT_WORDS,
)
from pipeline.types import Operation, Parameter

_EXAMPLE = re.compile(r"['\"`]([^'\"`\s]{3,40})['\"`]|e\.g\.?,? ?:?([^\s,;)'\"`]{3,40})")
_TYPED_ID = re.compile(r"((?:[a-z]{2,12}_){0,2}[a-z]{2,12})_(?=[A-Za-z]*\d)[A-Za-z0-9]{3,40}")
_INITIAL = re.compile(r"['\"`]([A-Z])\d{3,12}['\"`]")
_LITERAL = re.compile(r"(?<!\w)['\"`]([A-Za-z][a-z _-]{2,40})['\"`](?!\w)")
_CAPITAL = r"[A-Z][a-z]{2,20}(?:[ /-][A-Z]?[a-z]{2,20})?"
_LISTED = re.compile(  # all that a description says, or its last words
    rf"(?:^|: |\b[Oo]ne of:? |[Ee]ither |\()({_CAPITAL}(?:, {_CAPITAL}){{0,8}},? or {_CAPITAL})(?=[.;)]|$)"
)
_IBAN = re.compile(r"[A-Z]{2}\d\d[A-Z0-9]{11,30}")
_RUN = re.compile(r"[A-Za-z]+|\d+")
_PREFIX = re.compile(r"[A-Z]{1,6}-(?=[A-Z0-9-]{0,20}\d)")
_LOCATOR = re.compile(r"(?=\d+[A-Z]+\d|[A-Z]+\d+[A-Z])[A-Z0-9]{5,8}")
_LONG = 12  # digits; an account's number is no order's
_MOMENT = re.compile(r"(?i)date|\bdays?\b|iso|stamp|rfc|utc|epoch|unix")
_TIME_OF_DAY = re.compile(r"(?i)\btime of (?:the )?day\b")
_DAY_FORM = re.compile(r"(?i)(?<![\w-])yyyy-mm-dd(?![\w-])|\bdate of birth\b")
_HANDED = frozenset(  # `assigned_to`, `forward_to`: no day
    ("assign", "assigned", "bill", "copy", "forward", "forwarded", "move", "redirect", "refer", "related", "reply",
     "sent", "send", "share", "shared", "ship", "shipped", "transfer", "transferred", "call", "belongs", "linked")
)  # fmt: skip
_NO_ZONE = re.compile(r".{10}T\d\d:\d\d:\d\d")
_JOURNEY = re.compile(r"(?i)\b(?:flight|train|bus|ferry|outbound|trip|journey|origin|travel)s?\b")
_CURRENCY = re.compile(rf"(?i)\bin (?:US )?({'|'.join(CURRENCIES)})\b")
_MONEY_UNIT = re.compile(r"(?i)\b(?:cents?|smallest|minor|whole|dollars?|euros?|pounds?|usd|eur|gbp)\b")
_ID = re.compile(r"\bIDs?\b|\bidentifier")
_IP_WORDS = frozenset(("ip", "ips", "ipv4", "cidr", "cidrs"))
_IP = re.compile(r"\bIP(?:v4)? address|\bCIDR")
_HOST_WORDS = frozenset(("domain", "domains", "host", "hostname", "fqdn"))
_HOST = re.compile(r"(?i)\bdomain name\b|\bname of the domain\b|\bhostname\b")
_MONDAY = re.compile(r"(?i)\bmonday of the week\b")
_PHONE = re.compile(
    r"(?i)(?:(?!(?:ids?|sids?|identifiers?|of|for|to|by|list|whether)\b)[\w'-]{1,20} ){0,4}(?:tele)?phone number\b"
)
_FULL_NAME = re.compile(r"(?i)\bfull name\b")
_OWN = re.compile(r"(?i)\buse (?:the )?(?:keyword |value |alias )?[\"'`](\w{2,20})[\"'`]")
_WHOSE = re.compile(r"(?i)\bUR[IN]s? (?:of|for) ")
_SECRET = re.compile(r"api_?key|token|password|^hash$|secret$")
_CREDENTIALS = frozenset(("token", "accesstoken", "authtoken", "oauthtoken", "apikey", "apitoken"))
_NO_PARAMETERS = frozenset(("accept", "authorization", "content-type"))
_TOKENS = re.compile(r"(?i)token|key|oauth|auth\b")
_AUTHENTICATION = re.compile(r"(?i)\bauth(?:entica|oriz)|\boauth|\b(?:your|the) api[ _-]?key\b|\bcredentials?\b")


def is_key(name: Name, parameter: Parameter) -> bool:
    """Whether the parameter says which thing is meant."""
    return parameter.location == "path" or name.kind in ("id", "number", "key", "slug", "sha")


def takes_day(name: Name, parameter: Parameter) -> bool:
    """Whether it takes a day: `start_date`, `dropoff_at`, `dob`, "YYYY-MM-DD"; `from` only where more says so."""
    if parameter.format in ("date", "date-time"):
        return True
    if parameter.type not in ("string", "any") or name.kind == "id":
        return False
    last = name.words[-1]
    if last in ("to", "from") and not _HANDED.isdisjoint(name.words):
        return False
    if last in DATE_WORDS and (len(name.words) > 1 or last in DAY or is_date(parameter)):
        return True
    return not BIRTH.isdisjoint(name.words) or _DAY_FORM.search(parameter.description) is not None


def twin_day(name: Name, parameter: Parameter, operation: Operation) -> bool:
    """Whether the operation takes the same day in the other form too: `due_date` and `due_datetime`."""
    other = {"date": "date-time", "date-time": "date"}.get(parameter.format)
    stem = set(name.words) - PLAIN_DAY
    return any(
        p.format == other and set(names.split(p.name)) - PLAIN_DAY == stem for p in operation.parameters if other
    )


def has_formal_twin(sides: Collection[str], parameter: Parameter, operation: Operation) -> bool:
    """Whether it takes a day in any form, and another parameter of that side one in a format of its own."""
    if parameter.format or not sides:
        return False
    formal = (p for p in operation.parameters if p.format in ("date", "date-time"))
    return any(not set(sides).isdisjoint(names.split(p.name)) for p in formal)


def takes_last_day(words: Collection[str], parameter: Parameter) -> bool:
    """Whether it takes the end of a time: `until`, and `departure` from a place, not that of a flight."""
    if not LAST_DAY.isdisjoint(words):
        return True
    return set(words) == {"departure"} and _JOURNEY.search(parameter.description) is None


def takes_monday(parameter: Parameter) -> bool:
    """Whether only a Monday will do: "Monday of the week, YYYY-MM-DD"."""
    return _MONDAY.search(parameter.description) is not None


def is_date(parameter: Parameter) -> bool:
    """Whether a date fits: cursors are named `starting_after` too."""
    says = parameter.description.lower()
    return parameter.format in ("date", "date-time") or any(word in says for word in ("date", "time", "8601", "day"))


def is_clock(parameter: Parameter) -> bool:
    """Whether a parameter takes a time of the day without the day: `time`, unless its description speaks of moments."""
    is_plain = parameter.name.lower() == "time" and not parameter.format and parameter.type == "string"
    description = _TIME_OF_DAY.sub("", parameter.description) if is_plain else ""
    return parameter.format == "time" or (is_plain and _MOMENT.search(description) is None)


def as_date(value: str, parameter: Parameter, is_local: bool = False) -> str:
    """A day, perhaps with a time, as the parameter's format writes it (RFC 3339); without zone where it `is_local`."""
    if not parameter.format.startswith("date") and (form := dayforms.form(parameter.description)) is not None:
        return form.write(value)
    if parameter.format == "date-time" and not is_local:
        value = value if "T" in value else value + "T00:00:00"
        return value + "Z" if _NO_ZONE.fullmatch(value) else value
    is_day = parameter.format == "date" or _DAY_FORM.search(parameter.description) is not None
    return value[:10] if is_day else value


def as_money(value: str, parameter: Parameter) -> Any:
    """An amount; in the smallest unit where the spec says that it counts cents."""
    description = parameter.description.lower()
    if parameter.type == "integer" and ("cents" in description or "smallest" in description or "minor" in description):
        return round(float(value) * 100)
    return value


def counted(name: Name) -> tuple[str, tuple[str, ...]]:
    """What a number counts, in the singular, and what else its name says: `max_nodes`, `duration_in_months`."""
    words = tuple(word for word in name.words if word not in COUNTING or name.kind) or name.words
    units = [i for i, word in enumerate(words) if word in UNIT_WORDS]
    at = units[-1] if units else len(words) - 1
    return names.singular(words[at]), words[:at] + words[at + 1 :]


def takes_people(name: Name, parameter: Parameter) -> bool:
    """Whether it takes how many come along: `party_size`, `guests`, `number_of_people`."""
    if parameter.type not in ("integer", "number") or name.kind == "id":
        return False
    words = {names.singular(word) for word in name.words}
    return not words.isdisjoint(PEOPLE_NOUNS) or words in ({"party", "size"}, {"group", "size"}, {"occupancy"})


def is_quantity(name: Name) -> bool:
    """Whether it says how many of a thing are wanted: that there are so many in an answer says nothing of it."""
    return name.words[-1] in ("quantity", "qty") and len(name.words) < 3


def tells_unit(parameter: Parameter) -> bool:
    """Whether an amount can be written as it was said: whole numbers may count cents where nobody tells."""
    if parameter.type not in ("integer", "number") and _ID.search(parameter.description):
        return False  # the ID of a price
    return parameter.type != "integer" or _MONEY_UNIT.search(parameter.description) is not None


def currency(parameter: Parameter) -> str:
    """The sign of the currency its description says it counts in ("Daily limit in euros."), "" where it says none."""
    found = _CURRENCY.search(parameter.description) if parameter.type in ("integer", "number") else None
    return CURRENCIES[found.group(1).lower()] if found else ""


def network(name: Name, parameter: Parameter) -> str:
    """Whether it takes an `address` (of IP, or a CIDR) or the name of a `host`; "" where neither."""
    if "string" not in (parameter.type, parameter.items) or parameter.enum or name.kind == "id":
        return ""
    if _IP_WORDS.intersection(name.words) or _IP.search(parameter.description):
        return "address"
    return "host" if _HOST_WORDS.intersection(name.words) or _HOST.search(parameter.description) else ""


def takes_phone(name: Name, parameter: Parameter) -> str:
    """Whose phone number it takes: "from" or "to" of a call, or "any"; "" where its description does not begin with
    one, or whose call comes from there is another.
    """
    if parameter.type not in ("string", "any") or name.kind == "id" or _PHONE.match(parameter.description) is None:
        return ""
    if not GIVERS.isdisjoint(name.words):
        return "from" if name.full == "from" else ""
    return "to" if name.full == "to" else "any"


def person(name: Name, parameter: Parameter) -> str | None:
    """Which name of a person it takes: first_name, last_name, full_name; None for what is no person's."""
    if name.full == "name" and _FULL_NAME.search(parameter.description):
        return "full_name"
    return PERSON.get(name.full)


def decisive(
    needed: Sequence[Parameter], origins: Mapping[str, str], last: str, is_read: bool = False
) -> Parameter | None:
    """Of the arguments that the session gave, the one that says which thing is meant: the last key, else the last.

    `origins` are their kinds. What the prompt gave is left out; of a read its last key is better than none.
    """
    known = [p for p in needed if origins[p.name] != "default"]
    keys = [p for p in known if is_key(names.name(p.name, last), p) and not _SECRET.search(p.name.lower())]
    given = [[p for p in some if origins[p.name] != "prompt"] for some in (keys, known)]
    return next((some[-1] for some in (*given, keys if is_read else []) if some), None)


def is_credential(parameter: Parameter, path: str) -> bool:
    """Whether it authenticates the caller, as a header would; what an operation on tokens acts on does not."""
    if parameter.is_key:
        return True
    if parameter.location not in ("query", "body") or _plain(parameter.name) not in _CREDENTIALS:
        return False
    return _AUTHENTICATION.search(parameter.description) is not None and _TOKENS.search(path) is None


def is_left_to_the_caller(parameter: Parameter) -> bool:
    """Whether a call lacks a header or cookie unless the caller adds it: it is required and nothing else gives it.

    A security scheme gives its key, and `Accept`, `Content-Type` and `Authorization` are no parameters (OpenAPI 3.1,
    4.8.12.2).
    """
    is_given = parameter.is_key or parameter.default is not None or len(parameter.enum) == 1
    return parameter.required and not is_given and parameter.name.lower() not in _NO_PARAMETERS


def shape(value: str) -> str:
    """`#W2378156` and `#W0000000` have the same: runs of letters and of digits stand for themselves.

    A prefix in capitals says whose id it is (`MRN-0042871`); where capitals and digits take turns, only their number
    counts (`K7QX2M`).
    """
    if has_prefix(value):
        head, _, rest = value.partition("-")
        return f"{head}-{_RUN.sub(_run, rest)}"
    return f"A0{len(value)}" if _LOCATOR.fullmatch(value) else _RUN.sub(_run, value)


def has_prefix(value: str) -> bool:
    """Whether an id says by itself whose it is: `MRN-0042871`."""
    return _PREFIX.match(value) is not None


def prefix(value: str) -> str:
    """`tx_*` of `tx_90af31c2`: what says whose id it is; "" where nothing does."""
    found = _TYPED_ID.fullmatch(value)
    return f"{found.group(1)}_*" if found else ""


def is_anothers(value: str, name: Name, parameter: Parameter) -> bool:
    """Whether an initial says that an id is another thing's: `L4410` of a line for 'C1001' of a customer."""
    found = _INITIAL.search(f"{parameter.description} '{parameter.example}'")
    if found is None or not name.entity.startswith(found.group(1).lower()):
        return False
    return value[1:].isdigit() and value[0].isalpha() and value[0] != found.group(1)


def is_iban(value: str) -> bool:
    """Whether it is written as an IBAN (ISO 13616), without blanks."""
    return _IBAN.fullmatch(value) is not None


def takes_urn(value: Any, parameter: Parameter) -> bool:
    """Whether an address is of a kind that the description speaks of: `x:album:1` is none "of the tracks to play"."""
    parts = str(value).split(":")
    whose = _WHOSE.search(parameter.description) if len(parts) > 2 else None
    said = re.findall(r"[a-z]+", parameter.description.lower()) if whose else []
    return whose is None or not {names.singular(word) for word in said}.isdisjoint(parts[1:-1])


def keyword(parameter: Parameter) -> str:
    """What a description says to use for the caller's own: `primary` of 'use the "primary" keyword'; "" without one."""
    return _keyword(parameter.description) if parameter.type == "string" and not parameter.enum else ""


def literals(parameter: Parameter) -> tuple[str, ...]:
    """What a description without an enum says that it takes: "'no longer needed' or 'ordered by mistake'", or a list of
    capitalised words: "One of Bronze, Silver or Gold."
    """
    if parameter.enum or parameter.type != "string" or parameter.format:
        return ()
    return _quoted(parameter.description) if " or " in parameter.description or "'" in parameter.description else ()


def shapes(parameter: Parameter) -> frozenset[str]:
    """Shapes of the examples that a parameter gives, in its description too."""
    example = parameter.example if isinstance(parameter.example, str) else ""
    quotes = parameter.type in ("string", "any") and ("'" in parameter.description or '"' in parameter.description)
    return _example_shapes(parameter.description if quotes else "", example) if quotes or example else frozenset()


def abbreviates(prefix: str, name: Name) -> bool:
    """Whether an id's prefix is short for the entity: `ch` charge, `clm` claim, `pi` (default_)payment_intent."""
    stem = [word for word in name.words if word not in ("id", "number", "key")] or [name.resource]
    initials = "".join(word[0] for word in stem if word)
    if len(prefix) > 2 and name.entity[:1] == prefix[0]:  # `clm` claim
        letters = iter(name.entity)
        return all(letter in letters for letter in prefix)
    return len(prefix) >= 2 and (name.entity.startswith(prefix) or (len(stem) > 1 and initials.endswith(prefix)))


@functools.lru_cache(maxsize=16384)
def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _run(run: re.Match[str]) -> str:
    text = run.group()
    return "a" if not text[0].isdigit() else "0" if len(text) < _LONG else "00"


@functools.lru_cache(maxsize=16384)
def _keyword(description: str) -> str:
    found = _OWN.search(description)
    return found.group(1).lower() if found else ""


@functools.lru_cache(maxsize=16384)
def _quoted(description: str) -> tuple[str, ...]:
    found = _LITERAL.findall(description) if "'" in description else []
    if len(found) < 2:
        listed = _LISTED.search(description)
        found = re.split(r", (?:or )?| or ", listed.group(1)) if listed else []
        found = [word for word in found if word.lower() not in PLAIN_ENUMS]
    return tuple(found) if len(found) > 1 else ()


@functools.lru_cache(maxsize=16384)
def _example_shapes(description: str, example: str) -> frozenset[str]:
    texts = [example] if example else []
    texts += [a or b for a, b in _EXAMPLE.findall(description)]
    ids = [text.rstrip(".") for text in texts if any(c.isdigit() for c in text)]
    return frozenset(map(shape, ids)) | frozenset(filter(None, map(prefix, ids)))
