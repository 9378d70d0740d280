"""Which format a recording has, told from how it begins; each is a module with `looks_like` and `read`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import BadRequest
from train.imports import accesslog, har, jsonl, postman, spans
from train.imports.recording import Recording

_START = 1 << 16  # bytes looked at

READERS: dict[str, Callable[[Path, Counter[str]], Iterator[Recording]]] = {
    "jsonl": jsonl.read,
    "har": har.read,
    "access-log": accesslog.read,
    "postman": postman.read,
    "spans": spans.read,
}
_SIGNS = {  # in this order: the narrower ones first
    "postman": postman.looks_like,
    "spans": spans.looks_like,
    "jsonl": jsonl.looks_like,
    "har": har.looks_like,
    "access-log": accesslog.looks_like,
}
_SUFFIXES = {".jsonl": "jsonl", ".har": "har"}  # for a file that begins with a mistake


def recognise(file: Path) -> str:
    """The format of a file, '' where it has none that we know.

    Raises:
        BadRequest: it cannot be read, or is compressed.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(_START)
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror or error}.") from None
    if start.startswith(b"\x1f\x8b"):
        raise BadRequest(f"{file} is gzip-compressed: expand it first.")
    return next((name for name, sign in _SIGNS.items() if sign(start)), _SUFFIXES.get(file.suffix.lower(), ""))
