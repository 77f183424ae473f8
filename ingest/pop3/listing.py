"""STAT, UIDL and LIST become one `Listing`. Pure.

Rules of this room:
- A listing that contradicts itself or passes a limit is a failed listing, never a shorter one.
- A message that only one of UIDL and LIST knows is listed all the same: what is listed must not be lost.
- Listings are long (20,000 lines are common) and their lines hostile: regular expressions take a chunk at a time, and
  never go back (possessive).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ingest.errors import ListingFailed
from ingest.models import Listing, MessageRef
from ingest.pop3.limits import SessionLimits

# RFC 1939, 5 and 7. Several spaces, no UIDL, and more words behind a size are seen in the field.
UIDL_LINE = re.compile(rb"^(\d{1,10}+)(?: ++([^\r\n]*+))?+\r\n", re.MULTILINE)
LIST_LINE = re.compile(rb"^(\d{1,10}+) ++(\d{1,18}+)(?: [^\r\n]*+)?+\r\n", re.MULTILINE)
_STAT = re.compile(rb"(\d{1,10}+)(?: ++(\d{1,18}+))?+(?: |$)")


class NumberedLines:
    """Collects the body of a UIDL or LIST reply: message number to what stands behind it.

    Args:
        name: UIDL or LIST, for the error.
        line: `UIDL_LINE` or `LIST_LINE`.
        limits: of the session.
    """

    def __init__(self, name: str, line: re.Pattern[bytes], limits: SessionLimits) -> None:
        self.found: dict[int, bytes] = {}
        self._name = name
        self._line = line
        self._limits = limits
        self._bytes = 0
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Take octets of the body; ListingFailed."""
        self._bytes += len(chunk)
        if self._bytes > self._limits.listing_bytes:
            raise self._failed(f"is longer than {self._limits.listing_bytes} octets")
        text = self._rest + chunk
        end = text.rfind(b"\r\n") + 2 if b"\r\n" in text else 0
        text, self._rest = text[:end], text[end:]
        if len(self._rest) > self._limits.status_line_bytes:
            raise self._failed("has an endless line")
        lines = self._line.findall(text)
        if len(lines) != text.count(b"\n"):
            raise self._failed("has a line that does not belong in it")
        count = len(self.found) + len(lines)
        if count > self._limits.listing_lines:
            raise self._failed(f"has more than {self._limits.listing_lines} lines")
        self.found.update((int(number), value) for number, value in lines)
        if len(self.found) != count:
            raise self._failed("has a message twice")

    def broke_off(self, why: str) -> ListingFailed:
        """The error for a body without its final dot."""
        return self._failed(f"broke off after {len(self.found)} lines: {why}")

    def _failed(self, how: str) -> ListingFailed:
        return ListingFailed(f"the reply to {self._name} {how}")


def read_stat(text: bytes) -> tuple[int, int | None]:
    """Messages and octets in the reply to STAT, None where it has no octets; ListingFailed."""
    stat = _STAT.match(text)
    if stat is None:
        raise ListingFailed("the reply to STAT has no count")
    return int(stat[1]), int(stat[2]) if stat[2] else None


def assemble(
    count: int,
    octets: int | None,
    uidls: Mapping[int, bytes] | None,
    sizes: Mapping[int, bytes],
    *,
    uidl_bytes: int,
) -> Listing:
    """Put the three together.

    Args:
        count: messages, as STAT said.
        octets: of all of them, as STAT said, if it did.
        uidls: UIDL by number; None where the server has no UIDL.
        sizes: decimal octets by number.
        uidl_bytes: a longer UIDL counts as none.
    """
    numbers = sorted(sizes if uidls is None else uidls.keys() | sizes.keys())
    agree = uidls is None or uidls.keys() == sizes.keys()
    uidl_of = (uidls or {}).get
    messages = []
    for number in numbers:
        uidl = uidl_of(number)
        messages.append(
            MessageRef(number, int(sizes.get(number, 0)), uidl if uidl and len(uidl) <= uidl_bytes else None)
        )
    return Listing(tuple(messages), complete=agree and count == len(messages), count=count, octets=octets)
