"""What lies in a winmail.dat: attachments, bodies and embedded messages (MS-OXTNEF).

Rules of this file:
- Children are spans over the decoded winmail.dat; names are decoded, nothing else is. Compressed RTF is a span with an
  encoding of its own.
- Embedded messages wait on an explicit stack; an octet is read once a level, and there are few levels.
- Every count is bounded: children by `parts`, attributes and properties by an `Allowance`, levels by
  `nested_messages`. What is beyond lies in the original, which is stored as it came.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from ingest.mime.charsets import cut_utf8, decode_text
from ingest.mime.defects import DefectCode, DefectLog
from ingest.mime.filenames import clean_filename
from ingest.mime.limits import MimeLimits
from ingest.mime.mapi import PT_OBJECT, PT_UNICODE, Allowance, Cursor, Property
from ingest.mime.octets import octets
from ingest.mime.rtf import ENCODING as COMPRESSED_RTF
from ingest.mime.tnefstream import SIGNATURE, TITLE, Attachment, Stream
from ingest.models import Label, Part

_ENTRIES, _ENTRIES_A_PART = 4096, 128  # Outlook writes some 100 a message and 40 an attachment
_COMPRESSED_RTF_BYTES = 512 * 1024  # all together: to decompress so much takes 0.3 s at worst

# Properties of an attachment (MS-OXPROPS, 2).
_DISPLAY_NAME, _FILENAME, _METHOD, _LONG_FILENAME, _MIME_TAG = 0x3001, 0x3704, 0x3705, 0x3707, 0x370E
_CONTENT_ID, _FLAGS, _CHARSET, _HIDDEN = 0x3712, 0x3714, 0x371B, 0x7FFE
_NAMED_BY = (_LONG_FILENAME, TITLE, _FILENAME, _DISPLAY_NAME)
_EMBEDDED_MESSAGE = 5  # a method
_SHOWN_IN_HTML = 4  # a flag
_BOOLEAN = 0xFFFF  # the other two octets are padding
_IID_BYTES = 16
_IID_MESSAGE = bytes.fromhex("0703020000000000c000000000000046")

_TYPE = re.compile(r"[!#$%&'*+\-.0-9a-z^_`{|}~]{1,127}/[!#$%&'*+\-.0-9a-z^_`{|}~]{1,127}")
_TYPE_BYTES, _CONTENT_ID_BYTES, _CHARSET_BYTES = 255, 990, 64
_OCTETS_A_CHARACTER = 4


def read_tnef(buffer: memoryview, number: str, limits: MimeLimits, log: DefectLog) -> tuple[Part, ...]:
    """The children of a winmail.dat; those of an embedded message come behind it.

    A body is unnamed and inline. An embedded message is of type application/ms-tnef, labelled so, and has children of
    its own. An OLE object is one opaque attachment.

    Args:
        buffer: the part's decoded content, which the spans are over.
        number: the part's; its children are `number`.1 and on.
        limits: `parts` bounds the children at all levels together, `nested_messages` the levels.
        log: takes what is wrong; nothing raises.
    """
    with octets(buffer) as view:
        return _Reader(view, limits, log).read(number)


class _Reader:
    """Reads a stream and those within it."""

    def __init__(self, view: memoryview, limits: MimeLimits, log: DefectLog) -> None:
        self._view, self._limits, self._log = view, limits, log
        self._allowance = Allowance(view, _ENTRIES + _ENTRIES_A_PART * limits.parts)
        self._parts: list[Part] = []
        self._compressed_rtf_left = _COMPRESSED_RTF_BYTES

    def read(self, number: str) -> tuple[Part, ...]:
        waiting = [(number, 0, len(self._view), 0)]
        while waiting:
            number, start, end, level = waiting.pop()
            if self._allowance.spent or len(self._parts) >= self._limits.parts:
                self._log.note(DefectCode.TNEF_CUT, number, "too much before it")
                break
            within = [part for part in self._children(number, start, end) if part.label is Label.TNEF]
            if within and level >= self._limits.nested_messages:
                self._log.note(DefectCode.TNEF_CUT, within[0].number, "messages lie too deep within each other")
            else:
                waiting += [(part.number, part.start, part.end, level + 1) for part in reversed(within)]
        return tuple(self._parts)

    def _children(self, number: str, start: int, end: int) -> list[Part]:
        """Read one stream and make its children, as far as the limit goes."""
        room = self._limits.parts - len(self._parts)
        stream = Stream(self._view, number, start, end, most=room, allowance=self._allowance, log=self._log)
        children: list[Part] = []
        for child in self._made(stream):
            if len(children) == room:
                self._log.note(DefectCode.TNEF_CUT, number, "too many attachments")
                break
            children.append(child)
        self._parts += children
        return children

    def _made(self, stream: Stream) -> Iterator[Part]:
        number = (f"{stream.number}.{index}" for index in itertools.count(1))
        for content_type, found in stream.bodies.items():
            if found is stream.compressed_rtf and not self._pays_for(found):
                self._log.note(DefectCode.TNEF_CUT, stream.number, "too much compressed RTF")
                continue
            yield self._body(stream, next(number), content_type, found)
        for attachment in stream.attachments:
            if attachment.content is not None:
                yield self._attachment(stream, next(number), attachment, attachment.content)

    def _pays_for(self, rtf: Property) -> bool:
        size = rtf.end - rtf.start
        if size > self._compressed_rtf_left:
            return False
        self._compressed_rtf_left -= size
        return True

    def _body(self, stream: Stream, number: str, content_type: str, found: Property) -> Part:
        charset = stream.charset
        if found.kind == PT_UNICODE:
            charset = "utf-16le"
        elif content_type == "text/html":
            charset = stream.html_charset or stream.charset
        return Part(
            number=number,
            parent=stream.number,
            content_type=content_type,
            charset=charset if content_type.startswith("text/") else None,
            disposition="inline",
            filename=None,
            filename_raw=None,
            content_id=None,
            encoding=COMPRESSED_RTF if found is stream.compressed_rtf else "binary",
            start=found.start,
            end=found.end,
        )

    def _attachment(self, stream: Stream, number: str, attachment: Attachment, content: Property) -> Part:
        said, charset = attachment.said, stream.charset
        self._allowance.reading(content.start)
        start, is_message = self._opened(content, self._number(said.get(_METHOD)))
        names = (self._text(said.get(each), charset, self._limits.filename_raw_bytes) for each in _NAMED_BY)
        name = next(filter(None, names), None)
        content_type = (self._text(said.get(_MIME_TAG), charset, _TYPE_BYTES) or "").lower()
        if is_message:
            content_type = "application/ms-tnef"
        elif not _TYPE.fullmatch(content_type):
            content_type = "application/octet-stream"
        content_id = "".join(
            filter(str.isprintable, self._text(said.get(_CONTENT_ID), charset, _CONTENT_ID_BYTES) or "")
        )
        content_id = content_id.strip("<> ")
        is_text = content_type.startswith("text/")
        return Part(
            number=number,
            parent=stream.number,
            content_type=content_type,
            charset=self._text(said.get(_CHARSET), charset, _CHARSET_BYTES) if is_text else None,
            disposition="inline" if self._is_inline(said, content_id) else "attachment",
            filename=clean_filename(name, self._limits.filename_bytes) if name else None,
            filename_raw=name,
            content_id=f"<{content_id}>" if content_id else None,
            encoding="binary",
            start=start,
            end=content.end,
            label=Label.TNEF if is_message else None,
        )

    def _opened(self, content: Property, method: int) -> tuple[int, bool]:
        """Where the content starts behind its interface's GUID, and whether it is a message."""
        start, is_message = content.start, False
        if content.kind == PT_OBJECT and content.end - start >= _IID_BYTES:
            start += _IID_BYTES
            is_message = bytes(self._view[content.start : start]) == _IID_MESSAGE
        elif method == _EMBEDDED_MESSAGE:
            is_message = Cursor(self._view, start, content.end).u32() == SIGNATURE
        return start, is_message

    def _is_inline(self, said: dict[int, Property], content_id: str) -> bool:
        """Whether a body shows it: Outlook says so by flags, others by a Content-ID alone."""
        if self._number(said.get(_HIDDEN)) & _BOOLEAN:
            return True
        if _FLAGS in said:
            return bool(self._number(said[_FLAGS]) & _SHOWN_IN_HTML)
        return bool(content_id)

    def _number(self, found: Property | None) -> int:
        return Cursor(self._view, found.start, found.end).u32() if found else 0

    def _text(self, found: Property | None, charset: str | None, limit_bytes: int) -> str | None:
        """A text up to its NUL, cut; None if there is none."""
        if found is None:
            return None
        raw = bytes(self._view[found.start : min(found.end, found.start + limit_bytes * _OCTETS_A_CHARACTER)])
        if found.kind == PT_UNICODE:
            text = raw[: len(raw) & ~1].decode("utf-16-le", "replace")
        else:
            text, _, _ = decode_text(raw, charset, sample_bytes=0, cut=True)
        return cut_utf8(text.partition("\0")[0].strip(), limit_bytes)[0] or None
