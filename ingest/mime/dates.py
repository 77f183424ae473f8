"""Dates in header fields (RFC 5322, 3.3 and 4.3).

Rules of this file:
- A date is timezone-aware or None. "-0000" and a missing zone are UTC.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_USUAL = re.compile(
    r"\s*+(?:[A-Za-z]{3},?\s*+)?(\d{1,2})\s++([A-Za-z]{3})\s++(\d{4})\s++(\d\d):(\d\d)(?::(\d\d))?"
    r"\s++(?:([+-]\d{4})|GMT|UTC|UT|Z)\s*+(?:\(.{0,100}\)\s*+)?",
    re.ASCII,
)
_DATE_CHARS = 200
_YEARS = range(1900, 9999)  # RFC 5322 forbids earlier ones; at the ends, arithmetic with zones overflows


def parse_date(value: str) -> datetime | None:
    """The point in time a Date field names, or None if it is none."""
    usual = _USUAL.fullmatch(value[:_DATE_CHARS])
    try:
        if usual is None:
            found = parsedate_to_datetime(value[:_DATE_CHARS])
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
