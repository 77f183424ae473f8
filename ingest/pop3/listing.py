"""STAT, UIDL and LIST become one `Listing`. Pure.

Rules of this room:
- A listing that contradicts itself or passes a limit is a failed listing, never a shorter one.
- A message that only one of UIDL and LIST knows is listed all the same: what is listed must not be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from ingest.errors import ListingFailed
from ingest.models import Listing, MessageRef
from ingest.pop3.limits import SessionLimits

T = TypeVar("T")
_NUMBER_DIGITS = 10
_SIZE_DIGITS = 18


class NumberedLines(Generic[T]):
    """Collects the body of a UIDL or LIST reply: message number to value.

    Args:
        name: UIDL or LIST, for the error.
        value: reads what stands behind the number; None refuses the line.
        limits: of the session.
    """

    def __init__(self, name: str, value: Callable[[bytes], T], limits: SessionLimits) -> None:
        self.found: dict[int, T] = {}
        self._name = name
        self._value = value
        self._limits = limits
        self._bytes = 0
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Take octets of the body; ListingFailed."""
        self._bytes += len(chunk)
        if self._bytes > self._limits.listing_bytes:
            raise self._failed(f"is longer than {self._limits.listing_bytes} octets")
        lines = (self._rest + chunk).split(b"\r\n")
        self._rest = lines.pop()
        if len(self._rest) > self._limits.status_line_bytes:
            raise self._failed("has an endless line")
        if len(self.found) + len(lines) > self._limits.listing_lines:
            raise self._failed(f"has more than {self._limits.listing_lines} lines")
        for line in lines:
            digits, _, rest = line.partition(b" ")
            if not digits.isdigit() or len(digits) > _NUMBER_DIGITS or b"\n" in rest or b"\r" in rest:
                raise self._failed("has a line that is not one of a listing")
            number = int(digits)
            if number in self.found:
                raise self._failed(f"has message {number} twice")
            try:
                self.found[number] = self._value(rest)
            except ValueError:
                raise self._failed(f"has nothing sensible for message {number}") from None

    def broke_off(self, why: str) -> ListingFailed:
        """The error for a body without its final dot."""
        return self._failed(f"broke off after {len(self.found)} lines: {why}")

    def _failed(self, how: str) -> ListingFailed:
        return ListingFailed(f"the reply to {self._name} {how}")


def size_of(rest: bytes) -> int:
    """Octets in a LIST line; servers may write more behind it (RFC 1939, 5)."""
    digits = rest.lstrip().partition(b" ")[0]
    if not digits.isdigit() or len(digits) > _SIZE_DIGITS:
        raise ValueError("no size")
    return int(digits)


def uidl_of(limits: SessionLimits) -> Callable[[bytes], bytes | None]:
    """Reads the UIDL in a UIDL line: None for none, or for one that is too long."""

    def value(rest: bytes) -> bytes | None:
        uidl = rest.lstrip(b" ")
        return uidl if 0 < len(uidl) <= limits.uidl_bytes else None

    return value


def count_in_stat(text: bytes) -> int:
    """Messages in the reply to STAT; ListingFailed."""
    digits = text.partition(b" ")[0]
    if not digits.isdigit() or len(digits) > _NUMBER_DIGITS:
        raise ListingFailed("the reply to STAT has no count")
    return int(digits)


def assemble(count: int, uidls: Mapping[int, bytes | None] | None, sizes: Mapping[int, int]) -> Listing:
    """Put the three together; `uidls` is None where the server has no UIDL."""
    if uidls is None:
        numbers, agree = sorted(sizes), True
        uidls = {}
    else:
        agree = uidls.keys() == sizes.keys()
        numbers = sorted(uidls.keys() | sizes.keys())
    messages = tuple(MessageRef(number, sizes.get(number, 0), uidls.get(number)) for number in numbers)
    return Listing(messages, complete=agree and count == len(messages))
