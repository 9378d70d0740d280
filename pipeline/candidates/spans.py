"""Typed spans of a prompt: the ids, dates, numbers, names and quoted words that an argument could take.

Pure text work, once per request; it knows no operation. `arguments` decides which parameter takes
which span and calls this; what a span says it is, it is verbatim in the prompt (dates are rewritten
as ISO 8601, nothing else is).
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import re

from pipeline import keynames
from pipeline.candidates import days
from pipeline.candidates.vocabulary import CURRENCIES, IMPERATIVES, ISO_CURRENCIES, NAME_IMPERATIVES, SENTENCE_STARTERS

_NUMBER_WORDS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
}
_ORDINALS = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
}

_ISO = "|".join(sorted(ISO_CURRENCIES))
# Where the time zones of the IANA lie: "Europe/Berlin".
_CONTINENTS = "Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Europe|Indian|Pacific|Etc"
_NO_ID = r"(?:COVID|SARS|UTF|ISO|SHA|AES|GPT|[QH]\d)-"  # a number behind these makes a term of it
# Groups that are one id together, of which none is a number by itself: 40122-9, 1f0d-8658, MP:0001501, 18230:12:4031.
_WHOLE = r"""(?<![\w.:/@-])(?!(?:19|20)\d\d(?:-\d\d)?(?![\w]))(?!(?i:\d+[a-z]?[ap]m-))
          (?!\d{3}-\d{3}-\d{4}(?![\w-])|\d\d(?::\d\d){2}(?:[:.]\d{1,3})?(?![\w:]))
          (?:\d[A-Za-z0-9]{3,40}(?:-[A-Za-z0-9]{1,40}){1,6}|\d{2,5}(?:-\d{1,4}){2,4}|[A-Z]{2,12}:\d{3,20}
          |(?!(?i:arn|urn|https?):)(?=[\w:]{0,99}\d)[A-Za-z0-9]{2,20}(?::[A-Za-z0-9]{1,40}){2,7}
          |\d{2,5}/\d{2,5}/\d{3,9})(?![\w:/@-]|\.\w)"""
_FILE = r"(?:py|rb|js|ts|go|rs|sh|java|json|md|yaml|yml|txt|html|css|png|jpg|pdf|csv|xml|toml|conf|cfg|zip|log)\b"
# Powers of ten that stand behind an amount.
_TENS = {
    "hundred": 2, "k": 3, "thousand": 3, "grand": 3, "lakh": 5, "m": 6, "mn": 6, "mio": 6, "million": 6, "crore": 7,
    "b": 9, "bn": 9, "billion": 9,
}  # fmt: skip
_SCALED = r"(?:\ (?i:k|hundred|thousand|grand|lakh|mn|mio|million|crore|bn|billion)\b)?"
# 1250, 1'250.50, 10,50 or, in groups behind spaces, 1 250.50.
_FIGURE = r"""(?:[1-9]\d{0,2}(?:[ \u00a0\u202f]\d{3}){1,4}(?:[.,]\d{1,2})?(?!-\d{2,3}-|[.,]?\d|\ times\b)
          |\d(?:[\d.,'’]*\d)?)"""
# Alternatives in the order of their strength: the first that matches at a place wins.
_SPAN = re.compile(
    rf"""
      (?P<quoted>"[^"\n]{{1,200}}"|“[^”\n]{{1,200}}”|(?<![\w'])'[^'\n]{{2,200}}'(?![\w'])|`[^`\n]{{1,200}}`)
    | (?P<url>(?i:https?)://[^\s<>"']{{1,500}})
    | (?P<email>[\w.+-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,5}})
    | (?P<address>(?<![\w.])(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?:/\d{{1,2}})?(?!\w|[./]\d))
    | (?P<host>(?<![\w.@/-])(?:[a-z0-9][a-z0-9-]{{0,61}}\.){{1,5}}(?!{_FILE})[a-z]{{2,24}}(?![\w@/-]|\.\w))
    | (?P<uuid>(?i:\b[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}\b))
    | (?P<range>{days.RANGE})
    | (?P<date>{days.DATE})
    | (?P<zone>\b(?:{_CONTINENTS})/[A-Z][A-Za-z_]{{1,30}}(?:/[A-Z][A-Za-z_]{{1,30}})?\b)
    | (?P<pair>(?<![\w./-])[A-Za-z][\w.-]{{0,99}}/[A-Za-z][\w.-]{{0,99}}(?![\w/]))
    | (?P<id>{_WHOLE}
        | (?<![\w./-])(?!{_NO_ID})(?=[A-Z0-9-]{{0,64}}\d\d)[A-Z][A-Z0-9]{{0,11}}(?:-[A-Z0-9]{{1,20}}){{1,5}}(?![\w-])
        | \b[A-Z]{{2}}\d\d\ [A-Z0-9]{{4}}(?:\ (?=[A-Z]{{0,3}}\d)[A-Z0-9]{{4}}){{2,6}}(?:\ \d{{1,3}})?\b
        | (?<![\w./-])[A-Z]{{2,6}}(?:/\d{{1,9}}){{2,3}}(?![\w/])
        | \b(?!\d+[A-Z]+\b)(?=[A-Z0-9]{{0,20}}\d)(?=[A-Z0-9]{{0,20}}[A-Z][A-Z0-9]{{0,20}}[A-Z])[A-Z0-9]{{5,20}}\b(?!-)
        | \#[A-Za-z]{{0,4}}\d{{2,32}}\b
        | \b(?=[\w-]{{0,64}}\d)[A-Za-z][A-Za-z0-9]{{0,64}}(?:[_-][A-Za-z0-9]{{1,64}}){{0,6}}_[A-Za-z0-9]{{2,64}}\b
        | \b(?=[A-Za-z0-9]{{0,64}}\d)(?=[A-Za-z0-9]{{0,64}}[A-Za-z])
          (?=[A-Z]{{2}}|[a-z0-9]{{16}}|[A-Za-z]{{1,4}}\d{{3}})[A-Za-z0-9]{{5,64}}\b
        | \b(?=[A-Za-z]{{0,64}}\d)(?=[A-Z0-9]{{0,64}}[a-z])(?=[a-z0-9]{{0,64}}[A-Z])[A-Za-z0-9]{{12,64}}\b
        | \b(?!{_NO_ID})[A-Z]{{2,10}}-\d{{1,9}}\b(?!-\w)
        | (?<![\w.@-])[a-z]{{1,10}}-\d{{3,20}}(?![\w-]) | (?<![\w.@-])\d{{3,12}}-[A-Z]{{1,3}}(?![\w-])
        | (?<![\w.-])\d{{2,9}}(?:-\d{{4,9}}){{1,4}}(?![\w-])
        | (?:(?<=eservation\ )|(?<=ooking\ )|(?<=ocator\ )|(?<=PNR\ ))[A-Z]{{5,8}}\b(?![\w-]))
    | (?P<slug>(?<![\w/.@-])[A-Za-z][A-Za-z0-9]{{0,64}}(?:[_-][A-Za-z0-9]{{1,64}}){{1,6}}(?![\w/@-]|\.\w)
        | (?<![\w/.@-])[A-Za-z][A-Za-z0-9_-]{{0,64}}(?:\.\d[A-Za-z0-9_-]{{0,64}}){{1,6}}(?![\w/@-]|\.\w))
    | (?P<code>\b(?=[a-z0-9]{{0,64}}\d)(?=[a-z0-9]{{0,64}}[a-z])(?!\d+[a-z]+\b)[a-z0-9]{{4,64}}\b)
    | (?P<place>(?<![\w.])-?\d{{1,3}}\.\d{{2,15}}\ ?,\ ?-?\d{{1,3}}\.\d{{2,15}}(?![\w.]))
    | (?P<handle>(?<![\w.@/])@[A-Za-z0-9_]{{1,40}}(?:-?[A-Za-z0-9_]{{1,40}}){{1,4}}\b)
    | (?P<money>[$€£]\ ?{_FIGURE}(?:[A-Za-z]{{1,12}}|{_SCALED})
        | (?<![\w.,'’]){_FIGURE}(?:(?i:k|m|mn|mio|bn)\b|{_SCALED})
          (?:\ (?:(?i:(?:US\ )?dollars|euros?|pounds|usd|eur|gbp)|{_ISO})\b|\ ?[$€£](?!\ ?\d))
        | (?<![\w.,])(?:{_ISO})\ {_FIGURE}(?:[A-Za-z]{{1,12}}|{_SCALED})(?!\w))
    | (?P<number>\#?(?<![\w.,])-?(?:\d{{1,3}}(?:,\d{{3}}){{1,5}}|\d{{1,40}})(?:\.\d{{1,20}})?
          (?=(?i:[gmt]b|k[mg])\b|(?!\w|[.,]\d)))
    """,
    re.VERBOSE,
)
_AMOUNT = re.compile(r"(\d(?:[\d.,'’ \u00a0\u202f]*\d)?)( ?)([A-Za-z]*)")
_GROUPED = re.compile(
    r"([1-9]\d{0,2}(?P<by>[.,'’ \u00a0\u202f])\d{3}(?:(?P=by)\d{3}){0,4})(?:(?!(?P=by))(?:\.(\d{1,9})|,(\d{1,2})))?"
)
_LAKHS = re.compile(r"([1-9]\d?(?:,\d\d){1,5},\d{3})(?:\.(\d{1,9}))?")  # as they are grouped in India
_UNGROUPED = re.compile(r"(\d{1,16})(?:\.(\d{1,9})|,(\d{1,2}))?")
_COUNTED_THING = re.compile(r"(?i)\b(?:account|booking|card|customer|id|invoice|no\.?|number|order|ticket|user) $")
_DIGIT = re.compile(r"\d")
_COUNTED = re.compile(r"(?<![\d.-])\d{1,3}(?![\d.-])")
_SPARK = re.compile(  # no span without one of these or a digit
    rf"[\"“'`@/_-]|\w\.\w|[A-Z]{{5}}|(?i:{days.SPARK})"
)
_WORD = re.compile(r"[^\W_]+(?:['’][a-z]+)?", re.UNICODE)
_TOKEN = re.compile(r"\S+")
_CONNECTORS = frozenset(("of", "the", "and", "de", "la", "van", "von", "a", "an", "&"))
_NAME = r"[A-ZÀ-ÖØ-ÞĀ-Ž](?:[^\W\d_]|['’-](?!s\b)(?=[^\W\d_])){1,40}\b"
_PERSON = re.compile(
    r"\b(?i:i am|i'm|you are|you're|name is|name's|this is|called|named|(?:user|customer|client|guest|patient|employee"
    r"|contact|member|colleague|candidate|student|passenger|tenant|person|caller)(?: called| named| is)?[,:]?"
    r"|register|enroll?|onboard|(?:contact|account|profile) for)"
    rf"\s+(?!The\b)({_NAME})(?:\s{{1,3}}(?:{_NAME}|[A-Z]\.)){{0,2}}"
    rf"\s{{1,3}}((?:(?:van|von|de|del|der|den|di|da|la|le)\s{{1,3}}){{0,3}}{_NAME})(?!\s{{1,3}}{_NAME})"
)
_HANDLE = re.compile(r"\b(?i:i am|i'm|you are|you're)\s+([a-z]{2,20})_([a-z]{2,20})_\d{1,9}\b")
_ZIP = re.compile(
    r"(?i:zip ?(?:code)?|postal ?(?:code)?|postcode)\D{0,12}?(\d{5}(?:-\d{4})?)\b|\b[A-Z]{2},? (\d{5})\b"
    r"|(?i:\bzip(?: code)?|\bpostal code|\bpost ?code)(?: is|:)? (?=[A-Z]{0,3}\d)"
    r"([A-Z0-9]{3,6}(?:[ -](?=[A-Z]{0,2}\d)[A-Z0-9]{3,4})?)(?![\w-])"
    r"|\b[A-Z][a-z]{2,20},? (\d{5})(?=[.,;!?\s]|$)|\b(?i:live|lives|living|located|based)\b[^.\n]{0,40}? in (\d{5})\b"
)
_PHONE = re.compile(r"(?<!\w)\+?\d[\d ().-]{7,17}\d(?!\w)")


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """A piece of the prompt with its kind and the words beside it, lower case."""

    # quoted url email address host uuid date pair id slug code handle money number latitude longitude
    # entity opening first_name last_name full_name zip phone
    kind: str
    value: str
    before: tuple[str, ...]  # the three words before it, nearest first
    after: tuple[str, ...]  # the two words after it
    start: int
    past: str = ""  # of a day that may be the next or the last one the last, `value` being the next
    is_short: bool = False  # a day without its year


def words(text: str) -> list[str]:
    """Lower-case words of a text."""
    return [match.group().lower() for match in _WORD.finditer(text)]


def extract(prompt: str, today: datetime.date | None = None) -> tuple[Span, ...]:
    """Spans in the order of the prompt; `today` resolves "yesterday", which is left out without it."""
    found: list[Span] = []
    taken = bytearray(len(prompt))
    has_digit, end, year = _DIGIT.search(prompt) is not None, 0, None
    for match in _SPAN.finditer(prompt) if has_digit or _SPARK.search(prompt) else ():
        kind, text = str(match.lastgroup), match.group()
        if match.start() < end:
            continue
        if kind in ("range", "date") and year is None:
            year = days.year(prompt)
        if kind == "range":
            for side, day in zip(("from", "to"), days.month_days(text, today, year or 0), strict=False):
                span = _span(prompt, "date", day, match.start(), match.end())
                past, is_short = days.past(text, day, today, year or 0), days.is_short(text)
                found.append(dataclasses.replace(span, before=(side,), past=past, is_short=is_short))
            taken[match.start() : match.end()] = b"\x01" * (match.end() - match.start())
            continue
        if kind == "date":
            end = _read_day(prompt, match, today, year or 0, found, taken)
            continue
        elif kind == "quoted":
            text = text[1:-1].strip()
        elif kind == "url":
            text = text.rstrip(".,;:!?)")
        elif kind == "money":
            is_doubtful = re.search(r"\d \d", text) and _COUNTED_THING.search(prompt[: match.start()][-20:])
            text = "" if is_doubtful else amount(text)
        elif kind == "number":
            text = text.replace(",", "")
        elif kind == "place":
            found += [
                _span(prompt, side, number.strip(), match.start(), match.end())
                for side, number in zip(("latitude", "longitude"), text.split(","), strict=True)
            ]
            taken[match.start() : match.end()] = b"\x01" * (match.end() - match.start())
            continue
        elif kind == "pair" and not keynames.is_pair(text):
            continue
        elif kind == "id" and re.fullmatch(r"#\d+", text):
            kind = "number" if len(text) < 8 else "id"
        elif kind == "id":
            text = text.replace(" ", "")  # an IBAN as it is printed
        elif kind == "handle":
            text = text[1:]
        if not text:
            continue
        found.append(_span(prompt, kind, text.lstrip("#") if kind == "number" else text, match.start(), match.end()))
        if kind not in ("slug", "number", "money"):
            taken[match.start() : match.end()] = b"\x01" * (match.end() - match.start())
    for match in _PERSON.finditer(prompt):
        found.append(_span(prompt, "first_name", match.group(1), match.start(1), match.end(1)))
        found.append(_span(prompt, "last_name", match.group(2), match.start(2), match.end(2)))
        found.append(_span(prompt, "full_name", prompt[match.start(1) : match.end(2)], match.start(1), match.end(2)))
    for match in _HANDLE.finditer(prompt) if has_digit else ():
        found.append(_span(prompt, "first_name", match.group(1).capitalize(), match.start(1), match.end(1)))
        found.append(_span(prompt, "last_name", match.group(2).capitalize(), match.start(2), match.end(2)))
    for match in _ZIP.finditer(prompt) if has_digit else ():
        group = int(match.lastindex or 1)
        found.append(_span(prompt, "zip", match.group(group), match.start(group), match.end(group)))
        taken[match.start(group) : match.end(group)] = b"\x01" * len(match.group(group))
    within = bytearray(len(prompt))
    paid = [span.start for span in found if span.kind == "money"]
    for match in _PHONE.finditer(prompt) if has_digit else ():
        text = match.group()
        if any(match.start() <= start < match.end() for start in paid):
            continue
        if sum(c.isdigit() for c in text) >= 9 and not text.isdigit() and not any(taken[match.start() : match.end()]):
            within[match.start() : match.end()] = b"\x01" * (match.end() - match.start())
            text = re.sub(r"[^+\d]", "", text) if text[0] == "+" else text  # as E.164 writes it
            found.append(_span(prompt, "phone", text, match.start(), match.end()))
    found = [span for span in found if span.kind != "number" or not within[span.start]]
    found += _entities(prompt, taken)
    found.sort(key=lambda span: span.start)
    return tuple(found)


def _read_day(
    prompt: str, match: re.Match[str], today: datetime.date | None, year: int, found: list[Span], taken: bytearray
) -> int:
    """Adds a day, once with each time that stands beside it; returns where it ends."""
    text = match.group()
    day, counts = days.day(text, today, year), _COUNTED.search(text)
    if day is None:
        if counts:
            begin = match.start() + counts.start()
            found.append(_span(prompt, "number", counts.group(), begin, begin + len(counts.group())))
        return 0
    is_plain = len(day) == 16  # to the minute, without a zone
    start, end = match.start(), match.start() + 10 if is_plain else match.end()
    clocks, start, end = ([], start, end) if "T" in day and not is_plain else days.times(prompt, start, end)
    day = day[:10] if clocks else day
    found[:] = [span for span in found if span.start < start]  # the numbers of a time before the day
    span = _span(prompt, "date", f"{day}T{clocks[0]}" if clocks else day, start, end)
    past = days.past(text, span.value, today, year)
    span = dataclasses.replace(span, past=past, is_short=days.is_short(text))
    previous = found[-1] if found and found[-1].kind == "date" else None
    if previous is not None and days.JOINED.fullmatch(prompt[previous.start : start]):  # "30 Nov - 11 Dec 2026"
        found[-1], span = dataclasses.replace(previous, before=("from",)), dataclasses.replace(span, before=("to",))
    if clocks[1:]:
        last = dataclasses.replace(span, value=f"{day}T{clocks[1]}", before=("to",))
        found += [dataclasses.replace(span, before=("from",)), last]
    else:
        found.append(span)
    if counts and text[0] in "iI":  # "in 30 days" counts days too
        begin = match.start() + counts.start()
        found.append(_span(prompt, "number", counts.group(), begin, begin + len(counts.group())))
    taken[start:end] = b"\x01" * (end - start)
    return end


def _span(prompt: str, kind: str, value: str, start: int, end: int) -> Span:
    before = words(prompt[max(0, start - 60) : start])[-3:]
    after = words(prompt[end : end + 40])[:2]
    return Span(kind, value, tuple(reversed(before)), tuple(after), start)


def _entities(prompt: str, taken: bytearray) -> list[Span]:
    """Capitalised phrases ("The Dark Knight", "Lord of the Rings") that are not only the start of a sentence."""
    phrases: list[list[tuple[str, int]]] = []
    phrase: list[tuple[str, int]] = []
    begins = True  # whether the next token begins a sentence
    matches = list(_TOKEN.finditer(prompt))
    for match, following in itertools.zip_longest(matches, matches[1:]):
        raw = match.group()
        token = raw.strip("()[]{}<>,;:.!?\"'`“”’*_")
        start = match.start() + max(raw.find(token), 0)
        plain = token.lower().removesuffix("'s").removesuffix("’s")
        inside = any(taken[match.start() : match.end()])
        if not token or inside:
            is_part = False
        elif begins or not phrase:
            leads = begins and _only_begins(plain, following.group() if following else "")
            is_part = token[0].isupper() and not leads and plain not in ("i", "i'm", "i’m")
        else:
            is_part = (token[0].isupper() or token[0].isdigit() or plain in _CONNECTORS) and plain != "i"
        if is_part:
            phrase.append((token, start))
        ends = raw[-1] in ".!?,;:" and not (len(token) == 1 and raw[-1] == ".") and not (raw[-1] == ":" and phrase[1:])
        if not is_part or ends:
            phrases.append(phrase)
            phrase = []
        begins = raw[-1] in ".!?:" and ends
    spans = []
    for tokens in [*phrases, phrase]:
        while tokens and tokens[-1][0].lower() in _CONNECTORS:
            tokens = tokens[:-1]
        if not tokens or (len(tokens) == 1 and tokens[0][0].lower() in SENTENCE_STARTERS):
            continue
        start, end = tokens[0][1], tokens[-1][1] + len(tokens[-1][0])
        text = re.sub(r"['’]s$", "", prompt[start:end])
        opens = len(tokens) == 1 and prompt[:start].rstrip()[-1:] in ("", ".", "!", "?", ":")
        spans.append(_span(prompt, "opening" if opens else "entity", text, start, end))
    return spans


def _only_begins(word: str, following: str) -> bool:
    """Whether a word is capitalised only because a sentence begins with it: "Move the", "You're", not "Star Wars"."""
    if word in SENTENCE_STARTERS or word.replace("’", "'").endswith(("'re", "'ve", "'ll", "'d")):
        return True
    return word in IMPERATIVES or (word in NAME_IMPERATIVES and not following[:1].isupper())


def amount(text: str) -> str:
    """An amount of money as a plain number: 1000.50 of "1'000,50 EUR"; "" where it may mean two things: "1.000 EUR"."""
    found = _AMOUNT.search(text)
    if found is None:
        return ""
    figure, space, word = found.group(1), found.group(2), found.group(3).lower()
    power = _TENS.get(word, 0)
    if word and not power and not space and word not in CURRENCIES and word.upper() not in ISO_CURRENCIES:
        return ""
    read = _GROUPED.fullmatch(figure)
    if read and read["by"] == "." and figure.count(".") == 1 and "," not in figure:
        return ""
    read = read or _LAKHS.fullmatch(figure) or _UNGROUPED.fullmatch(figure)
    if read is None:
        return ""
    whole = re.sub(r"\D", "", read.group(1))
    part = figure[read.end(1) + 1 :]
    if power:
        part, rest = part[:power].ljust(power, "0"), part[power:].rstrip("0")
        whole, part = (whole + part).lstrip("0") or "0", rest
    return f"{whole}.{part}" if part else whole


def is_time(text: str) -> bool:
    """Whether a phrase begins with the name of a month or a day: "March 2024", "Saturday"."""
    first = text.split(maxsplit=1)[0].lower() if text else ""
    return first in days.MONTHS or first in days.WEEKDAYS


def ordinal(word: str) -> int | None:
    """4 for "fourth" and "4th"."""
    digits = word[:-2] if word.endswith(("st", "nd", "rd", "th")) else ""
    return int(digits) if digits.isdecimal() and len(digits) < 4 else _ORDINALS.get(word)


def number_word(word: str) -> int | None:
    """3 for "three"."""
    return _NUMBER_WORDS.get(word)
