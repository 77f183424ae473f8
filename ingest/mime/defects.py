"""What can be wrong with a message without stopping it.

Rules of this file:
- A code is part of the event's contract: never reuse or rename one.
- One defect a code and part: the first says it, the others would repeat it.
"""

from __future__ import annotations

import enum

from ingest.mime.limits import MimeLimits
from ingest.models import Defect

_DETAIL_CHARS = 200


class DefectCode(enum.StrEnum):
    """The codes of `Defect.code` that parsing gives."""

    DEPTH_EXCEEDED = "depth_exceeded"
    """Containers lie too deep; this part is one opaque attachment."""
    TOO_MANY_MESSAGES = "too_many_messages"
    """message/rfc822 lie too deep within each other; this one is opaque."""
    TOO_MANY_PARTS = "too_many_parts"
    """Everything from this part on is one opaque attachment."""
    TOO_MANY_HEADERS = "too_many_headers"
    """Header fields beyond the limit were dropped."""
    HEADER_TOO_LONG = "header_too_long"
    """A header field's value was cut."""
    HEADER_BLOCK_TOO_LONG = "header_block_too_long"
    """The end of a header block was dropped."""
    HEADER_MALFORMED = "header_malformed"
    """A line among the header fields is none (no colon, or the line before the body is missing)."""
    HEADER_8BIT = "header_8bit"
    """Raw octets in a header that are not UTF-8 (RFC 6532); read in a charset it names elsewhere, else windows-1252."""
    HEADER_CONTROL = "header_control"
    """NUL or another control character in a header was replaced."""
    HEADER_DUPLICATE = "header_duplicate"
    """A field that may stand once stands again; the first is used (RFC 5322, 3.6)."""
    TOO_MANY_ADDRESSES = "too_many_addresses"
    """Addresses beyond the limit were dropped; the raw value is in the headers."""
    COMMENT_TOO_DEEP = "comment_too_deep"
    """Comments in an address field lie too deep; the addresses from there on were dropped."""
    ADDRESS_MALFORMED = "address_malformed"
    """Something in an address field names no mailbox for certain, and was left out."""
    TOO_MANY_REFERENCES = "too_many_references"
    """Message ids beyond the limit were dropped."""
    DATE_MALFORMED = "date_malformed"
    """A date is no date (RFC 5322, 3.3)."""
    CONTENT_TYPE_MALFORMED = "content_type_malformed"
    """Content-Type can't be read; text/plain is assumed (RFC 2045, 5.2)."""
    TOO_MANY_PARAMETERS = "too_many_parameters"
    """Parameters of Content-Type or Content-Disposition beyond the limit were dropped."""
    BOUNDARY_MISSING = "boundary_missing"
    """A multipart without a boundary is one opaque part."""
    BOUNDARY_TOO_LONG = "boundary_too_long"
    """A multipart whose boundary is too long is one opaque part."""
    BOUNDARY_NOT_FOUND = "boundary_not_found"
    """A multipart whose boundary never comes is one opaque part."""
    BOUNDARY_UNCLOSED = "boundary_unclosed"
    """A multipart breaks off; its last part reaches to the end of what it lies in."""
    ENCODING_FORBIDDEN = "encoding_forbidden"
    """A multipart or message in base64 or quoted-printable (RFC 2045, 6.4); such a message is not opened."""
    ENCODING_UNKNOWN = "encoding_unknown"
    """An unknown Content-Transfer-Encoding; the content is taken as it is."""
    BASE64_DAMAGED = "base64_damaged"
    """Text in base64 has stray characters or a wrong end; the rest was decoded."""
    QUOTED_PRINTABLE_DAMAGED = "quoted_printable_damaged"
    """Text in quoted-printable has a stray "="; it was kept."""
    UUENCODE_DAMAGED = "uuencode_damaged"
    """Uuencoded text without its begin or end line."""
    CHARSET_MISSING = "charset_missing"
    """Text beyond ASCII that names no charset."""
    CHARSET_UNKNOWN = "charset_unknown"
    """A charset nobody knows."""
    CHARSET_WRONG = "charset_wrong"
    """Text that is not in the charset it names."""
    TEXT_CONTROL = "text_control"
    """NUL in a text was replaced."""
    TNEF_DAMAGED = "tnef_damaged"
    """A winmail.dat that is none, breaks off or has an attachment without content; what can be read was taken out."""
    TNEF_CHECKSUM = "tnef_checksum"
    """Something in a winmail.dat has a wrong checksum; it was taken out all the same."""
    TNEF_CUT = "tnef_cut"
    """A winmail.dat holds more, or messages within messages deeper, than is taken out; the rest lies in it."""
    MORE_DEFECTS = "more_defects"
    """There were more defects than are listed."""


class DefectLog:
    """Collects a message's defects, at most `limits.defects` of them."""

    __slots__ = ("_found", "_limit", "_seen")

    def __init__(self, limits: MimeLimits) -> None:
        self._limit = limits.defects
        self._seen: set[tuple[DefectCode, str | None]] = set()
        self._found: list[Defect] = []

    def note(self, code: DefectCode, part: str | None = None, detail: str = "") -> None:
        """Remember one; `detail` is cut and made printable."""
        key = (code, part)
        if key in self._seen or len(self._found) >= self._limit:
            return
        if len(self._found) == self._limit - 1:
            code, part, detail = DefectCode.MORE_DEFECTS, None, f"only the first {self._limit - 1} are listed"
        self._seen.add(key)
        short = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in detail[:_DETAIL_CHARS])
        self._found.append(Defect(code.value, part, short))

    def found(self) -> tuple[Defect, ...]:
        """What was noted, in order."""
        return tuple(self._found)
