"""Octets from a server, cut into status lines and into the unstuffed bodies of multi-line replies (RFC 1939, 3).

Rules of this room:
- A status line ends in CRLF, a bare LF is tolerated, and it has a limit. A body ends in CRLF.CRLF and nothing else.
- A body is searched for dots, not split into lines: its lines may be of any length, and it passes in the chunks it
  came in. What is kept between two chunks is what could still turn out to be its end, three octets at most.
"""

from __future__ import annotations

from ingest.errors import ProtocolError

_END = b".\r\n"


class LineBuffer:
    """Take octets in with `feed`, take them out with `line` or, within a body, with `data`."""

    def __init__(self, status_line_bytes: int) -> None:
        self._status_line_bytes = status_line_bytes
        self._buffer = b""
        self._at = 0
        self._line_start = True

    def __len__(self) -> int:
        return len(self._buffer) - self._at

    def feed(self, data: bytes) -> None:
        self._buffer = self._buffer[self._at :] + data if len(self) else data
        self._at = 0

    def line(self) -> bytes | None:
        """The next status line without its end, None while it is not whole; ProtocolError when it is too long.

        A body may follow: `data` starts at the beginning of a line.
        """
        end = self._buffer.find(b"\n", self._at)
        length = len(self) if end < 0 else end - self._at
        if length > self._status_line_bytes:
            raise ProtocolError(f"a status line of more than {self._status_line_bytes} octets")
        if end < 0:
            return None
        line = self._buffer[self._at : end]
        self._at = end + 1
        self._line_start = True
        return line.removesuffix(b"\r")

    def data(self) -> bytes | None:
        """The next octets of a body, b"" once at its end, None while there is nothing to tell yet."""
        buffer, at = self._buffer, self._at
        if self._line_start:
            head = buffer[at : at + len(_END)]
            if head == _END:
                self._at = at + len(_END)
                return b""
            if _END.startswith(head):
                return None
            at += head.startswith(b".")
        # Base64 has no dots, and one octet is found tens of times faster than three.
        dot = buffer.find(b".", at)
        dot = buffer.find(b"\r\n.", max(at, dot - 2)) if dot >= 0 else -1
        stop = buffer.find(b"\r\n.\r\n", dot) if dot >= 0 else -1
        end = stop + 2 if stop >= 0 else self._undecided(at)
        chunk = buffer[at:end]
        self._at = end
        self._line_start = chunk.endswith(b"\r\n")
        if dot >= 0:
            # Two dots or one: whatever starts a line and is not its end loses one (RFC 1939, 3).
            chunk = chunk.replace(b"\r\n.", b"\r\n")
        return chunk or None

    def _undecided(self, at: int) -> int:
        """Where the octets begin that may be part of the end of the body, their CRLF itself excluded."""
        buffer = self._buffer
        for tail in (b"\r\n.\r", b"\r\n."):
            if buffer.endswith(tail, at):
                return len(buffer) - len(tail) + 2
        return len(buffer) - buffer.endswith(b"\r", at)
