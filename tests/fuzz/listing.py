"""Target: UIDL and LIST bodies in chunks, beside a reading line by line.

An input is STAT's text, the chunks of UIDL, a piece that is ACT, and the chunks of LIST; without that piece there is no
UIDL.
"""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.score import ACT, pieces
from ingest.errors import ListingFailed
from ingest.models import MessageRef
from ingest.pop3.limits import SessionLimits
from ingest.pop3.listing import LIST_LINE, UIDL_LINE, NumberedLines, assemble, read_stat

_LIMITS = SessionLimits(status_line_bytes=40, listing_lines=12, listing_bytes=450, uidl_bytes=12)
_DIGITS = frozenset(b"0123456789")


def run(data: bytes) -> None:
    """One input."""
    stat, *chunks = pieces(data)
    at = chunks.index(ACT) if ACT in chunks else -1
    uidls = _collected("UIDL", chunks[: max(at, 0)])
    sizes = _collected("LIST", chunks[at + 1 :])
    announced = _stat(stat)
    if sizes is None or uidls is None or announced is None:
        return
    known = uidls if at >= 0 else None
    listing = assemble(*announced, known, sizes, uidl_bytes=_LIMITS.uidl_bytes)
    messages = []
    for number in sorted({*sizes, *(known or ())}):
        uidl = (known or {}).get(number)
        believed = uidl if uidl and len(uidl) <= _LIMITS.uidl_bytes else None
        messages.append(MessageRef(number, int(sizes.get(number, b"0")), believed))
    assert list(listing.messages) == messages
    agree = known is None or set(known) == set(sizes)
    assert listing.complete == (agree and len(messages) == announced[0])
    assert (listing.count, listing.octets) == announced


def _collected(name: str, chunks: Sequence[bytes]) -> dict[int, bytes] | None:
    expected = _read(name, b"".join(chunks))
    lines = NumberedLines(name, UIDL_LINE if name == "UIDL" else LIST_LINE, _LIMITS)
    try:
        for chunk in chunks:
            lines.feed(chunk)
            assert len(lines._rest) <= _LIMITS.status_line_bytes + 128
    except ListingFailed:
        assert expected is None
        return None
    assert lines.found == expected
    return expected


def _read(name: str, body: bytes) -> dict[int, bytes] | None:
    """Number to what stands behind it, None where the listing must fail."""
    if len(body) > _LIMITS.listing_bytes:
        return None
    *lines, rest = body.split(b"\r\n")
    if len(rest) > _LIMITS.status_line_bytes + 128:
        return None
    found: dict[int, bytes] = {}
    for line in lines:
        pair = _pair(line, sized=name == "LIST")
        if pair is None or pair[0] in found or len(found) == _LIMITS.listing_lines:
            return None
        found[pair[0]] = pair[1]
    return found


def _pair(line: bytes, *, sized: bool) -> tuple[int, bytes] | None:
    if b"\r" in line or b"\n" in line:
        return None
    number, blank, value = line.partition(b" ")
    if not _is_number(number, 10) or (sized and not blank):
        return None
    blanks = len(value) - len(value.lstrip(b" "))
    value = value[min(blanks, 63) :]  # 64 with the one that was taken
    more = value
    if sized:
        value, _, more = value.partition(b" ")
        if not _is_number(value, 18):
            return None
    return (int(number), value) if len(more) <= _LIMITS.status_line_bytes else None


def _is_number(text: bytes, digits: int) -> bool:
    return 0 < len(text) <= digits and set(text) <= _DIGITS


def _stat(text: bytes) -> tuple[int, int | None] | None:
    count, _, rest = text.partition(b" ")
    octets = rest.lstrip(b" ").partition(b" ")[0]
    expected = (int(count), int(octets) if _is_number(octets, 18) else None) if _is_number(count, 10) else None
    try:
        assert read_stat(text) == expected
    except ListingFailed:
        assert expected is None
    return expected
