"""Target: `read_message` over whole messages, and each attachment decoded.

What is checked: nothing raises; spans lie in the buffer; part numbers are unique and parents exist; all text can be
sent; limits hold; bytes and a read-only mapped file are read alike; where windows end changes nothing.
"""

from __future__ import annotations

import json
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from unittest.mock import patch

from ingest.mime import decoders, delimiters, octets
from ingest.mime.decoders import decoded
from ingest.mime.defects import DefectCode
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import ParsedMessage

LIMITS = MimeLimits()
TIGHT = MimeLimits(
    depth=3, nested_messages=2, parts=6, headers=4, header_bytes=60, header_block_bytes=300, all_headers_bytes=600,
    addresses=2, comment_depth=2, references=2, parameters=2, boundary_bytes=9, body_bytes=20, filename_bytes=16,
    filename_raw_bytes=20, charset_sample_bytes=64, defects=5,
)  # fmt: skip
_MESSAGES = {"message/rfc822", "message/global"}
_CODES = {code.value for code in DefectCode}
_MOST_CHUNK_BYTES = 256 * 1024
_WINDOW_BYTES = 7


def run(data: bytes) -> None:
    """One input."""
    for limits in (LIMITS, TIGHT):
        message = read_message(data, limits)
        check(data, message, limits)
        contents = [b"".join(_chunks(data, message, at)) for at in range(len(message.attachments))]
        with _small_windows():
            assert read_message(data, limits) == message
            assert [b"".join(_chunks(data, message, at)) for at in range(len(message.attachments))] == contents
    with _mapped(data) as buffer, _small_windows():
        assert read_message(buffer, limits) == message
        assert [b"".join(_chunks(buffer, message, at)) for at in range(len(message.attachments))] == contents


def check(data: bytes, message: ParsedMessage, limits: MimeLimits) -> None:
    """What holds of every message that was read."""
    json.dumps(asdict(message), ensure_ascii=False, default=str).encode()
    assert 0 <= message.header_end <= len(data)
    parts = {part.number: part for part in message.attachments}
    assert len(parts) == len(message.attachments) <= limits.parts + 1
    for part in parts.values():
        assert 0 <= part.start <= part.end <= len(data)
        assert part.content_type.count("/") == 1
        assert part.filename is None or 0 < len(part.filename.encode()) <= limits.filename_bytes
        assert part.filename_raw is None or len(part.filename_raw.encode()) <= limits.filename_raw_bytes
        if part.parent is not None:
            parent = parts[part.parent]
            assert parent.content_type in _MESSAGES
            assert part.number.startswith(parent.number + ".")
            assert parent.start <= part.start
            assert part.end <= parent.end
    for body in (message.text, message.html):
        assert body is None or (len(body.content.encode()) <= limits.body_bytes and "\0" not in body.content)
    assert len(message.defects) <= limits.defects
    assert {defect.code for defect in message.defects} <= _CODES
    assert all(defect.detail.isprintable() for defect in message.defects)


def _chunks(buffer: bytes | mmap.mmap, message: ParsedMessage, at: int) -> Iterator[bytes]:
    for chunk in decoded(buffer, message.attachments[at]):
        assert 0 < len(chunk) <= _MOST_CHUNK_BYTES
        yield chunk


@contextmanager
def _small_windows() -> Iterator[None]:
    """So that inputs cross many of their ends."""
    with (
        patch.object(octets, "CHUNK_BYTES", _WINDOW_BYTES),
        patch.object(decoders, "CHUNK_BYTES", _WINDOW_BYTES),
        patch.multiple(delimiters, CHUNK_BYTES=_WINDOW_BYTES, _MISSES=2, _LINES_BYTES=5 * _WINDOW_BYTES, _HOPS=1),
    ):
        yield


@contextmanager
def _mapped(data: bytes) -> Iterator[bytes | mmap.mmap]:
    if not data:  # nothing can't be mapped
        yield data
        return
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield buffer
