"""Finds multipart delimiter lines (RFC 2046, 5.1.1) in one pass over the buffer.

Rules of this file:
- A delimiter stands at a line's start, names an open boundary exactly, and may have white space behind it.
- Forward only: a position is never asked for twice, so the pass is linear however many boundaries are open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ingest.mime.deadline import Deadline
from ingest.mime.octets import CHUNK_BYTES, give_back, mapped, whole

_LOOKAHEAD_BYTES = 2
_WHITE_SPACE_BYTES = 64
_HOPS = 8
_CARRIAGE_RETURN = 13
_MISSES = 32  # so many lines that begin with "--" and name no boundary, and they are looked at by the window
_LINES_BYTES = 8 * 1024
_DASHED = re.compile(rb"\n--((?:[ \t\r]*+[^ \t\r\n]++)*+)")


class Delimiter(NamedTuple):
    """A delimiter line: end of the content before it, the LF before it, start of the next line, boundary."""

    content_end: int
    at: int
    next_line: int
    boundary: bytes
    closing: bool


class DelimiterScan:
    """Scans a view for delimiter lines of boundaries of at most `boundary_bytes`."""

    def __init__(self, view: memoryview, boundary_bytes: int, deadline: Deadline | None = None) -> None:
        self._view = whole(view)
        self._deadline = deadline
        self._owner = mapped(view)
        self._line_bytes = boundary_bytes + 2 + _WHITE_SPACE_BYTES
        self._window, self._base = b"", 0

    def next(self, at: int, end: int, boundaries: Mapping[bytes, object]) -> Delimiter | None:
        """The first delimiter line of any of these boundaries whose preceding LF lies in [at, end)."""
        misses, view = 0, self._view
        while boundaries:
            at = _line_start(view, at, end) if isinstance(view, bytes) else self._find(at, end)
            if at < 0:
                return None
            found = self._match(at, boundaries)
            if found:
                return found
            misses += 1
            if misses > _MISSES:
                return self._search(at + 1, end, boundaries)
            at += 1
        return None

    def _match(self, at: int, boundaries: Mapping[bytes, object]) -> Delimiter | None:
        """Whether the line after the LF at `at`, known to begin with "--", is a delimiter."""
        view, start = self._view, at + 3
        line = bytes(view[start : start + self._line_bytes])
        line_end = line.find(b"\n")
        next_line = start + line_end + 1
        if line_end < 0:
            if start + len(line) < len(view):
                return None
            line_end, next_line = len(line), len(view)
        name = line[:line_end].rstrip(b" \t\r")
        closing = False
        if name not in boundaries:
            name, closing = name[:-2], name.endswith(b"--")
            if not closing or name not in boundaries:
                return None
        content_end = at - 1 if at and view[at - 1] == _CARRIAGE_RETURN else at
        return Delimiter(content_end, at, next_line, name, closing)

    def _search(self, at: int, end: int, boundaries: Mapping[bytes, object]) -> Delimiter | None:
        """As `next`, many lines at a time: worth it only in text full of lines that begin with "--"."""
        names = {*boundaries, *(boundary + b"--" for boundary in boundaries)}
        while (at := self._find(at, end)) >= 0:
            if self._deadline:
                self._deadline.step()
            window = bytes(self._view[at : at + _LINES_BYTES])
            last = window.rfind(b"\n--")  # its line may go on beyond the window
            if not names.isdisjoint(_DASHED.findall(window, 0, last)):
                for line in _DASHED.finditer(window, 0, last):
                    found = self._match(at + line.start(), boundaries) if line[1] in names else None
                    if found:
                        return found if found.at < end else None
            found = self._match(at + last, boundaries)
            if found:
                return found if found.at < end else None
            at += last + 1
        return None

    def _find(self, at: int, end: int) -> int:
        """The first LF in [at, end) that "--" follows, or -1."""
        if isinstance(self._view, bytes):
            return _line_start(self._view, at, end)
        while at < end:
            if not self._base <= at < self._base + len(self._window) - _LOOKAHEAD_BYTES:
                if self._deadline:
                    self._deadline.step()
                give_back(self._owner, self._base, self._base + len(self._window))
                self._window, self._base = bytes(self._view[at : at + CHUNK_BYTES + _LOOKAHEAD_BYTES]), at
            found = _line_start(self._window, at - self._base, len(self._window))
            if found >= 0:
                return self._base + found if self._base + found < end else -1
            at = self._base + max(len(self._window) - _LOOKAHEAD_BYTES, 1)
        return -1


def _line_start(window: bytes, at: int, end: int) -> int:
    """The first LF in [at, end) that "--" follows, or -1. Base64 has no "-", so hopping between those is memchr."""
    for _ in range(_HOPS):
        dash = window.find(b"-", at + 1, end + 1)
        if dash < 0:
            return -1
        if window[dash - 1 : dash + 2] == b"\n--":
            return dash - 1
        at = dash
    return window.find(b"\n--", at, end + 2)
