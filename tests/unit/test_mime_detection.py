"""What a content looks like."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mime.detection import HEAD_BYTES, detected_type

ODT = "application/vnd.oasis.opendocument.text"
OFFICE = "application/vnd.openxmlformats-officedocument."


def zipped(*names: str, content: str = "x") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n1 0 obj", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"\xff\xd8\xff\xe1\x10\0Exif\0\0", "image/jpeg"),
        (b"GIF89a\1\0\1\0", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"II*\0\x08\0\0\0" + bytes(20), "image/tiff"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (zipped("a.txt"), "application/zip"),
        (zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"), OFFICE + "wordprocessingml.document"),
        (zipped("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"), OFFICE + "spreadsheetml.sheet"),
        (zipped("[Content_Types].xml", "_rels/.rels", "ppt/presentation.xml"), OFFICE + "presentationml.presentation"),
        (zipped("mimetype", content=ODT), ODT),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "application/x-ole-storage"),
        (b"{\\rtf1\\ansi hello}", "application/rtf"),
        (b"7z\xbc\xaf'\x1c\0\4", "application/x-7z-compressed"),
        (b"MZ\x90\0" + bytes(60), "application/x-msdownload"),
        (b"\x7fELF\2\1\1" + bytes(60), "application/x-executable"),
        (b"L\0\0\0\1\x14\2\0\0\0\0\0\xc0", "application/x-ms-shortcut"),
        (b'<?xml version="1.0"?><invoice/>', "text/xml"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE html><p>", "text/html"),
        (b"<!-- hello -->\n<html>", "text/html"),
        ("\ufeff<html><body>".encode("utf-16-le"), "text/html"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "image/svg+xml"),
        (b"\xef\xbb\xbfBEGIN:VCALENDAR\r\n", "text/calendar"),
        (b"<script>alert(1)</script>", "text/html"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml"),
        (b"BEGIN:VCALENDAR\r\n", "text/calendar"),
        (b"#!/bin/sh\n", "text/x-shellscript"),
        (b"#!AMR\n" + bytes(20), "audio/amr"),
        (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1", "application/onenote"),
        (b"ITSF\3\0\0\0`\0\0\0", "application/vnd.ms-htmlhelp"),
        (zipped("META-INF/MANIFEST.MF", "a/B.class"), "application/java-archive"),
        (zipped("word/a.txt", "xl/b.txt"), OFFICE + "wordprocessingml.document"),
        (b"!<arch>\ndebian-binary   1342943816  0     0     100644  4         `\n2.0\n", "application/x-deb"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_format_is_known_by_its_first_octets(content: bytes, kind: str) -> None:
    assert detected_type(content[:HEAD_BYTES]) == kind


def test_an_office_document_is_known_though_other_entries_come_first() -> None:
    others = ("[Content_Types].xml", "_rels/.rels", "docProps/app.xml", "docProps/core.xml", "customXml/item1.xml")
    assert detected_type(zipped(*others, "xl/workbook.xml")) == OFFICE + "spreadsheetml.sheet"
    assert detected_type(zipped("a.txt", "b.txt", "word/notes.txt")) == "application/zip"


@pytest.mark.parametrize("words", ["BMW AG, Munich: your order", "MZ is a brand", "ID3, größer", "BZh9 is a header"])
def test_words_that_begin_like_a_mark_look_like_nothing(words: str) -> None:
    assert detected_type(words.encode() * 40) is None
    assert detected_type(words.encode("latin-1")) is None


@pytest.mark.parametrize(
    "content", [b"", b"plain words\r\n", b"a;b;c\r\n1;2;3\r\n", b"var a = 1;\n", bytes(HEAD_BYTES)]
)
def test_text_and_what_has_no_mark_look_like_nothing(content: bytes) -> None:
    assert detected_type(content) is None


@given(
    st.binary(max_size=600), st.sampled_from([b"", b"PK\3\4", b"\0\0\0\x18ftyp", b"\xff\xd8\xff", b"RIFF", b"\x1f\x8b"])
)
def test_no_octets_break_it(tail: bytes, magic: bytes) -> None:
    found = detected_type(magic + tail)
    assert found is None or "/" in found
