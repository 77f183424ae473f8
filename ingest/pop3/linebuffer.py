"""Octets from a server, cut into status lines and into the unstuffed bodies of multi-line replies (RFC 1939, 3).

Rules of this room:
- Octets are received into one buffer, over and over. What `data` hands out is a view of it: it ends with the next call
  of `room`, `feed` or `data`, and whoever looks at it later gets a ValueError, not other octets.
- A status line ends in CRLF, a bare LF is tolerated, and it has a limit. A body ends in CRLF.CRLF and nothing else.
- A body is searched for dots, not split into lines: its lines may be of any length, and it passes in the chunks it
  came in. What is kept between two chunks is what could still turn out to be its end, two octets at most.
- A connection that only waits costs little: the buffer is small until a server fills it.
"""

from __future__ import annotations

from ingest.errors import ProtocolError

_END = b".\r\n"
_SMALL_BYTES = 8 * 1024
# More don't come at once (a socket's buffer starts at 128 KiB), and these stay in the processor's cache.
_LARGE_BYTES = 128 * 1024
# Handing out a chunk costs as much as copying this many octets without their dots.
_FAR_BYTES = 2048


class LineBuffer:
    """Octets go in through `room` and `filled`, or `feed`; they come out by `line` or, within a body, by `data`."""

    def __init__(self, status_line_bytes: int) -> None:
        self._status_line_bytes = status_line_bytes
        self._octets = bytearray(_SMALL_BYTES)
        self._view = memoryview(self._octets)
        self._at = self._end = 0
        self._lent = self._view[:0]
        self._line_start = True

    def __len__(self) -> int:
        return self._end - self._at

    def room(self) -> memoryview:
        """Where to receive next, at least half of the buffer; then say to `filled` how much it was."""
        self._lent.release()
        kept, size = self._octets[self._at : self._end], len(self._octets)
        full = self._end == size
        if len(kept) * 2 > size or (full and size < _LARGE_BYTES):
            self._octets = bytearray(2 * size)
            self._view = memoryview(self._octets)
        self._octets[: len(kept)] = kept
        self._at, self._end = 0, len(kept)
        return self._view[len(kept) :]

    def filled(self, count: int) -> None:
        """So many octets lie at the start of what `room` gave."""
        self._end += count

    def feed(self, data: bytes) -> None:
        """Take octets that lie elsewhere, however many: they are copied."""
        rest = memoryview(data)
        while rest:
            room = self.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.filled(count)
            rest = rest[count:]

    def line(self) -> bytes | None:
        """The next status line without its end, None while it is not whole; ProtocolError when it is too long.

        A body may follow: `data` starts at the beginning of a line.
        """
        most = self._status_line_bytes
        end = self._octets.find(b"\n", self._at, min(self._end, self._at + most + 1))
        if end < 0:
            if len(self) > most:
                raise ProtocolError(f"a status line of more than {most} octets")
            return None
        line = bytes(self._view[self._at : end])
        self._at = end + 1
        self._line_start = True
        return line.removesuffix(b"\r")

    def data(self) -> memoryview | None:
        """The next octets of a body, none once at its end, None while there is nothing to tell yet."""
        self._lent.release()
        octets, at, end = self._octets, self._at, self._end
        if self._line_start:
            head = octets[at : min(at + len(_END), end)]
            if _END.startswith(head):
                whole = len(head) == len(_END)
                self._at += len(head) if whole else 0
                return self._lend(self._view[:0]) if whole else None
            # Two dots or one: whatever starts a line and is not its end loses one (RFC 1939, 3).
            at += head.startswith(b".")
        # Base64 has no dots, and one octet is found tens of times faster than three.
        dot = octets.find(b".", at, end)
        dot = octets.find(b"\r\n.", max(at, dot - 2), end) if dot >= 0 else -1
        if dot < 0:
            stop = end - octets.endswith(b"\r", at, end)
            self._line_start = octets.endswith(b"\r\n", at, end)
            self._at = stop
            return self._lend(self._view[at:stop]) if stop > at else None
        self._line_start = True
        if dot - at >= _FAR_BYTES:
            self._at = dot + 2
            return self._lend(self._view[at : dot + 2])
        # Dots are dense here: all lines that are whole, at once.
        stop = octets.find(b"\r\n.\r\n", dot, end)
        self._at = 2 + (stop if stop >= 0 else octets.rfind(b"\r\n", dot, end))
        return self._lend(memoryview(bytes(self._view[at : self._at]).replace(b"\r\n.", b"\r\n")))

    def _lend(self, view: memoryview) -> memoryview:
        self._lent = view
        return view
