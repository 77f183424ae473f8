"""Compressed RTF, as a winmail.dat holds a message's body (MS-OXRTFCP).

Rules of this file:
- A content is small (whoever finds it sees to that), so it is held as a whole; it grows eightfold at most.
- Damage ends it: what came before is kept. Its checksum is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct

ENCODING = "lzfu (ms-oxrtfcp)"  # no token, so no Content-Transfer-Encoding can be called so
COMPRESSED = b"LZFu"
_HEADER = Struct("<II4sI")  # octets behind the first field, octets of RTF, type, checksum
_BEHIND = 4
_DICTIONARY = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0" + b"\r\n" + rb"\par \pard\plain\f0\fs20\b\i\u"
    rb"\tab\tx"
)
_WINDOW = 4096
_RUN = 8
_BITS = tuple(1 << bit for bit in range(_RUN))
_CHUNK_BYTES = 256 * 1024


def rtf_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The RTF of a compressed content, its header included."""
    data = b"".join(chunks)
    if len(data) < _HEADER.size:
        return
    behind, size, _, _ = _HEADER.unpack_from(data)
    rtf = _decompressed(data, min(len(data), _BEHIND + behind), size)
    for at in range(0, len(rtf), _CHUNK_BYTES):
        yield rtf[at : at + _CHUNK_BYTES]


def _decompressed(data: bytes, end: int, size: int) -> bytes:
    out = bytearray(_DICTIONARY)
    size += len(out)
    at = _HEADER.size
    while at < end and len(out) < size:
        control = data[at]
        at += 1
        if not control:
            out += data[at : min(at + _RUN, end)]
            at += _RUN
            continue
        for bit in _BITS:
            if not control & bit:
                out += data[at : min(at + 1, end)]
                at += 1
                continue
            reference = int.from_bytes(data[at : min(at + 2, end)])
            at += 2
            distance, length = (len(out) - (reference >> 4)) % _WINDOW, (reference & 15) + 2
            start = len(out) - distance
            if at > end or not distance or start < 0:  # no distance is the end
                at = end
                break
            copied = out[start : start + length]
            out += copied if distance >= length else (copied * length)[:length]
    return bytes(out[len(_DICTIONARY) : size])
