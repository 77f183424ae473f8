"""Target: one header block, from its octets to the envelope, and its text as everything that stands in fields.

What is checked beside limits: no control characters come out; no address comes out of a display name, a comment or an
encoded word, whatever stands in it.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict

from fuzz.reader import LIMITS, TIGHT
from ingest.mime.addresses import parse_addresses
from ingest.mime.dates import parse_date
from ingest.mime.defects import DefectLog
from ingest.mime.envelope import build_envelope, read_envelope
from ingest.mime.fields import split_fields
from ingest.mime.limits import MimeLimits
from ingest.mime.parameters import parse_parameters
from ingest.mime.partheader import read_part_header
from ingest.mime.words import decode_words
from ingest.models import Address

_CONTROL = re.compile("[\0-\x08\x0a-\x1f\x7f]")
_REAL = "real@host.example"
_TEXT_CHARS = 300


def run(data: bytes) -> None:
    """One input."""
    for limits in (LIMITS, TIGHT):
        _block(data, limits)
    text = _CONTROL.sub(" ", data[:_TEXT_CHARS].decode("utf-8", "replace"))  # as fields are split
    parse_date(text)
    decode_words(text).encode()
    for parameters in (parse_parameters(text, 3), parse_parameters("a/b; " + text, 1000)):
        json.dumps(dict(parameters.parameters), ensure_ascii=False).encode("utf-8", "replace")
    _addresses(text)
    _spoofed(text)


def _block(data: bytes, limits: MimeLimits) -> None:
    log = DefectLog(limits)
    fields = split_fields(data, limits, log, None)
    assert 0 <= fields.octets <= len(data)
    assert len(fields.items) <= limits.headers
    assert len(fields.first) + len(fields.repeated) == len(fields.items)
    envelope = build_envelope(fields, limits, log)
    json.dumps(asdict(envelope), ensure_ascii=False, default=str).encode()
    for name, value in envelope.headers:
        assert name.isascii()
        assert name.isprintable()
        assert not _CONTROL.search(value), "a control character"
    for raw in fields.first.values():
        assert len(raw.encode()) <= limits.header_bytes
    assert envelope.date is None or envelope.date.utcoffset() is not None
    for found in (envelope.from_, envelope.sender, envelope.reply_to, envelope.to, envelope.cc):
        assert len(found) <= limits.addresses
    assert len(envelope.references) <= limits.references
    for part in (None, "1"):
        read_part_header(fields, limits, log, part, digest=False)
    assert len(log.found()) <= limits.defects
    if not data.startswith((b"\n", b"\r\n")) and b"\n\n" not in data and b"\n\r\n" not in data:
        assert read_envelope(data, limits) == envelope


def _addresses(text: str) -> None:
    """No address that isn't written outside of quotes and comments.

    In domain literals and encoded words these mean nothing: values with such ones are left to `_spoofed`.
    """
    outside = None if "[" in text or "=?" in text else "".join(_outside(text).split())
    for address in parse_addresses(text, LIMITS)[0]:
        assert address.address
        assert not _CONTROL.search(address.name)
        assert outside is None or '"' in address.address or address.address in outside, address


def _outside(text: str) -> str:
    """Without what stands in quotes and comments; where one never ends, all that follows."""
    kept, depth, quoted, at = [], 0, False, 0
    while at < len(text):
        char = text[at]
        if char == "\\" and (quoted or depth):
            at += 1
        elif char == '"' and not depth:
            quoted = not quoted
            kept.append('"')
        elif char == "(" and not quoted:
            depth += 1
        elif char == ")" and depth and not quoted:
            depth -= 1
        elif not quoted and not depth:
            kept.append(char)
        at += 1
    return "".join(kept)


def _spoofed(text: str) -> None:
    """Whatever a display name, a comment or an encoded word says, the mailbox is the one behind it."""
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    comment = "(" + re.sub(r"[()\\]", r"\\\g<0>", text) + ")"
    word = f"=?utf-8?b?{base64.b64encode(text.encode()).decode()}?="
    for phrase in (quoted, comment, word, quoted + comment, f"{word} {comment}"):
        _is_real(f"{phrase} <{_REAL}>")
        _is_real(f"a: {phrase} <{_REAL}>;")
        _is_real(f"a@one.example, {phrase} <{_REAL}>, b@two.example", "a@one.example", "b@two.example")
        found, _ = parse_addresses(f"a@one.example; {phrase} <{_REAL}>", LIMITS)
        assert _specs(found) == [_REAL], found
        found, _ = parse_addresses(f"<a@one.example>; {phrase} <{_REAL}>; b@two.example", LIMITS)
        assert set(_specs(found)) <= {"a@one.example", _REAL, "b@two.example"}, found
    _is_real(f"{_REAL} {comment}")
    _is_real(f"<{comment}{_REAL}>")


def _is_real(value: str, *others: str) -> None:
    found, wrong = parse_addresses(value, LIMITS)
    assert _specs(found) == sorted([_REAL, *others]), found
    assert wrong is None


def _specs(found: tuple[Address, ...]) -> list[str]:
    return sorted(address.address for address in found)
