"""MAPI properties as TNEF lays them end to end (MS-OXTNEF, 2.1.3.4).

Rules of this file:
- A value is a span over the buffer; only counts, tags and lengths are read.
- Reading beyond the end gives nought, and `damaged` from then on; nothing raises.
- What costs time without yielding anything is paid for from an `Allowance`.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from ingest.mime.octets import give_back, mapped

PT_OBJECT = 0x000D
PT_STRING8 = 0x001E
PT_UNICODE = 0x001F
PT_BINARY = 0x0102

_FIXED_BYTES = {
    **dict.fromkeys((0x0000, 0x0001), 0),  # unspecified, null
    **dict.fromkeys((0x0002, 0x0003, 0x0004, 0x000A, 0x000B), 4),  # short and boolean are padded
    **dict.fromkeys((0x0005, 0x0006, 0x0007, 0x0014, 0x0040), 8),
    0x0048: 16,
}
_VARIABLE = frozenset({PT_OBJECT, PT_STRING8, PT_UNICODE, PT_BINARY})
_MANY = 0x1000  # flag of a multi-valued type
_NAMED = 0x8000  # the first identifier of named properties
_NAMED_BY_STRING = 1
_GUID_BYTES = 16
_U16, _U32 = Struct("<H"), Struct("<I")
_GIVE_BACK_BYTES = 1024 * 1024


class Allowance:
    """How many attributes, properties and values may be read, in all streams together.

    It sees where reading is, too, and gives the pages of a mapped file back behind it.
    """

    __slots__ = ("_left", "_mark", "_owner", "spent")

    def __init__(self, view: memoryview, entries: int) -> None:
        self._owner, self._mark, self._left, self.spent = mapped(view), 0, entries, False

    def take(self, at: int) -> bool:
        """Whether one more may be read, at this offset."""
        self.reading(at)
        self._left -= 1
        self.spent = self.spent or self._left < 0
        return not self.spent

    def reading(self, at: int) -> None:
        """Say where something is read: what lies behind is not needed."""
        if not 0 <= at - self._mark < _GIVE_BACK_BYTES:
            give_back(self._owner, self._mark, at)
            self._mark = at


class Cursor:
    """Reads little-endian numbers and spans, forward only, up to `end`."""

    __slots__ = ("_view", "at", "damaged", "end")

    def __init__(self, view: memoryview, start: int, end: int) -> None:
        self._view, self.at, self.end, self.damaged = view, start, end, False

    @property
    def left(self) -> int:
        """Octets that are left."""
        return self.end - self.at

    def u16(self) -> int:
        """An unsigned number of 2 octets."""
        start, end = self.span(2)
        return int(_U16.unpack_from(self._view, start)[0]) if end - start == _U16.size else 0

    def u32(self) -> int:
        """An unsigned number of 4 octets."""
        start, end = self.span(4)
        return int(_U32.unpack_from(self._view, start)[0]) if end - start == _U32.size else 0

    def span(self, length: int, *, padded: bool = False) -> tuple[int, int]:
        """The next `length` octets, clipped; with `padded`, what fills them up to a multiple of 4 is passed over."""
        start, here = self.at, self.left
        if length > here:
            self.damaged = True
            length = here
        self.at = min(start + length + (-length % 4 if padded else 0), self.end)
        return start, start + length


class Property(NamedTuple):
    """A property's identifier, its type, and the span of its value (the first, if there are several)."""

    identifier: int
    kind: int
    start: int
    end: int


def properties(cursor: Cursor, allowance: Allowance) -> Iterator[Property]:
    """The single-valued properties without a name, in order; the others are passed over.

    Ends early where the list is damaged (`cursor.damaged`) or too long (`allowance.spent`).
    """
    for _ in range(cursor.u32()):
        if cursor.damaged or not allowance.take(cursor.at):
            return
        kind, identifier = cursor.u16(), cursor.u16()
        if identifier >= _NAMED:
            _pass_name(cursor)
        many, kind = bool(kind & _MANY), kind & ~_MANY
        count = cursor.u32() if many or kind in _VARIABLE else 1
        if kind in _FIXED_BYTES:
            start, end = cursor.span(count * _FIXED_BYTES[kind])
        elif kind in _VARIABLE:
            start, end = _variable(cursor, count, allowance)
        else:
            cursor.damaged = True  # nobody knows where an unknown type ends
            return
        if not many and identifier < _NAMED:
            yield Property(identifier, kind, start, end)


def _pass_name(cursor: Cursor) -> None:
    """A set's GUID, then a number, or a string with its length."""
    cursor.span(_GUID_BYTES)
    if cursor.u32() == _NAMED_BY_STRING:
        cursor.span(cursor.u32(), padded=True)
    else:
        cursor.span(4)


def _variable(cursor: Cursor, count: int, allowance: Allowance) -> tuple[int, int]:
    """Values with a length before each; the span of the first."""
    first = cursor.at, cursor.at
    for index in range(count):
        if cursor.damaged or (index and not allowance.take(cursor.at)):
            break
        span = cursor.span(cursor.u32(), padded=True)
        if not index:
            first = span
    return first
