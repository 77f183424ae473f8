"""Base64 in lines: those of one length are decoded at once, which must never show."""

from __future__ import annotations

import base64
import random

import pytest

from ingest.mime.transfer import base64_chunks, base64_octets

CONTENT = random.Random(7).randbytes(5000)


def lined(content: bytes, width: int, end: bytes) -> bytes:
    """Base64 in lines of so many characters, each with its end."""
    text = base64.b64encode(content)
    return b"".join(text[at : at + width] + end for at in range(0, len(text), width))


def decode(raw: bytes, chunk_bytes: int | None = None) -> bytes:
    """As one chunk, or cut into chunks of one size."""
    size = chunk_bytes or max(1, len(raw))
    return b"".join(base64_chunks(raw[at : at + size] for at in range(0, len(raw), size)))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n", b" \r\n", b"\t\n"])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 60, 64, 75, 76, 77, 998])
def test_lines_of_one_length_are_decoded_whatever_length_and_end_they_have(width: int, end: bytes) -> None:
    raw = lined(CONTENT, width, end)
    assert decode(raw) == base64_octets(raw) == CONTENT
    for chunk_bytes in (width + len(end), 10 * (width + len(end)), 1000):
        assert decode(raw, chunk_bytes) == CONTENT


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("length", range(4560, 4580))
def test_a_last_line_that_is_shorter_or_padded_follows_lines_of_one_length(length: int, end: bytes) -> None:
    raw = lined(CONTENT[:length], 76, end)
    assert decode(raw) == decode(raw.rstrip(b"\r\n")) == CONTENT[:length]


def test_ends_of_both_kinds_are_passed_over_where_the_lines_are_equally_long() -> None:
    text = base64.b64encode(CONTENT)
    at, lines = 0, []
    while at < len(text):  # 77 characters and LF, or 76 and CRLF: both take 78
        count, end = (76, b"\r\n") if len(lines) % 3 else (77, b"\n")
        lines.append(text[at : at + count] + end)
        at += count
    assert decode(b"".join(lines)) == CONTENT


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("line", [0, 1, 30, 60, 85])
@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda line: line[:40] + b"!" + line[41:], id="a stray character in place of one"),
        pytest.param(lambda line: line[:40] + b"\xff\0" + line[40:], id="stray octets that make it longer"),
        pytest.param(lambda line: line[:-10] + line[-9:], id="a character less"),
        pytest.param(lambda line: b"", id="no line"),
        pytest.param(lambda line: b"\n" + line, id="an empty line before it"),
        pytest.param(lambda line: line[:20] + b"==" + line[22:], id="padding in the middle"),
        pytest.param(lambda line: line.replace(b"\n", b"A"), id="no end"),
        pytest.param(lambda line: line[:20] + b"\n" + line[21:], id="an end in place of a character"),
        pytest.param(lambda line: line[:74] + b"\r" + line[75:], id="a carriage return in place of a character"),
    ],
)
def test_one_damaged_line_costs_the_same_as_where_octet_after_octet_comes(
    damaged: object, line: int, end: bytes
) -> None:
    assert callable(damaged)
    lines = lined(CONTENT, 76, end).splitlines(keepends=True)
    raw = b"".join([*lines[:line], damaged(lines[line]), *lines[line + 1 :]])
    assert decode(raw) == decode(raw, 1)
    assert decode(raw, 790) == decode(raw, 1)
    assert decode(raw).startswith(CONTENT[: line * 57])


def test_lines_of_one_length_that_are_no_base64_are_nothing() -> None:
    assert decode(b"!?\r\n" * 100) == b""
    assert decode(b"\r\n" * 100) == decode(b"\n" * 100) == b""
    assert decode(b"=\n" * 100) == b""
