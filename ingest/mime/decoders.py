"""A part's content, decoded, chunk by chunk and as often as wanted.

Rules of this file:
- Nothing holds more than a few chunks; pages of a mapped file are given back behind the reader.
- Nothing raises: damage is decoded around, and spans are clipped to the buffer.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator

from ingest.mime.defects import DefectCode
from ingest.mime.octets import CHUNK_BYTES, chunks, give_back, mapped, octets
from ingest.mime.rtf import ENCODING as COMPRESSED_RTF
from ingest.mime.rtf import rtf_chunks
from ingest.mime.transfer import (
    base64_chunks,
    base64_octets,
    begins_uuencode,
    quoted_printable_chunks,
    quoted_printable_octets,
    strict_base64,
    strict_quoted_printable,
    tolerant_base64,
    uuencode_chunks,
)
from ingest.models import Part

IDENTITY = frozenset({"", "7bit", "8bit", "binary"})
_DECODERS = {
    "base64": base64_chunks,
    "quoted-printable": quoted_printable_chunks,
    "x-uuencode": uuencode_chunks,
    "uuencode": uuencode_chunks,
    "x-uue": uuencode_chunks,
    "uue": uuencode_chunks,
    COMPRESSED_RTF: rtf_chunks,
}
_WHOLE = {"base64": base64_octets, "quoted-printable": quoted_printable_octets}
_WAYS = {
    "base64": (strict_base64, tolerant_base64),
    "quoted-printable": (strict_quoted_printable, quoted_printable_octets),
}
_DAMAGE = {
    "base64": (re.compile(rb"[^A-Za-z0-9+/=\s]|=[^=\s]|={3}"), DefectCode.BASE64_DAMAGED),
    "quoted-printable": (
        re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]{0,64}\r?\n|[ \t]{0,64}\Z)"),
        DefectCode.QUOTED_PRINTABLE_DAMAGED,
    ),
}


def known(encoding: str) -> bool:
    """Whether this Content-Transfer-Encoding (lower-case) is one of ours; content in others is taken as it is."""
    return encoding in IDENTITY or encoding in _DECODERS


def decoded(buffer: memoryview | bytes | mmap.mmap, part: Part) -> Iterator[bytes]:
    """The part's decoded octets in chunks of at most 256 KiB, none of them empty. Call again to read again."""
    return decoded_span(buffer, part.encoding, part.start, part.end)


def decoded_span(buffer: memoryview | bytes | mmap.mmap, encoding: str, start: int, end: int) -> Iterator[bytes]:
    """As `decoded`, for a span that is no `Part` yet."""
    if encoding in _WHOLE and end - start <= CHUNK_BYTES:
        with octets(buffer) as view:
            start, end = max(start, 0), max(end, 0)
            whole = _WHOLE[encoding](bytes(view[start:end]))
            give_back(mapped(view), start, min(end, len(view)))
        return iter((whole,) if whole else ())
    return _decoded_chunks(buffer, encoding, start, end)


def _decoded_chunks(buffer: memoryview | bytes | mmap.mmap, encoding: str, start: int, end: int) -> Iterator[bytes]:
    with octets(buffer) as view:
        raw: Iterable[bytes] = chunks(view, start, end)
        decoder = _DECODERS.get(encoding)
        if decoder is uuencode_chunks and not begins_uuencode(chunks(view, start, end)):
            decoder = None
        yield from filter(None, raw if decoder is None else decoder(raw))


def decoded_whole(data: bytes, encoding: str) -> tuple[bytes, DefectCode | None]:
    """Base64 or quoted-printable in one piece, as `decoded` in several, and what is wrong with it."""
    strict, tolerant = _WAYS[encoding]
    decoded = strict(data)
    return (tolerant(data), damage(data, encoding)) if decoded is None else (decoded, None)


def damage(raw: bytes, encoding: str) -> DefectCode | None:
    """What is wrong with this encoded content, if anything. Looks at all of it: for bodies, which are bounded."""
    if encoding in _DAMAGE:
        pattern, code = _DAMAGE[encoding]
        if pattern.search(raw):
            return code
    elif _DECODERS.get(encoding) is uuencode_chunks and not (b"begin " in raw and b"\nend" in raw):
        return DefectCode.UUENCODE_DAMAGED
    return None
