"""Whether a text is of the form that a parameter's schema asks for: a UUID, a day, an address, its pattern, its length.

Pure. A form that is not known here takes every text: of formats there are more than any list has (JSON Schema, 7.2).
Called by `fitting`.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import math
import re
from collections.abc import Callable

from pipeline.types import Parameter

_MATCHED_MAX = 64  # characters of a text that is held against a pattern, which may be slow on long ones
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
_EMAIL = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,190}")
_URI = re.compile(r"(?i)[a-z][a-z0-9+.-]{0,30}:\S+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:[Zz]|[+-]\d\d:?\d\d)?")


def is_asked(parameter: Parameter) -> bool:
    """Whether the schema asks anything of a text but to be one."""
    return bool(parameter.format or parameter.pattern or parameter.min_length or parameter.max_length is not None)


def takes(text: str, parameter: Parameter) -> bool:
    """Whether a text has the format, the pattern and the length that the parameter's schema gives."""
    longest = math.inf if parameter.max_length is None else parameter.max_length
    if parameter.type == "string" and not parameter.min_length <= len(text) <= longest:
        return False
    if parameter.pattern and len(text) <= _MATCHED_MAX and _compiled(parameter.pattern).search(text) is None:
        return False
    known = _FORMS.get(parameter.format.lower())
    return known is None or known(text)


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def _is_day(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def _is_address(version: int) -> Callable[[str], bool]:
    def is_address(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return is_address


_FORMS: dict[str, Callable[[str], bool]] = {
    "uuid": lambda text: _UUID.fullmatch(text) is not None,
    "guid": lambda text: _UUID.fullmatch(text) is not None,
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "uri": lambda text: _URI.fullmatch(text) is not None,
    "url": lambda text: _URI.fullmatch(text) is not None,
    "date": _is_day,
    "date-time": lambda text: _MOMENT.fullmatch(text) is not None and _is_day(text[:10]),
    "ipv4": _is_address(4),
    "ipv6": _is_address(6),
}
