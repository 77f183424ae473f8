"""How much of a message is taken seriously. One value, handed to every reader of this room.

Rules of this file:
- Limits are compared by identity, so that they are a cheap key of the caches here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class MimeLimits:
    """Limits within one message; each breach has its defect, and none but that of `cpu_s` is an error.

    Counts unless the name ends in `_bytes` (octets; of UTF-8 where the value is text) or `_s` (seconds).

    Args:
        depth: containers (multipart and message/rfc822) within each other; the deeper part is one opaque attachment.
        nested_messages: message/rfc822 within each other; likewise.
        parts: parts of all kinds; the rest of the message is one opaque attachment.
        headers: fields of one header block; the rest is dropped.
        header_bytes: one field's value; the rest of it is cut.
        header_block_bytes: one header block; the rest of it is dropped.
        all_headers_bytes: all header blocks together; the rest of the message is one opaque attachment.
        addresses: mailboxes of one field; the rest is dropped.
        comment_depth: comments within each other in an address field; there the field is cut.
        references: message ids of one field; the rest is dropped.
        parameters: parameters of one field; the rest is dropped.
        boundary_bytes: a multipart's boundary (RFC 2046 allows 70); a longer one makes the part opaque.
        body_bytes: text and html each, cut between characters.
        filename_bytes: a cleaned filename, its extension kept.
        filename_raw_bytes: a filename as sent; the rest is cut.
        charset_sample_bytes: how much of a text of unknown charset is looked at to guess it.
        defects: defects reported; a last one says that there were more.
        cpu_s: CPU of the thread that reads one message; a message that takes more can't be processed.
    """

    depth: int = 50
    nested_messages: int = 10
    parts: int = 1000
    headers: int = 1000
    header_bytes: int = 102_400
    header_block_bytes: int = 1_048_576
    all_headers_bytes: int = 8_388_608
    addresses: int = 1000
    comment_depth: int = 32
    references: int = 1000
    parameters: int = 1000
    boundary_bytes: int = 256
    body_bytes: int = 262_144
    filename_bytes: int = 255
    filename_raw_bytes: int = 4096
    charset_sample_bytes: int = 4096
    defects: int = 100
    cpu_s: float = 8
