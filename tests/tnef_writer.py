"""Writes TNEF streams (MS-OXTNEF): good ones, and with `length`, `count` or `checksum` given, bad ones."""

from __future__ import annotations

import struct

HEAD = struct.pack("<IH", 0x223E9F78, 1)
IID_MESSAGE = bytes.fromhex("0703020000000000c000000000000046")
IID_STORAGE = bytes.fromhex("0b00000000000000c000000000000046")
GUID = bytes(range(16))

OEM_CODEPAGE, VERSION, BODY, MESSAGE_PROPS, RECIPIENTS = 0x69007, 0x89006, 0x2800C, 0x69003, 0x69004
RENDDATA, TITLE, DATA, METAFILE, ATTACHMENT = 0x69002, 0x18010, 0x6800F, 0x68011, 0x69005

PR_BODY, PR_RTF, PR_HTML, PR_INTERNET_CODEPAGE = 0x1000, 0x1009, 0x1013, 0x3FDE
PR_DISPLAY_NAME, PR_DATA, PR_FILENAME, PR_METHOD, PR_LONG_FILENAME = 0x3001, 0x3701, 0x3704, 0x3705, 0x3707
PR_MIME_TAG, PR_CONTENT_ID, PR_FLAGS, PR_CHARSET, PR_HIDDEN = 0x370E, 0x3712, 0x3714, 0x371B, 0x7FFE

LONG, BOOLEAN, OBJECT, STRING8, UNICODE, SYSTIME, BINARY, MANY = 3, 0xB, 0xD, 0x1E, 0x1F, 0x40, 0x102, 0x1000


def attribute(which: int, data: bytes, *, length: int | None = None, checksum: int | None = None) -> bytes:
    level = 2 if which & 0xFFFF in {0x800F, 0x8010, 0x8011, 0x9002, 0x9005} else 1
    stated = len(data) if length is None else length
    total = sum(data) & 0xFFFF if checksum is None else checksum
    return struct.pack("<BII", level, which, stated) + data + struct.pack("<H", total)


def codepage(number: int) -> bytes:
    return attribute(OEM_CODEPAGE, struct.pack("<II", number, 0))


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def variable(*values: bytes) -> bytes:
    return struct.pack("<I", len(values)) + b"".join(struct.pack("<I", len(v)) + padded(v) for v in values)


def prop(identifier: int, kind: int, value: bytes, *, name: str | int | None = None) -> bytes:
    """A property; `value` as it stands behind tag and name."""
    tag = struct.pack("<HH", kind, identifier)
    if name is not None:
        text = f"{name}\0".encode("utf-16-le")
        spec = struct.pack("<II", 0, name) if isinstance(name, int) else struct.pack("<II", 1, len(text)) + padded(text)
        tag += GUID + spec
    return tag + value


def number(identifier: int, value: int) -> bytes:
    return prop(identifier, LONG, struct.pack("<I", value))


def text(identifier: int, value: str) -> bytes:
    return prop(identifier, UNICODE, variable(f"{value}\0".encode("utf-16-le")))


def text8(identifier: int, value: bytes) -> bytes:
    return prop(identifier, STRING8, variable(value + b"\0"))


def binary(identifier: int, value: bytes) -> bytes:
    return prop(identifier, BINARY, variable(value))


def embedded(identifier: int, value: bytes, iid: bytes = IID_MESSAGE) -> bytes:
    return prop(identifier, OBJECT, variable(iid + value))


def props(*each: bytes, count: int | None = None) -> bytes:
    return struct.pack("<I", len(each) if count is None else count) + b"".join(each)


def stream(*attributes: bytes) -> bytes:
    return HEAD + attribute(VERSION, struct.pack("<I", 0x10000)) + codepage(1252) + b"".join(attributes)


def message(*each: bytes) -> bytes:
    return attribute(MESSAGE_PROPS, props(*each))


def attachment(content: bytes | None, *each: bytes, title: bytes = b"") -> bytes:
    """An attachment of Outlook's: rendering, title, content, then its properties."""
    return b"".join(
        [
            attribute(RENDDATA, struct.pack("<HIHHI", 1, 0xFFFFFFFF, 32, 32, 0)),
            attribute(TITLE, title + b"\0") if title else b"",
            b"" if content is None else attribute(DATA, content),
            attribute(ATTACHMENT, props(*each)) if each else b"",
        ]
    )


def holding(value: bytes, *each: bytes) -> bytes:
    """An attachment that is a message with this stream."""
    return attachment(None, number(PR_METHOD, 5), *each, embedded(PR_DATA, value))


def nested(depth: int, innermost: bytes = b"") -> bytes:
    """A message in a message, so many within each other."""
    built = stream(innermost)
    for _ in range(depth):
        built = stream(holding(built))
    return built


def everything() -> bytes:
    """What Outlook writes, and all that the reader knows."""
    inner = stream(
        message(
            text(PR_BODY, "Grüße"), prop(0x8001, MANY | UNICODE, variable(b"a\0\0\0", b"b\0\0\0"), name="Keywords")
        ),
        attachment(b"inner", text(PR_LONG_FILENAME, "inner.txt"), text8(PR_MIME_TAG, b"text/plain")),
    )
    rtf = b"{\\rtf1 plain}"
    return stream(
        attribute(RECIPIENTS, struct.pack("<I", 1) + props(text(PR_DISPLAY_NAME, "billing"))),
        attribute(BODY, b"Plain\r\n\0"),
        message(
            prop(0x0039, SYSTIME, bytes(8)),
            prop(0x0017, MANY | 2, struct.pack("<I", 3) + bytes(12)),
            prop(0x8005, LONG, bytes(4), name=0x8552),
            prop(0x8006, BOOLEAN, bytes(4), name="X-Odd"),
            number(PR_INTERNET_CODEPAGE, 65001),
            binary(PR_HTML, "<p>Grüße</p>".encode()),
            binary(PR_RTF, struct.pack("<II4sI", len(rtf) + 12, len(rtf), b"MELA", 0) + rtf),
        ),
        attachment(b"%PDF-1.4", text(PR_LONG_FILENAME, "Rechnung für März.pdf"), title=b"RECHNU~1.PDF"),
        attachment(
            b"\x89PNG",
            text8(PR_MIME_TAG, b"image/png"),
            text8(PR_CONTENT_ID, b"image001.png@01D0"),
            number(PR_FLAGS, 4),
            title=b"image001.png",
        ),
        holding(inner, text(PR_DISPLAY_NAME, "Re: invoice")),
        attachment(None, embedded(PR_DATA, b"\xd0\xcf\x11\xe0", IID_STORAGE), title=b"Chart"),
        attachment(None, binary(PR_DATA, b"by value"), text8(PR_FILENAME, b"VALUE.BIN")),
    )
