"""Large messages of every shape that a reader may be tempted to hold as a whole, each of about so many octets."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

_TOP = b"From: Jane Example <jane@example.com>\r\nSubject: Scan\r\nMIME-Version: 1.0\r\n"
_MIXED = _TOP + b'Content-Type: multipart/mixed; boundary="=_b"\r\n\r\n'
_FILE = b"--=_b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n"
_END = b"\r\n--=_b--\r\n"
_LEVELS = 10  # message/rfc822 within each other, and each of them is stored


def _repeated(line: bytes, octets: int) -> bytes:
    return line * (octets // len(line))


def _noise(octets: int) -> bytes:
    """So that no two chunks are alike."""
    return random.Random(octets).randbytes(octets)


def _text(octets: int) -> bytes:
    return _TOP + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + _repeated(b"See what is attached.\r\n", octets)


def _file(encoding: bytes, content: bytes) -> bytes:
    return _MIXED + _FILE + b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + content + _END


def _uuencode(octets: int) -> bytes:
    lines = _repeated(b"M" + b"86)C" * 15 + b"\n", octets)
    return _file(b"x-uuencode", b"begin 644 a\n" + lines + b"`\nend\n")


def _parts(octets: int) -> bytes:
    each = octets // 1000 - 150
    parts = (_FILE + b"Content-Transfer-Encoding: binary\r\n\r\n" + _noise(each + at % 97) for at in range(990))
    return _MIXED + b"\r\n".join(part for part in parts) + _END


def _forwards(octets: int) -> bytes:
    """Each level lies in the one around it, with the same content at its bottom: ten times the octets are stored."""
    return _TOP + b"Content-Type: message/rfc822\r\n\r\n" * _LEVELS + _text(octets)


SHAPES: Mapping[str, Callable[[int], bytes]] = {
    "one text": _text,
    "quoted-printable": lambda octets: _file(b"quoted-printable", _repeated(b"=C3=A4 and so on=\r\n", octets)),
    "uuencode": _uuencode,
    "8-bit binary": lambda octets: _file(b"binary", _noise(octets)),
    "1,000 parts": _parts,
    "a header block": lambda octets: _repeated(b"X-Long: " + b"y" * 60 + b"\r\n", octets) + b"\r\n",
    "ten messages in each other": _forwards,
}
