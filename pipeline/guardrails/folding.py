"""One text in the ways an attacker may have meant it to be read.

`readings` undoes what hides words from patterns: look-alike letters, invisible characters, percent,
HTML and backslash escapes, comments within words, quotes within commands, digits for letters, single
spaced letters, Base64, mirror writing. Every step is linear in the text and grows it only by a
constant. What the readings are searched for is in `attacks.py`.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from typing import NamedTuple

_ROUNDS = 3  # of percent, HTML and backslash escapes within one another
_GROWTH = 4  # characters that one may become; U+FDFA would be 18
_SPELT_MIN = 4  # single letters in a row that are taken for a word spelt out
_ENCODED_MIN = 16  # characters of a Base64 or hex token worth a look: shorter ones hide nothing long

# Letters of other scripts that look like Latin ones (Unicode TR 39, confusables), lower case.
_ALIKE = str.maketrans("аеорсухіјѕԁһкмтвнгпуцιοανρτκυχζ", "aeopcyxijsdhkmtbhrnyuioavptkuxz")
_DIGITS = str.maketrans("013457@$!|", "oieastasil")
_OVERLONG = re.compile(r"%c0%(?:ae|af)|%c1%9c|%e0%80%a[ef]", re.IGNORECASE)  # UTF-8 longer than allowed
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_ENTITY = re.compile(r"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,7}));?")
_NAMED = {
    "lt": "<",
    "gt": ">",
    "amp": "&",
    "quot": '"',
    "apos": "'",
    "colon": ":",
    "semi": ";",
    "lpar": "(",
    "rpar": ")",
    "sol": "/",
    "bsol": "\\",
    "period": ".",
    "grave": "`",
    "tab": "\t",
    "newline": "\n",
    "nbsp": " ",
}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_BASE64 = re.compile(r"(?<![\w+/-])[\w+/-]{16,}+={0,2}", re.ASCII)
_HEX = re.compile(r"(?<![0-9A-Za-z])0[xX]([0-9a-fA-F]{8,}+)")
_BREAKS = re.compile(r"[\s._*\-]+")


class Readings(NamedTuple):
    """What to search: `plain` for everything, the others for what they are made for."""

    plain: tuple[str, ...]  # as written and with escapes undone; lower case
    joined: tuple[str, ...]  # without white space, or without the quotes within words
    spoken: tuple[str, ...]  # as letters alone: look-alikes, digits and spelling undone


class _Folding(dict[int, str]):
    """Character -> how it is read; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if unicodedata.category(character) in ("Cf", "Mn", "Me"):
            read = ""
        else:
            whole = unicodedata.normalize("NFKC", character)
            bare = "".join(c for c in unicodedata.normalize("NFKD", whole) if not unicodedata.combining(c))
            read = (bare if bare.isascii() else whole).casefold()[:_GROWTH]
        if len(self) < 8192:
            self[code] = read
        return read


_FOLDING = _Folding()


def readings(text: str) -> Readings:
    """The readings of a text; most texts have two or three different ones."""
    plain, raw = [_fold(text)], text
    for _ in range(_ROUNDS):
        opened = _unescape(raw)
        if opened == raw:
            break
        raw = opened
        plain.append(_fold(raw))
    plain += [_fold(hidden) for hidden in _encoded(text)]
    if "/*" in text:
        plain += [_uncommented(plain[0], ""), _uncommented(plain[0], " ")]
    joined = [reading for written in plain for reading in _joined(written)]
    spoken = [reading for written in plain for reading in _spoken(written)]
    return Readings(*(tuple(dict.fromkeys(kind)) for kind in (plain, joined, spoken)))


def mirrored(text: str) -> str:
    """The text read from its end."""
    return _fold(text)[::-1]


def _fold(text: str) -> str:
    """Lower case, one space between words, lines kept."""
    text = text.lower() if text.isascii() else text.translate(_FOLDING)
    if "\n" not in text:
        return " ".join(text.split())
    return "\n".join(" ".join(line.split()) for line in text.split("\n"))


def _unescape(text: str) -> str:
    if "%" in text:
        text = _OVERLONG.sub(lambda found: "." if found[0].lower().endswith("ae") else "/", text)
        text = _PERCENT.sub(lambda found: bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "replace"), text)
    if "&" in text:
        text = _ENTITY.sub(_entity, text)
    if "\\" in text:
        text = _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    return text


def _entity(found: re.Match[str]) -> str:
    if found[3]:
        return _NAMED.get(found[3].lower(), found[0])
    code = int(found[1]) if found[1] else int(found[2], 16)
    return chr(code) if 0 < code < 0x110000 else found[0]


def _encoded(text: str) -> list[str]:
    """What Base64 and hex tokens say, where that is text."""
    found = []
    for token in _BASE64.finditer(text):
        bare = token[0].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            found.append(base64.b64decode(bare + "=" * (-len(bare) % 4)))
        except binascii.Error:
            continue
    found += [bytes.fromhex(token[1][: len(token[1]) // 2 * 2]) for token in _HEX.finditer(text)]
    hidden = []
    for data in found:
        if data.isascii() and (said := data.decode()).replace("\n", " ").isprintable():
            hidden.append(said)
        elif data[1::2].count(0) * 2 >= len(data) - 1:  # UTF-16, as PowerShell takes it
            hidden.append(data[::2].decode("latin-1"))
    return hidden


def _uncommented(text: str, between: str) -> str:
    first, *rest = text.split("/*")
    return first + "".join(between + (after[after.find("*/") + 2 :] if "*/" in after else after) for after in rest)


def _joined(text: str) -> list[str]:
    whole = "".join(text.split())
    bare = text.translate({ord(c): None for c in "'\"\\^"}).replace("${ifs}", " ").replace("$ifs", " ")
    return [whole] if bare == text else [whole, bare]


def _spoken(text: str) -> list[str]:
    latin = text if text.isascii() else text.translate(_ALIKE)
    found = [text, latin]
    if "-" in latin:
        found.append(latin.replace("-", ""))  # hy-phen-ated
    letters = latin.translate(_DIGITS)
    if letters != latin:
        found.append(letters)
    if spelt := _spelt(letters):
        found.append(spelt)
    return found


def _spelt(text: str) -> str:
    """The text with single letters in a row made one word; "" when there are none."""
    words: list[str] = []
    run: list[str] = []
    has_run = False
    for word in [*_BREAKS.split(text), ""]:
        if len(word) == 1:
            run.append(word)
            continue
        if len(run) >= _SPELT_MIN:
            has_run = True
            words.append("".join(run))
        else:
            words += run
        run = []
        words.append(word)
    return " ".join(words).strip() if has_run else ""
