"""Requests as they come: an access log is followed as `tail -F` does, a HAR file is read anew when it was written.

A log that was rotated or cut is opened again from its start; a last line without its end waits for the rest. A HAR file
that is no whole JSON just now, for somebody is writing it, is looked at again. Called by `opensesame watch`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import BadRequest
from train.imports import accesslog, har
from train.imports.formats import recognise
from train.imports.recording import Request

_POLL_S = 0.2


def follow(file: Path, *, from_start: bool, to_end: bool = False) -> Iterator[Request]:
    """The requests that come into `file`, and those it has `from_start`; for ever, unless `to_end` ends at its end.

    Raises:
        BadRequest: it cannot be read, or is neither a HAR file nor an access log.
    """
    if file.exists() and not file.stat().st_size:
        kind = "har" if file.suffix.lower() == ".har" else "access-log"
    else:
        kind = recognise(file)
    if kind == "har":
        yield from _har(file, from_start, to_end)
    elif kind == "access-log":
        yield from _log(file, from_start, to_end)
    else:
        other = f": it is {kind}, which 'opensesame import' reads" if kind else ""
        raise BadRequest(f"{file} is neither a HAR file nor an access log{other}.")


def _har(file: Path, from_start: bool, to_end: bool) -> Iterator[Request]:
    seen, written = 0, -1
    is_first = True
    while True:
        with contextlib.suppress(FileNotFoundError):
            now = file.stat().st_mtime_ns
            if now != written:
                try:
                    found = sorted(
                        (r for recording in har.read(file, Counter()) for r in recording.requests),
                        key=lambda r: r.call.ts or 0.0,
                    )
                except BadRequest:
                    if to_end:
                        raise
                else:
                    written = now
                    if is_first and not from_start:
                        seen = len(found)
                    is_first = False
                    yield from found[seen if len(found) >= seen else 0 :]  # fewer: another recording
                    seen = len(found)
        if to_end:
            return
        time.sleep(_POLL_S)


def _log(file: Path, from_start: bool, to_end: bool) -> Iterator[Request]:
    for number, line in enumerate(_lines(file, from_start, to_end), 1):
        request = accesslog.read_line(line, f"line {number}")
        if request is not None:
            yield request


def _lines(file: Path, from_start: bool, to_end: bool) -> Iterator[str]:
    while True:
        with file.open("rb") as log:
            if not from_start:
                log.seek(0, 2)
            from_start, rest = True, b""
            while True:
                rest += log.readline()
                if rest.endswith(b"\n") or (to_end and rest):
                    yield rest.decode("utf-8", "replace")
                    rest = b""
                    continue
                if to_end:
                    return
                if _is_other(file, log.fileno(), log.tell()):
                    break
                time.sleep(_POLL_S)
        while not file.exists():
            time.sleep(_POLL_S)


def _is_other(file: Path, opened: int, position: int) -> bool:
    """Another file has its name now, or it was cut."""
    try:
        now = file.stat()
    except FileNotFoundError:
        return False  # between two: what is written meanwhile still comes
    mine = os.fstat(opened)
    return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino) or now.st_size < position
