"""Personal data in a text: where it stands and of which kind.

Mail addresses, telephone numbers, payment cards (Luhn), IBANs (ISO 13616, with their check digits), US social
security numbers, keys and tokens, JSON web tokens, IP addresses. What has a checksum is believed only with it. Every
pattern is linear: it starts only where a word starts and never gives back what it took. `screen.py` decides what is
done with what is found.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection
from typing import NamedTuple

KINDS = ("jwt", "secret", "email", "iban", "card", "ssn", "ip", "phone")  # where two overlap the earlier one counts


class Span(NamedTuple):
    """A piece of personal data."""

    start: int
    end: int
    kind: str


_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{6,}+\.[\w-]{6,}+\.[\w-]*+")
# Prefixes as their makers document them: Stripe, GitHub, GitLab, Slack, AWS, Google, npm, PyPI, SendGrid, Shopify,
# Hugging Face, OpenAI, Anthropic, DigitalOcean.
_KEY = re.compile(
    r"(?<![\w-])(?:(?:[rs]k|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}+"
    r"|sk-(?:proj-|ant-)?[\w-]{20,}+|gh[opusr]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+|glpat-[\w-]{16,}+"
    r"|xox[abeoprs]-[\w-]{10,}+|A(?:KIA|SIA)[A-Z0-9]{16}(?![\w])|AIza[\w-]{30,}+|ya29\.[\w-]{20,}+|npm_[A-Za-z0-9]{30,}+"
    r"|pypi-[\w-]{20,}+|SG\.[\w-]{16,}+\.[\w-]{16,}+|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{20,}+|hf_[A-Za-z0-9]{20,}+"
    r"|do[opr]_v1_[a-f0-9]{32,}+)"
)
_PEM = re.compile(r"-----BEGIN (?:[A-Z]{2,10} )?PRIVATE KEY-----[A-Za-z0-9+/=\s]*+(?:-----END [A-Z ]{1,30}-----)?")
_NAMED_SECRET = re.compile(
    r"(?<![A-Za-z])(?:api[ _-]?key|access[ _-]?key|client[ _-]?secret|secret|token|passw(?:or)?d|pwd|passphrase)"
    r"[\"']?(?: is |\s?[:=]\s?)[\"']?([^\s\"',;&]{8,}+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?<!\w)(?:bearer|basic) ([A-Za-z0-9+/._~-]{16,}+=*+)", re.IGNORECASE)
_IN_URL = re.compile(r"://[^\s/:@]{1,100}+:([^\s/:@]{1,200}+)@")
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]++@(?:[\w-]++\.(?=[^\W_]))++[^\W\d_][\w-]*+")
_EMAIL_SPELT = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}+ ?[\[({]at[\])}] ?[\w-]{1,63}+(?: ?(?:\.|[\[({]dot[\])}]) ?[\w-]{1,63}+){1,4}", re.I
)
_CARD = re.compile(  # the look-ahead lets numbers overlap: what comes before a card may look like its beginning
    r"(?<![\d.])(?=(\d{13,19}+|\d{4}([ .-])\d{4}\2\d{4}\2\d{1,7}|\d{4}([ .-])\d{6}\3\d{5})(?![\d]))"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?=[ -]?[A-Za-z0-9])")
_IBAN_CHARACTERS = {  # by country: SWIFT IBAN registry, release 99
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FK", "FO", "GL", "NL", "SD"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "XK", "MN"), 20),
    **dict.fromkeys(("CH", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "CR", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "SO", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    "LC": 32,
    "RU": 33,
}
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}([- ])(?!00)\d\d\1(?!0000)\d{4}(?![\w-])")
_SSN_NAMED = re.compile(r"(?<!\w)(?:ssn|social security(?: number)?)\W{1,3}(?:is )?(\d{9})(?!\d)", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w]|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9a-f:])(?:[0-9a-f]{0,4}+:){2,8}[0-9a-f.]{0,15}+(?![\w:])", re.IGNORECASE)
_PHONE = re.compile(
    r"(?<![\w+.=/-])(?:(?:\+|00)[1-9]\d{0,3}[ ./-]?(?:\(\d{1,5}\)[ ./-]?)?\d{1,5}(?:[ ./-]?\d{2,5}){1,5}"
    r"|(?:1[ .-])?\(\d{3}\) ?\d{3}[ .-]?\d{4}|(?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4}"
    r"|0\d{2,4}[ /-]\d{3,8}(?:[ -]\d{2,5}){0,2})(?![\w@]|-\w)"
)


def find(text: str, kinds: Collection[str] = KINDS) -> list[Span]:
    """Personal data of these kinds, in the order of the text; no two overlap."""
    found: list[Span] = []
    for kind in KINDS:
        if kind in kinds and (spans := _FINDERS[kind](text)):
            found += [Span(start, end, kind) for start, end in spans]
            for start, end in spans:  # so that no later kind reads it once more
                text = text[:start] + "\0" * (end - start) + text[end:]
    return sorted(found)


def _jwts(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in _JWT.finditer(text)] if "eyJ" in text else []


def _secrets(text: str) -> list[tuple[int, int]]:
    spans = [found.span() for found in _KEY.finditer(text)]
    spans += [found.span(1) for found in _NAMED_SECRET.finditer(text) if _seems_random(found[1])]
    spans += [found.span(1) for found in _BEARER.finditer(text) if _seems_random(found[1])]
    if "-----BEGIN" in text:
        spans += [found.span() for found in _PEM.finditer(text)]
    if "://" in text:
        spans += [found.span(1) for found in _IN_URL.finditer(text)]
    return _apart(spans)


def _emails(text: str) -> list[tuple[int, int]]:
    spans = [found.span() for found in _EMAIL.finditer(text)] if "@" in text else []
    lower = text.lower()
    if "at" in lower and any(sign in lower for sign in ("(at", "[at", "{at")):
        spans += [found.span() for found in _EMAIL_SPELT.finditer(text)]
    return _apart(spans)


def _cards(text: str) -> list[tuple[int, int]]:
    return _apart([found.span(1) for found in _CARD.finditer(text) if _is_card(found[1])])


def _ibans(text: str) -> list[tuple[int, int]]:
    spans = []
    for found in _IBAN.finditer(text):
        length = _IBAN_CHARACTERS.get(found[0][:2].upper())
        if length is None:
            continue
        written, end = "", found.start()
        while len(written) < length and end < len(text):
            character = text[end]
            if character.isascii() and character.isalnum():
                written += character
            elif character not in " -" or text[end - 1] in " -":
                break
            end += 1
        if len(written) == length and not text[end : end + 1].isalnum() and _has_iban_check(written.upper()):
            spans.append((found.start(), end))
    return _apart(spans)


def _ssns(text: str) -> list[tuple[int, int]]:
    return [m.span() for m in _SSN.finditer(text)] + [m.span(1) for m in _SSN_NAMED.finditer(text)]


def _ips(text: str) -> list[tuple[int, int]]:
    spans = [m.span() for m in _IPV4.finditer(text)] if text.count(".") > 2 else []
    spans += [m.span() for m in _IPV6.finditer(text)] if text.count(":") > 1 else []
    return [(start, end) for start, end in spans if end - start > 2 and _is_address(text[start:end])]


def _phones(text: str) -> list[tuple[int, int]]:
    spans = [found.span() for found in _PHONE.finditer(text)]
    return [(start, end) for start, end in spans if 7 <= sum(c.isdigit() for c in text[start:end]) <= 15]


_FINDERS: dict[str, Callable[[str], list[tuple[int, int]]]] = {
    "jwt": _jwts,
    "secret": _secrets,
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "ssn": _ssns,
    "ip": _ips,
    "phone": _phones,
}


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, without those that begin within the one before."""
    kept: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def _seems_random(value: str) -> bool:
    """A password or token, not a word of the sentence: it mixes digits with letters, or is long."""
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _is_card(number: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1, annex B) of a number that a card network may have given out."""
    digits = [int(c) for c in number if c.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6):
        return False
    doubled = sum(2 * d - 9 if d > 4 else 2 * d for d in digits[-2::-2])
    return (sum(digits[-1::-2]) + doubled) % 10 == 0


def _has_iban_check(iban: str) -> bool:
    """ISO 7064, mod 97-10."""
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
