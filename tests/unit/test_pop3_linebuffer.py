from __future__ import annotations

import pytest

from ingest.errors import ProtocolError
from ingest.pop3.linebuffer import LineBuffer


def body(*pieces: bytes) -> tuple[bytes, bool, bytes]:
    """The unstuffed body, whether its end was seen, and what is left behind it."""
    buffer = LineBuffer(4096)
    buffer.feed(b"+OK\r\n")
    assert buffer.line() == b"+OK"
    out = b""
    for piece in pieces:
        buffer.feed(piece)
        while (chunk := buffer.data()) is not None:
            if not chunk:
                return out, True, bytes(buffer._octets[buffer._at : buffer._end])
            out += chunk
    return out, False, b""


def test_a_status_line_ends_in_crlf_or_bare_lf() -> None:
    buffer = LineBuffer(100)
    buffer.feed(b"+OK one\r\n+OK two\n+OK th")
    assert [buffer.line(), buffer.line(), buffer.line()] == [b"+OK one", b"+OK two", None]
    buffer.feed(b"ree\r\n")
    assert buffer.line() == b"+OK three"
    assert len(buffer) == 0


@pytest.mark.parametrize("rest", [b"", b"\r\n"])
def test_a_status_line_over_its_limit_is_refused_whole_or_not(rest: bytes) -> None:
    buffer = LineBuffer(4096)
    buffer.feed(b"+OK " + b"x" * 4093 + rest)
    with pytest.raises(ProtocolError, match="more than 4096"):
        buffer.line()


@pytest.mark.parametrize(
    ("wire", "unstuffed"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n..a\r\n.\r\n", b"..\r\n.a\r\n"),
        (b".not stuffed\r\n.\r\n", b"not stuffed\r\n"),
        (b"a.b\r\nc.\r\n.\r\n", b"a.b\r\nc.\r\n"),
        (b".\r\r\n.\r\n", b"\r\r\n"),
        (b"a\r\r\n.\r\n", b"a\r\r\n"),
        (b"\r\n..\r\n.\r\n", b"\r\n.\r\n"),
    ],
)
def test_one_dot_is_taken_from_the_start_of_a_line(wire: bytes, unstuffed: bytes) -> None:
    assert body(wire + b"+OK next") == (unstuffed, True, b"+OK next")


@pytest.mark.parametrize("wire", [b"a\n.\n", b"a\n.\r\n", b"a\r\n.\n", b"a\r.\r", b"a\r\n.\r"])
def test_nothing_but_crlf_dot_crlf_ends_a_body(wire: bytes) -> None:
    assert not body(wire)[1]


def test_a_line_of_many_megabytes_passes_through_in_chunks() -> None:
    pieces = [b"x" * 65536] * 64
    assert body(*pieces, b"\r\n.\r\n") == (b"x" * 65536 * 64 + b"\r\n", True, b"")


def test_little_is_kept_back_between_chunks() -> None:
    buffer = LineBuffer(100)
    buffer.feed(b"+OK\r\nabc\r\n.\r")
    buffer.line()
    assert buffer.data() == b"abc\r\n"
    assert buffer.data() is None
    assert len(buffer) == len(b".\r")
