"""A text part as the event carries it: decoded, cut, in Unicode.

Rules of this file:
- Cut at `body_bytes` of UTF-8 between two characters; line ends stay as sent.
"""

from __future__ import annotations

from ingest.mime.charsets import cut_utf8, decode_text
from ingest.mime.decoders import IDENTITY, damage, decoded_span
from ingest.mime.defects import DefectCode, DefectLog
from ingest.mime.limits import MimeLimits
from ingest.models import Body, Part

_OCTETS_A_CHARACTER = 4  # in no charset of mail does an octet of UTF-8 come from more than four
_SHRINKING = frozenset({"base64", "quoted-printable"})
_NUL = "\0"


def read_body(view: memoryview, part: Part, limits: MimeLimits, log: DefectLog) -> Body:
    """Decode a text part; what is wrong with it goes to `log`."""
    room = limits.body_bytes * _OCTETS_A_CHARACTER
    data, cut = _octets(view, part, room)
    if part.encoding not in IDENTITY:
        wrong = damage(bytes(view[part.start : min(part.end, part.start + room)]), part.encoding)
        if wrong:
            log.note(wrong, part.number)
    text, charset, defect = decode_text(data, part.charset, sample_bytes=limits.charset_sample_bytes, cut=cut)
    if defect:
        log.note(defect, part.number, part.charset or "")
    if _NUL in text:
        log.note(DefectCode.TEXT_CONTROL, part.number)
        text = text.replace(_NUL, "\N{REPLACEMENT CHARACTER}")
    text, shortened = cut_utf8(text, limits.body_bytes)
    return Body(text, truncated=cut or shortened, charset=charset)


def _octets(view: memoryview, part: Part, room: int) -> tuple[bytes, bool]:
    """At most `room` decoded octets, and whether there are more."""
    if part.encoding in IDENTITY and part.end - part.start <= room:
        return bytes(view[part.start : part.end]), False
    if part.encoding in _SHRINKING and part.end - part.start <= room:
        return b"".join(decoded_span(view, part.encoding, part.start, part.end)), False
    pieces: list[bytes] = []
    length = 0
    for piece in decoded_span(view, part.encoding, part.start, part.end):
        pieces.append(piece)
        length += len(piece)
        if length > room:
            return b"".join(pieces)[:room], True
    return b"".join(pieces), False
