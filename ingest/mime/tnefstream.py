"""One TNEF stream: its attributes, and which of them make a body or an attachment (MS-OXTNEF, 2.1.3).

Rules of this file:
- Spans, no content. The first of each thing counts, as with duplicate header fields.
- A stream that breaks off gives what came before, and what is left of the attribute it breaks off in.
"""

from __future__ import annotations

import zlib

from ingest.mime.codepages import charset_of
from ingest.mime.defects import DefectCode, DefectLog
from ingest.mime.mapi import PT_BINARY, PT_OBJECT, PT_STRING8, PT_UNICODE, Allowance, Cursor, Property, properties
from ingest.mime.octets import chunks
from ingest.mime.rtf import COMPRESSED

SIGNATURE = 0x223E9F78

# Attributes of an attachment (2.1.3.2), by the low half of their identifiers.
TITLE = 0x8010
_DATA, _RENDDATA, _ATTACHMENT = 0x800F, 0x9002, 0x9005
# Attributes of the message.
_BODY, _MESSAGE_PROPS, _OEM_CODEPAGE = 0x800C, 0x9003, 0x9007
_LEVELS = frozenset({1, 2})  # of the message, of an attachment

# Properties (MS-OXPROPS, 2).
_PR_BODY, _PR_RTF, _PR_HTML, _PR_INTERNET_CODEPAGE, _PR_ATTACH_DATA = 0x1000, 0x1009, 0x1013, 0x3FDE, 0x3701
_TEXTS = frozenset({PT_STRING8, PT_UNICODE})
_RTF = "application/rtf"
_RTF_HEADER_BYTES = 16  # sizes, type and checksum (MS-OXRTFCP, 2.1.3.1)
_RTF_UNCOMPRESSED = b"MELA"

_PADDING_BYTES = 64
_EXACT_SUM_BYTES = 256  # 256 * 255 is below Adler-32's modulus


class Attachment:
    """The content's span (a value of type `PT_OBJECT` begins with an interface's GUID), and what is said about it."""

    __slots__ = ("content", "said")

    def __init__(self) -> None:
        self.content: Property | None = None
        self.said: dict[int, Property] = {}


class Stream:
    """Reads the attributes in a span of `view`; what is wrong is noted for the part `number`.

    Args:
        view: the decoded winmail.dat.
        number: the part that the stream is the content of.
        start: of the stream.
        end: of the stream.
        most: attachments; the rest is left.
        allowance: attributes and properties; the rest is left.
        log: takes what is wrong.
    """

    def __init__(
        self, view: memoryview, number: str, start: int, end: int, *, most: int, allowance: Allowance, log: DefectLog
    ) -> None:
        self._view, self._most, self._allowance, self._log = view, most, allowance, log
        self.number = number
        self.charset: str | None = None
        self.html_charset: str | None = None
        self.bodies: dict[str, Property] = {}
        self.compressed_rtf: Property | None = None  # the one of the bodies that is
        self.attachments: list[Attachment] = []
        self._read(Cursor(view, start, end))

    def _read(self, cursor: Cursor) -> None:
        if cursor.u32() != SIGNATURE:
            self._damaged("no TNEF signature")
            return
        cursor.u16()  # a key, of no use
        while cursor.left and self._allowance.take(cursor.at):
            if self._view[cursor.at] not in _LEVELS:
                if cursor.left > _PADDING_BYTES or bytes(self._view[cursor.at : cursor.end]).strip(b"\0\t\r\n "):
                    self._damaged(f"no attribute at octet {cursor.at}")
                break
            cursor.span(1)
            attribute, _ = cursor.u16(), cursor.u16()
            start, end = cursor.span(cursor.u32())
            stated = cursor.u16()
            if not self._take(Property(attribute, PT_STRING8, start, end)):
                break
            if not cursor.damaged and _checksum(self._view, start, end) != stated:
                self._log.note(DefectCode.TNEF_CHECKSUM, self.number, f"attribute at octet {start}")
        self._drop_empty()
        if cursor.damaged:
            self._damaged("it breaks off")
        if self._allowance.spent:
            self._log.note(DefectCode.TNEF_CUT, self.number, "too many attributes and properties")

    def _take(self, found: Property) -> bool:
        """Take what an attribute says; False where no more is wanted."""
        attribute = found.identifier
        if attribute == _RENDDATA:
            return self._begin()
        if attribute == _OEM_CODEPAGE:
            self.charset = self._charset(found)
        elif attribute == _BODY:
            self._body("text/plain", found)
        elif attribute == _MESSAGE_PROPS:
            self._message(found)
        elif attribute == TITLE:
            self._current().said.setdefault(TITLE, found)
        elif attribute == _DATA:
            self._content(found._replace(kind=PT_BINARY))
        elif attribute == _ATTACHMENT:
            for each in self._properties(found):
                if each.identifier == _PR_ATTACH_DATA:
                    self._content(each)
                else:
                    self._current().said.setdefault(each.identifier, each)
        return True

    def _message(self, found: Property) -> None:
        for each in self._properties(found):
            identifier, kind = each.identifier, each.kind
            if identifier == _PR_INTERNET_CODEPAGE:
                self.html_charset = self._charset(each)
            elif identifier == _PR_BODY and kind in _TEXTS:
                self._body("text/plain", each)
            elif identifier == _PR_HTML and (kind in _TEXTS or kind == PT_BINARY):
                self._body("text/html", each)
            elif identifier == _PR_RTF and _RTF not in self.bodies:
                self._rtf(each)

    def _rtf(self, found: Property) -> None:
        """Keep RTF: compressed with its header, else as it lies there."""
        identifier, _, start, end = found
        kind = bytes(self._view[start + 8 : min(start + 12, end)])
        if kind == COMPRESSED:
            self.compressed_rtf = self.bodies[_RTF] = found._replace(kind=PT_BINARY)
        elif kind == _RTF_UNCOMPRESSED:
            size = Cursor(self._view, start + 4, end).u32()
            start = min(start + _RTF_HEADER_BYTES, end)
            self._body(_RTF, Property(identifier, PT_BINARY, start, min(start + size, end)))

    def _body(self, content_type: str, found: Property) -> None:
        """Keep a body without its terminating NUL, if there is something in it."""
        start, end = found.start, found.end
        if found.kind == PT_UNICODE:
            end -= (end - start) % 2
            end -= 2 * (bytes(self._view[max(start, end - 2) : end]) == b"\0\0")
        elif found.kind == PT_STRING8:
            end -= bytes(self._view[max(start, end - 1) : end]) == b"\0"
        if end > start:
            self.bodies.setdefault(content_type, found._replace(end=end))

    def _begin(self) -> bool:
        self._drop_empty()
        if len(self.attachments) >= self._most:
            self._log.note(DefectCode.TNEF_CUT, self.number, "too many attachments")
            return False
        self.attachments.append(Attachment())
        return True

    def _current(self) -> Attachment:
        if not self.attachments:
            self.attachments.append(Attachment())
        return self.attachments[-1]

    def _content(self, found: Property) -> None:
        """The content: an object, beside which attAttachData is but a picture of it; else what comes first."""
        attachment = self._current()
        if attachment.content is None or (found.kind == PT_OBJECT and attachment.content.kind != PT_OBJECT):
            attachment.content = found

    def _drop_empty(self) -> None:
        if self.attachments and self.attachments[-1].content is None:
            self.attachments.pop()
            self._damaged("an attachment without content")

    def _properties(self, found: Property) -> list[Property]:
        """The first of each property in a list."""
        cursor, first = Cursor(self._view, found.start, found.end), dict[int, Property]()
        for each in properties(cursor, self._allowance):
            first.setdefault(each.identifier, each)
        if cursor.damaged:
            self._damaged(f"properties break off at octet {cursor.at}")
        return list(first.values())

    def _charset(self, found: Property) -> str | None:
        return charset_of(Cursor(self._view, found.start, found.end).u32())

    def _damaged(self, detail: str) -> None:
        self._log.note(DefectCode.TNEF_DAMAGED, self.number, detail)


def _checksum(view: memoryview, start: int, end: int) -> int:
    """The sum of all octets, modulo 65536 (2.1.3.1). Adler-32 sums short pieces exactly, and a hundred times faster."""
    total = 0
    for chunk in chunks(view, start, end):
        piece = memoryview(chunk)
        for at in range(0, len(piece), _EXACT_SUM_BYTES):
            total += zlib.adler32(piece[at : at + _EXACT_SUM_BYTES], 0) & 0xFFFF
    return total & 0xFFFF
