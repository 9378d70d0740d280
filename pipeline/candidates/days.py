"""Days and times of day as people write them, in ISO 8601: "31 May 2026", "tomorrow at 9am", "from 14:00 to 15:30".

Pure functions of texts; what is relative ("next Tuesday") needs to know what day it is. Used by `spans`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

from pipeline.types import Call

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
_DAYS = {"today": 0, "tonight": 0, "yesterday": -1, "tomorrow": 1}
_TWO_DAYS = {"the day before yesterday": -2, "the day after tomorrow": 2}
_COUNTS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "ten": 10}
_SPANS = {"day": 1, "week": 7}
# A month where no year says that it is none: "may 2 people" join, "march 5 miles" are walked.
_SURE = rf"(?i:{'|'.join(sorted(set(MONTHS) - {'may', 'march', 'mar'}, key=len, reverse=True))})|May|March|Mar"
_NO_YEAR = r"(?!\w|[.:,/]?\d|,?\ \d{4}\b|\ ?%)"
# Two days of a month; what a phrase may begin with is left to `spans`.
RANGE = rf"""\b\d{{1,2}}(?:st|nd|rd|th)?\ ?(?:-|–|to|until|till|and|through)\ ?\d{{1,2}}(?:st|nd|rd|th)?
          \ (?:of\ )?(?:(?i:{MONTH})\.?,?\ \d{{4}}\b|(?:{_SURE})\b)
        | \b(?i:{MONTH})\.?\ \d{{1,2}}\ ?(?:-|–|to|until|till|and|through)\ ?\d{{1,2}},?\ \d{{4}}\b
        | \b(?:{_SURE})\.?\ \d{{1,2}}\ ?(?:-|–|to|until|till|and|through)\ ?\d{{1,2}}{_NO_YEAR}"""
DATE = rf"""\b\d{{1,2}}\.\d{{1,2}}\.(?:19|20)\d\d\b
        | \b\d{{4}}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b
        | \b(?i:{MONTH})\.?\ \d{{1,2}}(?:st|nd|rd|th)?,?\ \d{{4}}\b
        | \b\d{{1,2}}(?:st|nd|rd|th)?\ (?:of\ )?(?i:{MONTH})\.?,?\ \d{{4}}\b
        | \b(?:{_SURE})\.?\ (?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?{_NO_YEAR}
        | (?<![\w.,:/])(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\ (?:of\ )?(?:{_SURE})\b(?!['’-])
        | \b(?i:the\ day\ (?:after\ tomorrow|before\ yesterday)|today|tonight|yesterday|tomorrow)\b
        | \b(?i:next\ week\ (?:on\ )?(?:{_WEEKDAY})|(?:{_WEEKDAY})\ next\ week)\b
        | \b(?i:next|this|last)\ (?i:{_WEEKDAY})\b(?!['’-])
        | (?:(?<=\b[Oo]n\ )|(?<=\b[Bb]y\ )|(?<=\bfor\ )|(?<=\bdue\ )|(?<=\buntil\ )|(?<=\b[Ss]ince\ ))
          (?i:{_WEEKDAY})\b(?!['’-])
        | \b(?i:in\ (?:{"|".join(_COUNTS)}|\d{{1,2}})\ (?:day|week)s?)(?:'\ time)?\b
        | \b(?i:(?:{"|".join(_COUNTS)}|\d{{1,3}})\ (?:day|week)s?\ ago)\b"""
SPARK = rf"to(?:day|night)|yesterday|tomorrow|\bin\ (?:{'|'.join(_COUNTS)})\ |\ ago\b|{_WEEKDAY}"
_CLOCK = r"(?:\d{1,2}:\d\d ?(?:[ap]\.?m\b\.?)?|\d{1,2} ?[ap]\.?m\b\.?|noon\b|midnight\b)"
_TO = r" ?(?:-|–|to|until|till|and) ?"
_TIME = re.compile(
    rf"(?i)(?<![\w:-]){_CLOCK}(?![\w:])|(?<![\w:])\d{{1,2}} ?(?:h|o'clock)\b|\bin the (?:morning|afternoon|evening)\b"
    r"|\b(?:at|until|from|by) (?:one|two|three|four|five|six|seven|eight|nine|ten|eleven)\b"
)
_AFTER = re.compile(
    rf"(?i),? (?:at |@ ?|around |from |between )?({_CLOCK})(?:{_TO}({_CLOCK}))?(?![\w:])"
    rf"|,? (?:from |between )(\d{{1,2}}){_TO}({_CLOCK})(?![\w:])"
)
_BEFORE = re.compile(rf"(?i)(?:\b(?:at|from|between) |@ ?|(?<![\w:.]))({_CLOCK})(?:{_TO}({_CLOCK}))?(?:,? on)?,? $")
_YEARS = re.compile(rf"(?i)\b(20\d\d)-\d\d-\d\d|\d\.(20\d\d)\b|\b(?:{MONTH})\b[\w,. ]{{0,6}} (20\d\d)\b")
JOINED = re.compile(r"(?i)[\w.]+ [\w.]+(?:,? \d{4})? ?(?:-|–|to|until|till|through) ?|\d{4}-\d\d-\d\d ?[-–] ?")
_BORN = re.compile(r"(?i)\b(?:born|birth\w*|dob)\b")
_BEFORE_MAX = 40  # characters in which a time stands before its day


def today(calls: Sequence[Call], asked: datetime.date | None) -> datetime.date | None:
    """The day of the latest call that says when it was, else the one `asked` on; None where nobody knows."""
    made = next((call.ts for call in reversed(calls) if call.ts is not None), None)
    if made is not None:
        return datetime.datetime.fromtimestamp(made, datetime.UTC).date()
    return asked


def year(prompt: str) -> int:
    """The only year of a prompt's days, for those without one: "not on 2 July 2026 but on 9 July"; 0 without one.

    A birthday's says nothing of other days.
    """
    found = {"".join(groups) for groups in _YEARS.findall(prompt)}
    return int(found.pop()) if len(found) == 1 and _BORN.search(prompt) is None else 0


def month_days(text: str, today: datetime.date | None = None, year: int = 0) -> list[str]:
    """The two days of "9-12 May 2026", as ISO 8601 dates; none where they are no days of that month.

    Without a year those of `year`, else the next such days.
    """
    numbers = [*re.findall(r"\d+", text), *([str(year)] if year else [])]
    if len(numbers) >= 3:
        return [day for number in numbers[:2] if (day := _written(int(number), text, int(numbers[2])))]
    if today is None:
        return []
    last = _ahead(int(numbers[1]), text, today)
    first = _written(int(numbers[0]), text, int(last[:4])) if last else None
    return [first, last] if first and last else []


def day(text: str, today: datetime.date | None, year: int = 0) -> str | None:
    """The day in ISO 8601, with its time if it has one; None for what is no day.

    Without a year that of `year`, else the next such day.
    """
    lower = text.lower()
    numbers = re.findall(r"\d+", lower)
    try:
        if lower[:4].isdigit():
            datetime.date.fromisoformat(text[:10])
            return text.replace(" ", "T", 1)
        if lower.endswith(("day", "night", "tomorrow", "days", "week", "weeks", "time", "ago")):
            return _relative(lower, today)
        if len(numbers) == 3:  # 12.04.1988: with dots the day comes first
            return datetime.date(int(numbers[2]), int(numbers[1]), int(numbers[0])).isoformat()
        if len(numbers) == 2:
            return _written(int(numbers[0]), lower, int(numbers[1]))
        if year:
            return _written(int(numbers[0]), lower, year)
        return _ahead(int(numbers[0]), lower, today) if today is not None else None
    except (ValueError, OverflowError):
        return None


def past(text: str, value: str, today: datetime.date | None, year: int = 0) -> str:
    """The last such day where nothing says the year or the week, so that `value`, the next one, may not be meant."""
    lower = text.lower()
    if today is None or year or value[:10] == today.isoformat():
        return ""
    if lower in WEEKDAYS:
        return (datetime.date.fromisoformat(value[:10]) - datetime.timedelta(days=7)).isoformat()
    if lower.endswith("week") or lower[:1] == "i" or _month(lower) == 0 or re.search(r"\d{4}", lower):
        return ""
    return _written(int(value[8:10]), lower, int(value[:4]) - 1) or ""


def says_time(prompt: str) -> bool:
    """Whether a time of the day is said, in digits or in words."""
    return _TIME.search(prompt) is not None


def is_short(text: str) -> bool:
    """Whether a day of a month stands without its year."""
    return bool(_month(text)) and re.search(r"\d{4}", text) is None


def _month(text: str) -> int:
    return next((MONTHS[part] for part in re.findall(r"[a-z]+", text.lower()) if part in MONTHS), 0)


def _written(number: int, text: str, year: int) -> str | None:
    """That day of the month which a text names, None where there is none."""
    try:
        return datetime.date(year, _month(text), number).isoformat()
    except ValueError:
        return None


def _ahead(number: int, text: str, today: datetime.date) -> str | None:
    """The next such day from today on; one in February may be four years away."""
    found = (_written(number, text, today.year + more) for more in range(5))
    return next((day for day in found if day and day >= today.isoformat()), None)


def _relative(text: str, today: datetime.date | None) -> str | None:
    """The day of "tomorrow" or "next Tuesday"; None where two days can be meant, as by "next Friday" on a Monday."""
    if today is None:
        return None
    if text in _TWO_DAYS or text in _DAYS:
        return (today + datetime.timedelta(days=(_TWO_DAYS | _DAYS)[text])).isoformat()
    words = text.replace("'", " ").split()
    if words[-1] == "ago" or words[0] == "in":
        count, unit = words[:2] if words[-1] == "ago" else words[1:3]
        ahead = (int(count) if count.isdigit() else _COUNTS[count]) * _SPANS[unit.rstrip("s")]
        return (today + datetime.timedelta(days=-ahead if words[-1] == "ago" else ahead)).isoformat()
    weekday = next(word for word in words if word in WEEKDAYS)
    ahead = (WEEKDAYS.index(weekday) - today.weekday()) % 7
    if "week" in words:
        ahead = WEEKDAYS.index(weekday) - today.weekday() + 7
    elif words[0] == "last":
        ahead = ahead - 7
    elif words[0] == "next":
        if ahead > 0 and today.weekday() < WEEKDAYS.index(weekday):
            return None
        ahead = ahead or 7
    elif not ahead and len(words) == 1:
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
