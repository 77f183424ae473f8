"""Target: filenames, from a Content-Disposition to the name that may be shown.

What is checked: a clean name holds nothing that a path, a terminal or a file system would take for something else, it
fits, and stays as it is when cleaned again; a name that was encoded by the book comes back to the character.
"""

from __future__ import annotations

import base64
import ntpath
import posixpath
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote

from fuzz.mail import heads
from fuzz.reader import LIMITS
from ingest.mime.filenames import clean_filename, filename_of
from ingest.mime.limits import MimeLimits
from ingest.mime.parameters import EMPTY, parse_parameters

_NAMED = re.compile(rb"name.{0,200}", re.DOTALL | re.IGNORECASE)
_UNWANTED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"} | {
    device + digit for device in ("COM", "LPT") for digit in "0123456789\xb9\xb2\xb3"
}
_SECTION_OCTETS = 7
_PARAMETERS = MimeLimits().parameters


def run(data: bytes) -> None:
    """One input: what stands behind "attachment;", and a name as it is."""
    text = data.decode("utf-8", "replace")
    for value in (f"attachment; {text}", f"attachment; filename={text}", text):
        read = parse_parameters(value, _PARAMETERS)
        for sent in (filename_of(read, EMPTY, LIMITS), filename_of(EMPTY, read, LIMITS)):
            if sent is not None:
                assert 0 < len(sent.encode()) <= LIMITS.filename_raw_bytes
                _clean(sent)
    _clean(text)
    _round_trip(text)


def _clean(sent: str) -> None:
    for limit in (LIMITS.filename_bytes, 16):
        name = clean_filename(sent, limit)
        if name is None:
            continue
        assert 0 < len(name.encode()) <= limit
        assert not set(name) & {"/", "\\"}
        assert posixpath.basename(name) == name == ntpath.basename(name)
        assert name.strip(" .") == name
        assert not any(unicodedata.category(char) in _UNWANTED for char in name)
        assert unicodedata.is_normalized("NFC", name)
        assert re.split(r"[.:]", name)[0].strip().upper() not in _DEVICES, name
        assert clean_filename(name, limit) == name


def _round_trip(name: str) -> None:
    """As RFC 2231 has it, in one piece and in sections, and as RFC 2047 words, which RFC 2047 forbids here."""
    if not name or "\0" in name or "=?" in name:
        return
    encoded = quote(name, safe="")
    assert _name(f"filename*=utf-8''{encoded}") == name
    octets = name.encode()
    pieces = [octets[at : at + _SECTION_OCTETS] for at in range(0, len(octets), _SECTION_OCTETS)]
    for first in (0, 1):
        sections = [
            f"filename*{at}*=" + ("" if at > first else "utf-8''") + quote(piece, safe="")
            for at, piece in enumerate(pieces, first)
        ]
        assert _name("; ".join(sections)) == name
        assert _name("; ".join(reversed(sections))) == name
    word = f"=?utf-8?b?{base64.b64encode(octets).decode()}?="
    assert _name(f'filename="{word}"') == re.sub(r"[\0-\x08\x0a-\x1f\x7f]+", " ", name)


def _name(parameters: str) -> str | None:
    return filename_of(parse_parameters("attachment; " + parameters, _PARAMETERS), EMPTY, LIMITS)


def seeds() -> Iterator[bytes]:
    """The names in the mail that all start from, and what else names have been."""
    for head in heads():
        for found in _NAMED.finditer(head):
            yield found[0]
    yield from (
        b"../../etc/passwd",
        b"C:\\con.txt",
        b"nul:stream.txt",
        b" . a . ",
        b"filename*1=b; filename*0*=utf-8''%e2%82%ac; filename*2*=%00",
        "a\u202etxt.exe\u200b.".encode(),
        "e\u0301\u0323.txt".encode() * 40,
        b"a" * 300 + b".tar.gz",
        b"COM\xc2\xb9 .txt",
        b'"\\"a\\\\b"',
    )
