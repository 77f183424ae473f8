"""One header block, split into fields (RFC 5322, 2.2; RFC 6532).

Rules of this file:
- Split once, decode later: a field is (name as written, unfolded raw value).
- A line that is no field among fields is passed over; after the last field it belongs to the body, whose separating
  empty line is missing.
- Octets beyond ASCII are UTF-8 if they can be, else in the charset that the header names elsewhere.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ingest.mime.charsets import charset_of_header, cut_utf8, eight_bit_codec
from ingest.mime.defects import DefectCode, DefectLog
from ingest.mime.limits import MimeLimits

Field = tuple[str, str]
_GROWTH = 3  # octets of UTF-8 that one octet may take: U+FFFD does, which stands for a NUL

_FIELD = re.compile(r"^([!-9;-~]++)[ \t]*+:[ \t]*+(.*)$", re.MULTILINE)
_RAW_FIELD = re.compile(rb"^[!-9;-~]++[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+\n?", re.MULTILINE)
_MAILBOX_LINE = re.compile(rb">?From [^\n]*+\n?")  # mbox's separator, left by careless exports
_CONTROLS = bytes([*range(9), *range(0x0B, 0x20), 0x7F])
_REPLACED = {**dict.fromkeys(_CONTROLS, " "), 0: "\N{REPLACEMENT CHARACTER}"}
_NUL = "\x1a"  # stands for one in octets whose charset is not known yet; SUB itself is a space by then
_REPLACED_LATER = {**_REPLACED, 0: _NUL}


class Fields(NamedTuple):
    """A split header block: all fields in order, the first value by lower-case name, the names that came again.

    `octets` is how much of the block belongs to them.
    """

    items: list[Field]
    first: dict[str, str]
    repeated: list[str]
    octets: int


def split_fields(block: bytes, limits: MimeLimits, log: DefectLog, part: str | None) -> Fields:
    """Split a header block.

    Args:
        block: from the first octet of the header to its end, without the empty line.
        limits: `headers`, `header_bytes` and `header_block_bytes` apply.
        log: takes the defects.
        part: the part number for them.
    """
    used = len(block)
    if used > limits.header_block_bytes:
        block = block[: limits.header_block_bytes]
        block = block[: block.rfind(b"\n") + 1] or block
        log.note(DefectCode.HEADER_BLOCK_TOO_LONG, part, f"{used} octets")
    text, is_utf8 = _unfolded(block, log, part)
    fields = _FIELD.findall(text)
    if text and len(fields) != text.count("\n") + 1:
        used = _malformed(block, used, log, part)
    if len(fields) > limits.headers:
        log.note(DefectCode.TOO_MANY_HEADERS, part, f"{len(fields)} fields")
        del fields[limits.headers :]
    if not is_utf8:
        _read_eight_bit(fields, log, part)
    if len(block) * _GROWTH > limits.header_bytes:
        _cut_the_long(fields, limits, log, part)
    first: dict[str, str] = {}
    repeated: list[str] = []
    for name, value in fields:
        key = name.lower()
        if key in first:
            repeated.append(key)
        else:
            first[key] = value
    return Fields(fields, first, repeated, used)


def _unfolded(block: bytes, log: DefectLog, part: str | None) -> tuple[str, bool]:
    """The block as text, a line a field, and whether it is UTF-8."""
    clean = block.translate(None, _CONTROLS)
    controls = len(block) - len(clean) - block.count(b"\r\n")
    if controls:
        text, is_utf8 = _text(block)
        text = text.replace("\r\n", "\n")
    else:  # without controls is without the CR of line ends
        text, is_utf8 = _text(clean)
    text = " ".join(text.rstrip("\n").split("\n "))  # as replace, in three quarters of the time
    if "\t" in text:
        text = text.replace("\n\t", "\t")
    if controls:  # not before folded lines are joined: a control at a line's start folds nothing
        log.note(DefectCode.HEADER_CONTROL, part)
        text = text.translate(_REPLACED if is_utf8 else _REPLACED_LATER)
    return text, is_utf8


def _text(block: bytes) -> tuple[str, bool]:
    try:
        return block.decode(), True
    except UnicodeDecodeError:
        return block.decode("latin-1"), False


def _read_eight_bit(fields: list[Field], log: DefectLog, part: str | None) -> None:
    """Read what was taken as Latin-1 anew: values in UTF-8 as that, all others in one charset."""
    others: list[tuple[int, bytes]] = []
    for at, (name, value) in enumerate(fields):
        if value.isascii():
            text = value
        else:
            octets = value.encode("latin-1")
            try:
                text = octets.decode()
            except UnicodeDecodeError:
                others.append((at, octets))
                continue
        if text != value or _NUL in text:
            fields[at] = name, text.replace(_NUL, "\N{REPLACEMENT CHARACTER}")
    codec = eight_bit_codec([octets for _, octets in others], charset_of_header(fields)) if others else ""
    for at, octets in others:
        text = octets.decode(codec).replace(_NUL, "\N{REPLACEMENT CHARACTER}")
        log.note(DefectCode.HEADER_8BIT, part, text)
        fields[at] = fields[at][0], text


def _cut_the_long(fields: list[Field], limits: MimeLimits, log: DefectLog, part: str | None) -> None:
    room = limits.header_bytes // _GROWTH
    for at in [at for at, (_, value) in enumerate(fields) if len(value) > room]:
        name, value = fields[at]
        value, was_cut = cut_utf8(value, limits.header_bytes)
        if was_cut:
            log.note(DefectCode.HEADER_TOO_LONG, part, name)
            fields[at] = name, value


def _malformed(block: bytes, used: int, log: DefectLog, part: str | None) -> int:
    """Some line is no field: where the header ends then. A mailbox separator at the top is no defect."""
    separator = _MAILBOX_LINE.match(block)
    end = fields_end = separator.end() if separator else 0
    wrong = None
    for field in _RAW_FIELD.finditer(block, end):
        if field.start() != fields_end and wrong is None:
            wrong = fields_end
        fields_end = field.end()
    if fields_end < len(block.rstrip(b"\r\n")):
        if wrong is None:
            wrong = fields_end
        used = fields_end
    if wrong is not None:
        line = block[wrong : wrong + 80].split(b"\n", 1)[0]
        log.note(DefectCode.HEADER_MALFORMED, part, line.decode("ascii", "replace").strip())
    return used
