"""How a parameter wants a day written where its description shows it: YYYYMMDD, dd-mm-yyyy, "2017-JUL-31".

Called by `parameters`; days themselves are read by `days`, in ISO 8601.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

_PARTS = r"y{4}|m{2,3}|d{2}"
_SHOWN = re.compile(rf"(?i)(?<![\w%/-])({_PARTS})([-/.]?)({_PARTS})\2({_PARTS})(?![a-z]|[-/.][a-z])")
_EXAMPLE = re.compile(r"(?<![\w-])\d{4}-([A-Z]{3})-\d\d(?![\w-])")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Form(NamedTuple):
    """A way to write a day: its parts and what joins them."""

    parts: tuple[str, ...]  # yyyy | mm | mmm | dd
    mark: str
    is_upper: bool = False

    def write(self, value: str) -> str:
        """An ISO day, perhaps with a time, which is left out."""
        written = {"yyyy": value[:4], "mm": value[5:7], "mmm": _MONTHS[int(value[5:7]) - 1], "dd": value[8:10]}
        text = self.mark.join(written[part] for part in self.parts)
        return text.upper() if self.is_upper else text


@functools.lru_cache(maxsize=16384)
def form(description: str) -> Form | None:
    """The form that a description shows, None where it is ISO 8601 or shows none."""
    if (example := _EXAMPLE.search(description)) is not None and example[1].title() in _MONTHS:
        return Form(("yyyy", "mmm", "dd"), "-", True)
    shown = _SHOWN.search(description)
    if shown is None:
        return None
    parts = tuple(part.lower() for part in (shown[1], shown[3], shown[4]))
    if {part[0] for part in parts} != {"y", "m", "d"} or (parts == ("yyyy", "mm", "dd") and shown[2] == "-"):
        return None
    return Form(parts, shown[2])
