"""What a content looks like, whatever its sender says it is.

Rules of this file:
- Only the first octets are looked at; nothing is opened. Text without a mark of its own looks like nothing.
- Never raises: a detector that fails has detected nothing.
"""

from __future__ import annotations

import re

import filetype  # type: ignore[import-untyped]  # it has no annotations

HEAD_BYTES = 8192

# What the library does not know, and consumers ask for.
_OURS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),  # .doc, .xls, .ppt, .msg, .msi
    (b"L\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"),
    (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
    (b"BEGIN:VCALENDAR", "text/calendar"),
    (b"BEGIN:VCARD", "text/vcard"),
    (b"-----BEGIN PGP MESSAGE-----", "application/pgp-encrypted"),
    (b"#!/", "text/x-shellscript"),
    (b"#! /", "text/x-shellscript"),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", "application/onenote"),
    (b"ITSF\x03\x00\x00\x00", "application/vnd.ms-htmlhelp"),
)
# The library looks at the first five entries of a .zip; here the first of these folders names the kind.
_ENTRY = re.compile(rb"PK\x03\x04.{26}(word/|xl/|ppt/|META-INF/MANIFEST\.MF)", re.DOTALL)
_OFFICE = "application/vnd.openxmlformats-officedocument."
_ZIPPED = {
    b"word/": _OFFICE + "wordprocessingml.document",
    b"xl/": _OFFICE + "spreadsheetml.sheet",
    b"ppt/": _OFFICE + "presentationml.presentation",
    b"META-INF/MANIFEST.MF": "application/java-archive",
}
_OFFICE_MARK = b"[Content_Types].xml"
# Formats that may begin as readable text. Of the others some have a mark of two or three letters ("BM", "MZ", "ID3").
_READABLE = frozenset({
    *("application/pdf", "application/rtf", "application/postscript"),
    *("application/x-deb", "application/x-unix-archive", "application/x-shockwave-flash"),
})  # fmt: skip
_TEXT_OCTETS = bytes({*b"\t\n\f\r", *range(0x20, 0x7F), *range(0x80, 0x100)})
_TEXT_BYTES = 512
_MARKUP = re.compile(
    rb"\s{0,256}+(?:<!--.{0,1024}?-->\s{0,256}+)?<(?:(\?xml|svg)|!doctype\s+html|html|head|body|script)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_PROLOGUE_BYTES = 1024
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # the byte order marks of UTF-16


def detected_type(head: bytes) -> str | None:
    """The media type that the first octets show (`HEAD_BYTES` of them, if there are so many), or None."""
    text = head.removeprefix(b"\xef\xbb\xbf")
    if head.startswith(_WIDE):
        text = head[2:].replace(b"\0", b"")  # enough to find marks in ASCII
    ours = next((kind for magic, kind in _OURS if text.startswith(magic)), None)
    if ours is not None:
        return ours
    if markup := _MARKUP.match(text):
        if (markup[1] or b"").lower() == b"?xml":
            return "image/svg+xml" if b"<svg" in text[:_PROLOGUE_BYTES].lower() else "text/xml"
        return "image/svg+xml" if markup[1] else "text/html"
    try:
        kind: str | None = filetype.guess_mime(head)
    except Exception:  # noqa: BLE001 - a guess is a courtesy
        return None
    if kind == "application/zip":
        return _zipped(head)
    if kind is not None and kind not in _READABLE and not head[:_TEXT_BYTES].translate(None, _TEXT_OCTETS):
        return None  # words that begin like a mark
    return kind


def _zipped(head: bytes) -> str:
    """What kind of .zip it is, by the names of the entries that lie in the head."""
    entry = _ENTRY.search(head)
    if entry is None or (entry[1].endswith(b"/") and _OFFICE_MARK not in head):
        return "application/zip"
    return _ZIPPED[entry[1]]
