"""Content-Transfer-Encodings, chunk by chunk (RFC 2045, 6.7 and 6.8; uuencode as in POSIX).

Rules of this file:
- Chunks in, chunks out, in constant memory; where the chunks are cut never changes what comes out.
- Damage costs as little as possible: stray characters are passed over, and nothing raises.
"""

from __future__ import annotations

import binascii
import contextlib
import re
from collections.abc import Iterable, Iterator

import pybase64

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_STRAY = bytes(octet for octet in range(256) if octet not in _ALPHABET + b"=")
_WHOLE = re.compile(rb"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_PADS = re.compile(rb"=+")
_QUANTUM = 4
_QP_PENDING_BYTES = 80  # at most so much of an unfinished "=" escape (with white space behind it) waits for more
_QP_LOOSE_BREAK = re.compile(rb"=[ \t]{1,64}(?=\r?\n)")
_QP_BARE_CR = re.compile(rb"=(?=\r(?!\n))")
_UU_BEGIN = re.compile(rb"^begin [0-7]{3,4} [^\n]{0,1000}\n", re.MULTILINE)
_UU_LINE_BYTES = 1024


def base64_octets(data: bytes) -> bytes:
    """A whole value decoded, as well as it can be."""
    if _WHOLE.fullmatch(data):
        return pybase64.b64decode(data)
    return b"".join(base64_chunks([data]))


def base64_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Base64 decoded. Padding ends a quantum and not the content: what follows it is decoded on."""
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        pad = data.find(b"=")
        lines = data.rfind(b"\n", 0, len(data) if pad < 0 else pad) + 1
        if lines:
            try:
                # whole lines are whole quanta in all but damaged mail; the decoder passes over line ends itself
                yield pybase64.b64decode(memoryview(data)[:lines])
            except binascii.Error:
                lines = 0
            else:
                data = data[lines:]
        if pad < 0 and lines:
            rest = data
            continue
        decoded, rest = _damaged_base64(data)
        yield decoded
    yield _quanta(_damaged_base64(rest)[1]) if rest else b""


def _damaged_base64(data: bytes) -> tuple[bytes, bytes]:
    """Decode up to the last whole quantum; also the characters left over."""
    *closed, rest = _PADS.split(data.translate(None, _STRAY))
    whole = len(rest) - len(rest) % _QUANTUM
    return b"".join([_quanta(run) for run in (*closed, rest[:whole]) if len(run) > 1]), rest[whole:]


def _quanta(clean: bytes) -> bytes:
    """Decode a run of alphabet characters; a single one at its end holds less than an octet and goes."""
    over = len(clean) % _QUANTUM
    if over == 1:
        clean = clean[:-1]
    elif over:
        clean += b"=" * (_QUANTUM - over)
    return pybase64.b64decode(clean)


def quoted_printable_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Quoted-printable decoded; a "=" that begins no escape stays as it is."""
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        end = data.rfind(b"\n") + 1
        if not end:  # an overlong line: only what may be the beginning of an escape has to wait
            escape = data.rfind(b"=", max(0, len(data) - _QP_PENDING_BYTES))
            end = escape if escape >= 0 else len(data)
        yield _quoted_printable(data[:end])
        if data[end - 1 : end + 1] == b"==":
            yield b"="  # a2b_qp drops a "=" at its end
        rest = data[end:]
    yield _quoted_printable(rest)


def _quoted_printable(data: bytes) -> bytes:
    if b"=" not in data:
        return data
    if b"= " in data or b"=\t" in data:
        data = _QP_LOOSE_BREAK.sub(b"=", data)
    if b"==" in data:  # a2b_qp takes two for one; the second pass gets the pairs that the first one made
        data = data.replace(b"==", b"=3D=").replace(b"==", b"=3D=")
    if b"=\r" in data:  # a2b_qp passes over everything from there to the next LF
        data = _QP_BARE_CR.sub(b"=3D", data)
    return binascii.a2b_qp(data)


def begins_uuencode(chunks: Iterable[bytes]) -> bool:
    """Whether there is a begin line at all."""
    return any(True for _ in _after_begin(chunks))


def uuencode_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Uuencode decoded from its begin line to its end line."""
    rest = b""
    for chunk in _after_begin(chunks):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[: _UU_LINE_BYTES + 1]
        decoded, ended = _uu_lines(lines)
        yield decoded
        if ended:
            return
    yield _uu_lines([rest])[0]


def _after_begin(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What follows the begin line; at least one chunk, perhaps empty, if there is one."""
    rest, within_line, begun = b"", False, False
    for chunk in chunks:
        if begun:
            yield chunk
            continue
        data = rest + chunk
        line_start = data.find(b"\n") + 1 if within_line else 0
        begin = _UU_BEGIN.search(data, line_start) if line_start or not within_line else None
        if begin:
            begun = True
            yield data[begin.end() :]
            continue
        end = data.rfind(b"\n") + 1
        rest, within_line = data[end:], within_line and not end
        if len(rest) > _UU_LINE_BYTES:  # too long for a begin line
            rest, within_line = b"", True


def _uu_lines(lines: Iterable[bytes]) -> tuple[bytes, bool]:
    out: list[bytes] = []
    for raw in lines:
        line = raw.rstrip(b"\r")[:_UU_LINE_BYTES]
        if line[:3] == b"end" and line.strip() == b"end":
            return b"".join(out), True
        if not line:
            continue
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            # encoders that pad a short last line differently: as many characters as its length octet says
            octets = ((line[0] - 32) & 63) * 4 // 3 + 2
            if octets < len(line):
                with contextlib.suppress(binascii.Error):
                    out.append(binascii.a2b_uu(line[:octets]))
    return b"".join(out), False
