"""Descriptions as specs write them become one plain line.

HTML, Markdown and characters that nobody sees go, so that what people, word indexes, encoders and the generator
read is the same. Called by the readers of specs.
"""

from __future__ import annotations

import html
import re
from typing import Any

# C0, C1, soft hyphen, zero width, bidirectional overrides, interlinear and tag characters
INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]+"
)
# Keys and tokens that say by their form what they are; a spec's author may have left one in an example.
_CREDENTIAL = re.compile(
    r"\b(?:[prs]k_(?:live|test)_\w{10,}+|gh[oprsu]_\w{20,}+|github_pat_\w{20,}+|glpat-[\w-]{16,}+|npm_\w{30,}+"
    r"|xox[abeoprs]-[\w-]{10,}+|A(?:KIA|SIA)[A-Z0-9]{16}\b|AIza[\w-]{30,}+|ya29\.[\w-]{20,}+"
    r"|eyJ[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]*+)?)"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*+"
)
_CREDENTIAL_SIGNS = (
    "_live_",
    "_test_",
    "gh",
    "glpat-",
    "npm_",
    "xox",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "-----B",
)
_INLINE = re.compile(r"</?(?:a|abbr|b|code|em|i|kbd|small|span|strong|sub|sup|tt|u|var)(?:\s[^<>]*)?>", re.I)
_TAG = re.compile(r"<!--.*?(?:-->|\Z)|</?[a-zA-Z][^<>]*>", re.S)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\s[^()]*)?\)")
_NOTE = re.compile(r"\[!\w+\]\s*")
_MARKS = re.compile(r"```\w*|[`*]+|(?:^|(?<=\s))(?:#{1,6}|>|_{1,2})(?=\s|\w)|(?<=\w)_{1,2}(?=\s|$)")


def plain_text(text: str, size: int) -> str:
    """`text` on one line, without markup and invisible characters, cut to `size` at a word."""
    text = text[: 4 * size + 400]
    if "<" in text:
        text = _TAG.sub(" ", _INLINE.sub("", text))
    if "&" in text:
        text = html.unescape(text)
    if "](" in text:
        text = _LINK.sub(r"\1", text)
    if "[!" in text:
        text = _NOTE.sub("", text)
    text = without_credentials(text)
    text = " ".join(_MARKS.sub("", INVISIBLE.sub(" ", text)).split())
    if len(text) <= size:
        return text
    cut = text[: size - 1]
    return (cut[: cut.rfind(" ")] if " " in cut[size // 2 :] else cut).rstrip(" ,;:-") + "…"


def without_credentials(text: str) -> str:
    """The text with "…" for each key or token in it."""
    if any(sign in text for sign in _CREDENTIAL_SIGNS):
        return _CREDENTIAL.sub("…", text)
    return text


def label(value: Any, size: int) -> str:
    """A name, id or version as it is written, but for invisible characters, cut to `size`; "" for what is no text."""
    return INVISIBLE.sub("", value[: 2 * size])[:size].strip() if type(value) is str else ""


class Texts:
    """`plain_text` with the memory of one document: descriptions repeat."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], str] = {}

    def plain(self, value: Any, size: int) -> str:
        """The plain line of a text, "" for anything that is none."""
        if type(value) is not str or not value:
            return ""
        known = self._known.get((value, size))
        if known is None:
            known = self._known[value, size] = plain_text(value, size)
        return known
