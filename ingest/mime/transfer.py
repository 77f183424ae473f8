"""Content-Transfer-Encodings, chunk by chunk (RFC 2045, 6.7 and 6.8; uuencode as in POSIX).

Rules of this file:
- Chunks in, chunks out, in constant memory; where the chunks are cut never changes what comes out.
- Damage costs as little as possible: stray characters are passed over, and nothing raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator

import pybase64

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_STRAY = bytes(octet for octet in range(256) if octet not in _ALPHABET + b"=")
_PADS = re.compile(rb"=+")
_QUANTUM = 4
_CRLF_BYTES = 2
_QUANTA_ENDED = 65_536  # by padding within one content: base64 that was joined from so many pieces is none
_QP_PENDING_BYTES = 80  # at most so much of an unfinished "=" escape (with white space behind it) waits for more
_QP_ODD = re.compile(rb"=(?:[ \t=]|\r(?!\n))")
_QP_UNUSUAL = re.compile(rb"=(?!\r?\n|[0-9A-Fa-f]{2})")
_QP_LOOSE_BREAK = re.compile(rb"=[ \t]{1,64}(?=\r?\n)")
_UU_BEGIN = re.compile(rb"^begin [0-7]{3,4} [^\n]{0,1000}\n", re.MULTILINE)
_UU_LINE_BYTES = 1024
_UU_SHORT_BYTES = 48
_UU_ODD_LINES = 2048  # short and odd: each may pass for more octets than it has, and costs time of its own
_UU_WHOLE_LINE = b"|".join(rb"\x%02x[ -`]{%d}" % (32 + octets, octets // 3 * 4) for octets in range(3, 64, 3))
_UU_RUN = re.compile(rb"(?:(?:" + _UU_WHOLE_LINE + rb"|[ `])?\n)++")
_UU_LENGTH = re.compile(rb"^.", re.MULTILINE)
_UU_TO_BASE64 = bytes(_ALPHABET[(octet - 32) & 63] for octet in range(256))


def base64_octets(data: bytes) -> bytes:
    """A whole value decoded, as well as it can be."""
    strict = strict_base64(data)
    return tolerant_base64(data) if strict is None else strict


def tolerant_base64(data: bytes) -> bytes:
    """A whole value decoded, whatever is wrong with it."""
    return b"".join(base64_chunks([data]))


def strict_base64(data: bytes) -> bytes | None:
    """A whole value decoded; None if anything is wrong with it (but for where its lines end)."""
    try:
        return pybase64.b64decode(data.translate(None, b"\r\n"), validate=True)
    except binascii.Error:
        return None


def base64_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Base64 decoded. Padding ends a quantum and not the content: what follows it is decoded on.

    After many quanta that ended so, it is no padding but damage, and passed over like any other.
    """
    rest, ends = b"", _QUANTA_ENDED
    for chunk in chunks:
        data = rest + chunk
        pad = data.find(b"=")
        lines = data.rfind(b"\n", 0, len(data) if pad < 0 else pad) + 1
        if lines:
            try:
                yield _whole_lines(data, lines)
            except binascii.Error:
                lines = 0
            else:
                data = data[lines:]
        if pad < 0 and lines:
            rest = data
            continue
        decoded, rest, ends = _damaged_base64(data, ends)
        yield decoded
    decoded, rest, _ = _damaged_base64(rest, ends)
    yield decoded + _quanta(rest)


def _whole_lines(data: bytes, end: int) -> bytes:
    """Decode the lines up to `end`: whole quanta in all but damaged mail; binascii.Error if they are not.

    Lines of one length, which is nearly all of the world's base64, lose their ends by two strided deletions: with the
    strict decoder that took half of the time, alone in a loop, of one that passes over line ends itself.
    """
    width = data.find(b"\n", 0, end) + 1
    count, over = divmod(end, width)
    if width > _CRLF_BYTES and not over and count > 1 and data[width - 1 : end : width] == b"\n" * count:
        clean = bytearray(memoryview(data)[:end])
        del clean[width - 1 :: width]
        if clean[width - 2 :: width - 1] == b"\r" * count:
            del clean[width - 2 :: width - 1]
        try:
            return pybase64.b64decode(clean, validate=True)
        except binascii.Error:
            pass
    return pybase64.b64decode(memoryview(data)[:end])


def _damaged_base64(data: bytes, ends: int) -> tuple[bytes, bytes, int]:
    """Decode up to the last whole quantum; also the characters left over, and how many more quanta padding may end."""
    rest, closed = data.translate(None, _STRAY if ends else _STRAY + b"="), []
    if b"=" in rest:
        *closed, rest = _PADS.split(rest)
    decoded: list[bytes] = []
    whole: list[bytes] = []
    for at, run in enumerate(closed):
        if len(run) % _QUANTUM == 0:
            whole.append(run)
        elif ends:
            ends -= 1
            decoded.append(_quanta(b"".join(whole) + run if whole else run))
            whole.clear()
        else:
            rest = b"".join([*closed[at:], rest])
            break
    if whole:
        rest = b"".join([*whole, rest])
    end = len(rest) - len(rest) % _QUANTUM
    return b"".join([*decoded, _quanta(rest[:end])]), rest[end:], ends


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
        yield quoted_printable_octets(data[:end])
        if data[end - 1 : end + 1] == b"==":
            yield b"="  # a2b_qp drops a "=" at its end
        rest = data[end:]
    yield quoted_printable_octets(rest)


def quoted_printable_octets(data: bytes) -> bytes:
    """A whole value decoded; a "=" that ends it goes."""
    return binascii.a2b_qp(data if _QP_ODD.search(data) is None else _even(data))


def strict_quoted_printable(data: bytes) -> bytes | None:
    """A whole value decoded; None if anything is wrong or unusual with it."""
    return binascii.a2b_qp(data) if _QP_UNUSUAL.search(data) is None else None


def _even(data: bytes) -> bytes:
    """Rewritten to what a2b_qp reads as it should be read."""
    if b"= " in data or b"=\t" in data:
        data = _QP_LOOSE_BREAK.sub(b"=", data)
    if b"==" in data:  # a2b_qp takes two for one; the second pass gets the pairs that the first one made
        data = data.replace(b"==", b"=3D=").replace(b"==", b"=3D=")
    if b"=\r" in data:  # a2b_qp passes over everything from a bare one to the next LF
        data = data.replace(b"=\r\n", b"=\n").replace(b"=\r", b"=3D\r")
    return data


def begins_uuencode(chunks: Iterable[bytes]) -> bool:
    """Whether there is a begin line at all."""
    return any(True for _ in _after_begin(chunks))


def uuencode_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Uuencode decoded from its begin line to its end line, or to where it is nothing but short broken lines."""
    rest, odd = b"", _UU_ODD_LINES
    for chunk in _after_begin(chunks):
        data = rest + chunk
        end = data.rfind(b"\n") + 1
        rest = data[end : end + _UU_LINE_BYTES + 1]
        decoded, odd = _uu_lines(data[:end], odd)
        yield decoded
        if not odd:
            return
    yield _uu_lines(rest + b"\n", odd)[0]


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


def _uu_lines(data: bytes, odd: int) -> tuple[bytes, int]:
    """Decode whole lines; also how many more short and odd ones there may be, 0 behind the end line."""
    data = data.replace(b"\r\n", b"\n")
    for nothing in (b"\n\n", b"\n \n", b"\n`\n"):
        while nothing in data:  # each pass leaves half of a row of them
            data = data.replace(nothing, b"\n")
    out: list[bytes] = []
    at = 0
    while at < len(data):
        run = _UU_RUN.match(data, at)
        if run:
            out.append(pybase64.b64decode(_UU_LENGTH.sub(b"", run[0]).translate(_UU_TO_BASE64, b"\n")))
            at = run.end()
            continue
        end = data.index(b"\n", at)
        line = data[at : min(end, at + _UU_LINE_BYTES)].rstrip(b"\r")
        at = end + 1
        odd -= len(line) < _UU_SHORT_BYTES
        if not odd or (line[:3] == b"end" and line.strip() == b"end"):
            return b"".join(out), 0
        out.append(_uu_line(line))
    return b"".join(out), odd


def _uu_line(line: bytes) -> bytes:
    """An odd line: the last one, one without its trailing spaces, one with something behind it, or none at all."""
    if not line:
        return b""
    # encoders that pad a short last line differently: as many characters as its length octet says
    for characters in (len(line), ((line[0] - 32) & 63) * 4 // 3 + 2):
        try:
            return binascii.a2b_uu(line[:characters])
        except binascii.Error:
            continue
    return b""
