"""The message's buffer, read forward in bounded pieces.

Rules of this file:
- Bytes and mapped files read alike. Of a mapped file the pages behind the reader are given back, so that a message of
  150 MB is never resident as a whole; only where it is mapped read-only, since then nothing can be lost.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator

CHUNK_BYTES = 1679 * 78  # whole lines of nearly all base64, so that no piece of one has to wait; below malloc's mmap
_SEARCHED_BYTES = 1024 * 1024
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_EMPTY_LINE_BYTES = 3
_MAPPED_AROUND_BYTES = 2 * 1024 * 1024  # asked for one page, the kernel maps up to a huge page around it


def octets(buffer: memoryview | bytes | mmap.mmap) -> memoryview:
    """A view of single octets; a context manager, so that a mapped file can be closed afterwards."""
    view = memoryview(buffer)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def whole(view: memoryview) -> bytes | memoryview:
    """The bytes object that this view shows as a whole, quicker to search and to cut; else the view."""
    owner: object = view.obj
    return owner if type(owner) is bytes and len(owner) == view.nbytes else view


def mapped(view: memoryview) -> mmap.mmap | None:
    """The read-only mapped file that this view shows as a whole, if it is one."""
    owner: object = view.obj
    if not isinstance(owner, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED") or len(owner) != view.nbytes:
        return None
    with memoryview(owner) as whole:
        return owner if whole.readonly else None


def give_back(owner: mmap.mmap | None, start: int, end: int) -> None:
    """Drop the pages of a span from memory; reading them again fetches them again."""
    if owner is not None and end > start:
        first = max(0, start - _MAPPED_AROUND_BYTES)
        first -= first % mmap.PAGESIZE
        owner.madvise(mmap.MADV_DONTNEED, first, end - first)


def chunks(view: memoryview, start: int, end: int) -> Iterator[bytes]:
    """A span in chunks of `CHUNK_BYTES`; a span that reaches beyond the buffer is clipped."""
    start, end = max(start, 0), min(end, len(view))
    if end - start <= CHUNK_BYTES and not isinstance(view.obj, mmap.mmap):
        if start < end:
            yield bytes(view[start:end])
        return
    owner = mapped(view)
    for at in range(start, end, CHUNK_BYTES):
        yield bytes(view[at : min(at + CHUNK_BYTES, end)])
        give_back(owner, at, min(at + CHUNK_BYTES, end))


def forward(
    pattern: re.Pattern[bytes], view: memoryview | bytes, at: int, end: int, longest_bytes: int
) -> tuple[int, int] | None:
    """The span of the first match in [at, end) of a pattern whose matches take at most `longest_bytes`."""
    while at < end:
        searched = at + _SEARCHED_BYTES
        found = pattern.search(view, at, min(searched + longest_bytes - 1, end))
        if found:
            return found.span()
        give_back(mapped(view) if isinstance(view, memoryview) else None, at, min(searched, end))
        at = searched
    return None


def empty_line(view: memoryview | bytes, at: int) -> tuple[int, int] | None:
    """The span of the first empty line from `at` on, together with the LF before it."""
    if isinstance(view, bytes):
        found = _EMPTY_LINE.search(view, at)
        return found.span() if found else None
    return forward(_EMPTY_LINE, view, at, len(view), _EMPTY_LINE_BYTES)
