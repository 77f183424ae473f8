"""A text part as the event carries it: decoded, cut, in Unicode.

Rules of this file:
- Cut at `body_bytes` of UTF-8 between two characters; line ends stay as sent.
"""

from __future__ import annotations

from ingest.mime.charsets import cut_utf8, decode_text
from ingest.mime.decoders import IDENTITY, damage, decoded_span, decoded_whole
from ingest.mime.defects import DefectCode, DefectLog
from ingest.mime.limits import MimeLimits
from ingest.mime.structure import Leaf
from ingest.models import Body

_OCTETS_A_CHARACTER = 4  # in no charset of mail does an octet of UTF-8 come from more than four
_SHRINKING = frozenset({"base64", "quoted-printable"})
_NUL = "\0"


def read_body(view: memoryview, leaf: Leaf, limits: MimeLimits, log: DefectLog) -> Body:
    """Decode a text part; what is wrong with it goes to `log`."""
    encoding, declared = leaf.header.encoding, leaf.header.charset
    room = limits.body_bytes * _OCTETS_A_CHARACTER
    raw = bytes(view[leaf.start : min(leaf.end, leaf.start + room)])
    wrong, data, cut = None, raw, False
    if leaf.end - leaf.start <= room and encoding in _SHRINKING:
        data, wrong = decoded_whole(raw, encoding)
    elif leaf.end - leaf.start > room or encoding not in IDENTITY:
        data, cut = _beginning(view, leaf, room)
        wrong = damage(raw, encoding)
    if wrong:
        log.note(wrong, leaf.number)
    text, charset, defect = decode_text(data, declared, sample_bytes=limits.charset_sample_bytes, cut=cut)
    if defect:
        log.note(defect, leaf.number, declared or "")
    if _NUL in text:
        log.note(DefectCode.TEXT_CONTROL, leaf.number)
        text = text.replace(_NUL, "\N{REPLACEMENT CHARACTER}")
    text, shortened = cut_utf8(text, limits.body_bytes)
    return Body(text, cut or shortened, charset)


def _beginning(view: memoryview, leaf: Leaf, room: int) -> tuple[bytes, bool]:
    """At most `room` decoded octets, and whether there are more."""
    pieces: list[bytes] = []
    length = 0
    for piece in decoded_span(view, leaf.header.encoding, leaf.start, leaf.end):
        pieces.append(piece)
        length += len(piece)
        if length > room:
            return b"".join(pieces)[:room], True
    return b"".join(pieces), False
