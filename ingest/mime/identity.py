"""The identity digest: what a message is, without what mail stores do to it.

Rules of this file:
- The field list is a contract: changing it changes every event id.
"""

from __future__ import annotations

import hashlib
import mmap
import re

from ingest.mime.octets import chunks, empty_line, forward, octets

_NAME = rb"(?i:status|x-status|x-uidl?|x-keywords|x-imap[^\s:]*+|content-length)[ \t]*+:"
_RUN = rb"(?:" + _NAME + rb"[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z))++"
_AT_START = re.compile(_RUN)
_MAYBE = re.compile(rb"\n[SsXxCc](?i:tatus|-status|-uid|-keywords|-imap|ontent-length)")
_MAYBE_BYTES = 16
_REWRITTEN = re.compile(rb"\n" + _RUN)


def identity_digest(buffer: memoryview | bytes | mmap.mmap, header_end: int, sha256: bytes) -> bytes:
    """SHA-256 of the message without the top header fields that mail stores rewrite, 32 octets.

    Those are Status, X-Status, X-UID, X-UIDL, X-Keywords, X-IMAP* and Content-Length, with their folded lines.

    Args:
        buffer: the whole message.
        header_end: the first octet after its header block.
        sha256: the digest of all octets; returned unchanged, without hashing again, if none of those fields is there.
    """
    with octets(buffer) as view:
        header_end = max(0, min(header_end, len(view)))
        spans = _spans(view, header_end)
        if not spans:
            return sha256
        digest, at = hashlib.sha256(), 0
        for start, end in [*spans, (len(view), len(view))]:
            for chunk in chunks(view, at, start):
                digest.update(chunk)
            at = end
        return digest.digest()


def unparsed_identity(buffer: memoryview | bytes | mmap.mmap, sha256: bytes) -> bytes:
    """The identity digest of a message that can't be parsed: its header block ends at the first empty line."""
    with octets(buffer) as view:
        found = empty_line(view, 0)
        return identity_digest(view, found[0] + 1 if found else len(view), sha256)


def stable_header(block: bytes) -> bytes:
    """A header block without the fields that mail stores rewrite."""
    kept, at = bytearray(), 0
    for start, end in [*_spans(memoryview(block), len(block)), (len(block), len(block))]:
        kept += block[at:start]
        at = end
    return bytes(kept)


def _spans(view: memoryview, header_end: int) -> list[tuple[int, int]]:
    """Where those fields stand. Headers are as long as senders like: pages are given back here, too."""
    first = _AT_START.match(view, 0, header_end)
    spans = [first.span()] if first else []
    at = first.end() - 1 if first else 0
    while maybe := forward(_MAYBE, view, at, header_end, _MAYBE_BYTES):
        found = _REWRITTEN.match(view, maybe[0], header_end)
        at = found.end() if found else maybe[1]
        if found:
            spans.append((found.start() + 1, at))
    return spans
