"""Sessions of access logs in common or combined format, as Apache, nginx and others write them.

A user is who the log names, else a client address (told apart by a hash, never kept); a silence of
half an hour ends a session. Lines that are none are counted: every public server's log has some.
https://httpd.apache.org/docs/2.4/logs.html
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import BadRequest
from train.imports.recording import Recording, Request, by_gap, request_of

_LINE_MAX = 1 << 16  # characters
_LINE = re.compile(
    r"(?:(?P<vhost>[^\s\[\"]{1,255}) (?=[^\s\[\"]+ [^\s\[\"]+ [^\[\"]{1,256} \[))?"  # %v:%p of vhost_combined
    r"(?P<client>[^\s\[\"]{1,255}) (?P<ident>[^\s\[\"]{1,256}) (?P<user>[^\[\"]{1,256}) "
    r"\[(?P<time>[^\]]{1,40})\] \"(?P<request>(?:[^\"\\]|\\.)*)\" (?P<status>\d{3}|-)(?:\s|$)"
)
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_TIME = re.compile(r"(\d{1,2})/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d)(?: ([+-])(\d\d)(\d\d))?")


def looks_like(start: bytes) -> bool:
    """Whether a file that begins so is an access log: one of its first lines is a line of one."""
    lines = start.decode("utf-8", "replace").splitlines()[:20]
    return any(_LINE.match(line) for line in lines)


def read(file: Path, skipped: Counter[str]) -> Iterator[Recording]:
    """The sessions of an access log.

    Raises:
        BadRequest: no line of it is one of an access log.
    """
    yield from by_gap(_requests(file, skipped))


def _requests(file: Path, skipped: Counter[str]) -> Iterator[Request]:
    found = lines = 0
    with file.open(encoding="utf-8", errors="replace") as log:
        for number, line in enumerate(log, 1):
            if not line.strip():
                continue
            lines += 1
            written = _LINE.match(line[:_LINE_MAX])
            if written is None:
                skipped["not a line of an access log"] += 1
                continue
            found += 1
            request = _request(written, f"line {number}")
            if request is None:
                skipped["not an HTTP request"] += 1
            else:
                yield request
    if lines and not found:
        raise BadRequest(f"{file.name}: no line is one of an access log in common or combined format.")


def read_line(line: str, where: str = "") -> Request | None:
    """The request of one line; None where it tells of none."""
    found = _LINE.match(line[:_LINE_MAX])
    return None if found is None else _request(found, where)


def _request(found: re.Match[str], where: str) -> Request | None:
    words = found["request"].split(" ")
    if len(words) not in (2, 3):
        return None
    named = next((name for name in (found["user"].strip(), found["ident"]) if name not in ("-", "", '""')), None)
    return request_of(
        words[0],
        words[1].replace('\\"', '"'),
        ts=_seconds(found["time"]),
        status=found["status"],
        where=where,
        user=hashlib.blake2b((named or "client " + found["client"]).encode(), digest_size=8).hexdigest(),
    )


def _seconds(text: str) -> float | None:
    """Seconds since the epoch of `10/Oct/2000:13:55:36 -0700`; month names are English whatever the locale."""
    found = _TIME.fullmatch(text.strip())
    if found is None or found[2] not in _MONTHS:
        return None
    month = _MONTHS.index(found[2]) // 4 + 1
    day, year, hour, minute, second = (int(found[i]) for i in (1, 3, 4, 5, 6))
    try:
        zone = datetime.timedelta(hours=int(found[8] or 0), minutes=int(found[9] or 0))
        zone = -zone if found[7] == "-" else zone
        moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.timezone(zone))
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
