"""Small real files for the sample mail: PDF, PNG and CSV, made from nothing.

Rules of this room:
- The same octets on every machine: no clock, no randomness, no compressor whose output may change.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence


def pdf(lines: Iterable[str]) -> bytes:
    """A one-page PDF 1.4 with these lines of ASCII text, cross-reference table included."""
    shown = "".join(f"({_escaped(line)}) Tj 0 -18 Td\n" for line in lines)
    content = f"BT /F1 12 Tf 72 760 Td\n{shown}ET\n".encode("ascii")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources <</Font <</F1 5 0 R>>>> >>",
        b"<< /Length %d >>\nstream\n%sendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    entries = [b"0000000000 65535 f \n"]
    for number, body in enumerate(objects, 1):
        entries.append(b"%010d 00000 n \n" % len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n%s" % (len(entries), b"".join(entries))
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(entries), start)
    return bytes(out)


def png(size: int, colour: tuple[int, int, int]) -> bytes:
    """A square PNG of one colour, `size` pixels wide (at most 140), its pixels stored uncompressed."""
    pixels = (b"\0" + bytes(colour) * size) * size
    block = b"\x78\x01\x01" + struct.pack("<HH", len(pixels), len(pixels) ^ 0xFFFF) + pixels
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
        + _chunk(b"IDAT", block + struct.pack(">I", zlib.adler32(pixels)))
        + _chunk(b"IEND", b"")
    )


def csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV (RFC 4180) of values that need no quotes."""
    return "".join(",".join(map(str, row)) + "\r\n" for row in (header, *rows)).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
