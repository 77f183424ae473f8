"""Dates in header fields (RFC 5322, 3.3 and 4.3).

Rules of this file:
- A date is timezone-aware or None. "-0000", a missing zone and letters that name no zone of RFC 5322 are UTC.
- Tolerated: comments anywhere, ISO 8601, "+01:00", "GMT+0100", fractions of a second, AM and PM, 24:00, second 60.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_USUAL = re.compile(
    r"\s*+(?:[A-Za-z]{3},?\s*+)?(\d{1,2})\s++([A-Za-z]{3})\s++(\d{4})\s++([01]\d|2[0-3]):(\d\d)(?::(\d\d))?"
    r"\s++(?:([+-]\d{4})|GMT|UTC|UT|Z)\s*+(?:\(.{0,100}\)\s*+)?",
    re.ASCII,
)
_COMMENT = re.compile(r"\([^()]*+\)")
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T\s]\s*+(\d\d:\d\d(?::\d\d)?)(?:[.,]\d++)?\s*+(Z|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE
)
_OFFSET = re.compile(r"\s*+(?:\b(?:GMT|UTC|UT))?\s*+([+-]\d\d):?(\d\d)\b", re.ASCII | re.IGNORECASE)
_TIME = re.compile(
    r"\b(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d++)?)?(?!\d|:)(?:\s*+([ap])\.?m\b\.?)?", re.ASCII | re.IGNORECASE
)
_NOON, _MIDNIGHT = 12, 24
_DATE_CHARS = 200
_YEARS = range(1900, 9999)  # RFC 5322 forbids earlier ones; at the ends, arithmetic with zones overflows


def parse_date(value: str) -> datetime | None:
    """The point in time a Date field names, or None if it is none."""
    usual = _USUAL.fullmatch(value[:_DATE_CHARS])
    try:
        if usual is None:
            found = _odd_date(value[:_DATE_CHARS])
        else:
            day, month, year, hour, minute, second, zone = usual.groups()
            found = datetime(
                int(year), _MONTHS.index(month.lower()) + 1, int(day), int(hour), int(minute),
                min(int(second or 0), 59), tzinfo=_zone(zone) if zone else UTC,  # a leap second is the second before
            )  # fmt: skip
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
        return None  # email.utils raises each of these on some nonsense
    if found.year not in _YEARS:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@functools.lru_cache(maxsize=64)
def _zone(digits: str) -> timezone:
    """The zone of "+hhmm"; ValueError for one of a day and more."""
    offset = timedelta(hours=int(digits[1:3]), minutes=int(digits[3:]))
    if not offset:
        return UTC
    return timezone(-offset if digits[0] == "-" else offset)


def _odd_date(value: str) -> datetime:
    """A date in a form of RFC 5322, 4.3, or of none; many errors for nonsense."""
    value = _COMMENT.sub(" ", value).strip()
    if iso := _ISO.fullmatch(value):
        return datetime.fromisoformat(f"{iso[1]}T{iso[2]}{(iso[3] or 'Z').upper()}")
    days = timedelta(0)
    if time := _TIME.search(value):
        hour, second, half = int(time[1]), min(int(time[3] or 0), 59), time[4]
        if half and 0 < hour <= _NOON:
            hour = hour % _NOON + (_NOON if half in "pP" else 0)
        elif hour == _MIDNIGHT and int(time[2]) == int(time[3] or 0) == 0:
            hour, days = 0, timedelta(days=1)
        zone = _OFFSET.sub(r" \1\2", value[time.end() :], count=1)
        value = f"{value[: time.start()]}{hour:02}:{time[2]}:{second:02}{zone}"
    return parsedate_to_datetime(value) + days
