"""The octets of a message as a store hands them over: its own, or touched on the way.

Rules of this room:
- Pure. Whole lines in, whole lines out, ended by CRLF; how they travel is `replies`' matter.
"""

from __future__ import annotations

import re

from ingest.simulator.behaviour import Behaviour, Utf8

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


def handed_over(octets: bytes, behaviour: Behaviour, *, session: int, utf8: bool) -> bytes:
    """A message as RETR and TOP have it.

    Args:
        octets: as it lies in the maildrop.
        behaviour: of the session.
        session: the how many-th of the user it is.
        utf8: whether the client asked for UTF8 (RFC 6856).
    """
    if behaviour.utf8 is Utf8.NEEDED and not utf8:
        octets = _NOT_ASCII.sub(b"?", octets)
    if behaviour.headers_change:
        octets = b"Status: %s\r\nX-UIDL: %d-of-this-store\r\n" % (b"RO" if session > 1 else b"O", session) + octets
    if behaviour.dots_everywhere:
        head, empty_line, body = octets.partition(b"\r\n\r\n")
        body = b"".join(b"." + line for line in body.splitlines(keepends=True))
        octets = head + empty_line + body
    return octets


def top(octets: bytes, count: int) -> bytes:
    """The header, the empty line behind it, and so many lines of the body (RFC 1939, 7)."""
    at = 0 if octets.startswith(b"\r\n") else octets.find(b"\r\n\r\n") + 2
    if at == 1:  # no empty line: all of it is header
        return octets
    end = at + 2
    for _ in range(count):
        line_end = octets.find(b"\r\n", end)
        if line_end < 0:
            break
        end = line_end + 2
    return octets[:end]
