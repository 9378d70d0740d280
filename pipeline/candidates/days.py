"""Days and times of day as people write them, in ISO 8601: "31 May 2026", "tomorrow at 9am", "from 14:00 to 15:30".

Pure functions of texts; what is relative ("next Tuesday") needs to know what day it is. Used by `spans`.
"""

from __future__ import annotations

import datetime
import re

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sep sept",
            "october oct",
            "november nov",
            "december dec",
        ),
        1,
    )
    for name in names.split()
}
MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY = "|".join(WEEKDAYS)
_DAYS = {"today": 0, "yesterday": -1, "tomorrow": 1}
# Two days of a month; what a phrase may begin with is left to `spans`.
RANGE = rf"""\b\d{{1,2}}(?:st|nd|rd|th)?\ ?(?:-|–|to|until|till|and|through)\ ?\d{{1,2}}(?:st|nd|rd|th)?
          \ (?:of\ )?(?i:{MONTH})\.?,?\ \d{{4}}\b
        | \b(?i:{MONTH})\.?\ \d{{1,2}}\ ?(?:-|–|to|until|till|and|through)\ ?\d{{1,2}},?\ \d{{4}}\b"""
DATE = rf"""\b\d{{1,2}}\.\d{{1,2}}\.(?:19|20)\d\d\b
        | \b\d{{4}}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b
        | \b(?i:{MONTH})\.?\ \d{{1,2}}(?:st|nd|rd|th)?,?\ \d{{4}}\b
        | \b\d{{1,2}}(?:st|nd|rd|th)?\ (?:of\ )?(?i:{MONTH})\.?,?\ \d{{4}}\b
        | \b(?i:today|yesterday|tomorrow)\b
        | \b(?i:next|this|last)\ (?i:{_WEEKDAY})\b(?!['’-])
        | (?<=\bon\ )(?i:{_WEEKDAY})\b(?!['’-])"""
SPARK = rf"today|yesterday|tomorrow|{_WEEKDAY}"
_CLOCK = r"(?:\d{1,2}:\d\d ?(?:[ap]\.?m\b\.?)?|\d{1,2} ?[ap]\.?m\b\.?|noon\b|midnight\b)"
_TO = r" ?(?:-|–|to|until|till|and) ?"
_AFTER = re.compile(
    rf"(?i),? (?:at |@ ?|around |from |between )?({_CLOCK})(?:{_TO}({_CLOCK}))?(?![\w:])"
    rf"|,? (?:from |between )(\d{{1,2}}){_TO}({_CLOCK})(?![\w:])"
)
_BEFORE = re.compile(rf"(?i)(?:\b(?:at|from|between) |@ ?|(?<![\w:.]))({_CLOCK})(?:{_TO}({_CLOCK}))?(?:,? on)?,? $")
_BEFORE_MAX = 40  # characters in which a time stands before its day


def month_days(text: str) -> list[str]:
    """The two days of "9-12 May 2026", as ISO 8601 dates; none where they are no days of that month."""
    parts = re.findall(r"[a-z]+|\d+", text.lower())
    month = next((MONTHS[p] for p in parts if p in MONTHS), 0)
    *days, year = (int(p) for p in parts if p.isdigit())
    try:
        return [datetime.date(year, month, day).isoformat() for day in days]
    except ValueError:
        return []


def day(text: str, today: datetime.date | None) -> str | None:
    """The day in ISO 8601, with its time if it has one; None for what is no day."""
    lower = text.lower()
    try:
        if lower in _DAYS or lower.endswith("day"):
            return _relative(lower, today)
        if lower[:4].isdigit():
            datetime.date.fromisoformat(text[:10])
            return text.replace(" ", "T", 1)
        parts = re.findall(r"[a-z]+|\d+", lower)
        month = next((MONTHS[p] for p in parts if p in MONTHS), 0)
        digits = [int(p) for p in parts if p.isdigit()]
        month = month or digits[1]  # 12.04.1988: with dots the day comes first
        return datetime.date(digits[-1], month, digits[0]).isoformat()
    except (ValueError, OverflowError):
        return None


def _relative(text: str, today: datetime.date | None) -> str | None:
    """The day of "tomorrow" or "next Tuesday"; None where two days can be meant, as by "next Friday" on a Monday."""
    if today is None:
        return None
    which, _, weekday = text.rpartition(" ")
    if weekday in _DAYS:
        return (today + datetime.timedelta(days=_DAYS[weekday])).isoformat()
    ahead = (WEEKDAYS.index(weekday) - today.weekday()) % 7
    if which == "last":
        ahead = ahead - 7
    elif which == "next":
        if ahead > 0 and today.weekday() < WEEKDAYS.index(weekday):
            return None
        ahead = ahead or 7
    elif not ahead and not which:
        return None
    return (today + datetime.timedelta(days=ahead)).isoformat()


def times(prompt: str, start: int, end: int) -> tuple[list[str], int, int]:
    """The time or the two times beside the day at [start, end), as 15:30:00, and where day and times begin and end."""
    first, last = start, end
    if (found := _AFTER.match(prompt, end)) is not None:
        last = found.end()
    else:
        window = max(0, start - _BEFORE_MAX)
        if (found := _BEFORE.search(prompt[window:start])) is None:
            return [], start, end
        first = window + found.start()
    texts = [text.lower() for text in found.groups() if text]
    half = next((letter for letter in "ap" if letter + "m" in texts[-1].replace(".", "")), "")
    read = [time for text in texts if (time := _clock(text, half)) is not None]
    return (read, first, last) if len(read) == len(texts) else ([], start, end)


def _clock(text: str, half: str) -> str | None:
    """15:30:00 of "3:30 pm"; of "3" where the other end of the time is in that half of the day."""
    if text in ("noon", "midnight"):
        return "12:00:00" if text == "noon" else "00:00:00"
    plain = text.replace(".", "")
    hour, minute = (int(part) for part in ((*re.findall(r"\d+", plain), "0"))[:2])
    own = "a" if "am" in plain else "p" if "pm" in plain else half
    if own and 1 <= hour <= 12:
        hour = hour % 12 + 12 * (own == "p")
    return f"{hour:02}:{minute:02}:00" if hour < 24 and minute < 60 else None
