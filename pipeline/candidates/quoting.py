"""Texts of specs, users and models as quoted data, and how many tokens a text may take.

Used by all of `candidates` that writes prompts or reads replies.
"""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]+")
_WIDE = re.compile(r"[^\x00-\u02ff]")
_BRACKETS = re.compile(r"\[(/?[A-Z_]{3,20})\]")


def clean(text: str, limit: int) -> str:
    """`text` as quoted data: one line, no control characters, nothing that a chat template would read as its own."""
    text = _CONTROL.sub(" ", text[: 4 * limit]).replace("<", "‹").replace(">", "›")
    text = " ".join(_BRACKETS.sub(r"(\1)", text).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def estimate_tokens(text: str) -> int:
    """Tokens of a text, on the high side: an API's English takes 3 to 4 characters each, other scripts one."""
    wide = len(_WIDE.findall(text)) if not text.isascii() else 0
    return (len(text) - wide) // 3 + 2 * wide + 1
