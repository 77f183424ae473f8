from __future__ import annotations

from collections.abc import Callable

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


def in_body(*, status_line_bytes: int = 4096) -> LineBuffer:
    buffer = LineBuffer(status_line_bytes)
    buffer.feed(b"+OK\r\n")
    assert buffer.line() == b"+OK"
    return buffer


@pytest.mark.parametrize("go_on", [LineBuffer.data, LineBuffer.room, lambda buffer: buffer.feed(b"x")])
@pytest.mark.parametrize("wire", [b"one\r\n.", b"..one\r\n..two\r\n"])
def test_a_chunk_that_is_kept_shows_an_error_and_no_other_octets(
    go_on: Callable[[LineBuffer], object], wire: bytes
) -> None:
    buffer = in_body()
    buffer.feed(wire)
    chunk = buffer.data()
    assert chunk
    go_on(buffer)
    with pytest.raises(ValueError, match="released"):
        bytes(chunk)


def test_octets_are_received_into_one_buffer_over_and_over() -> None:
    buffer = in_body()
    received_into = []
    for _ in range(100):
        room = buffer.room()
        received_into.append(room.obj)
        room[:] = bytes(len(room))
        buffer.filled(len(room))
        while buffer.data():
            pass
    assert len(set(map(id, received_into[10:]))) == 1
    assert len(buffer.room()) <= 128 * 1024


def test_a_buffer_stays_small_until_it_is_filled() -> None:
    buffer = LineBuffer(4096)
    for _ in range(100):
        buffer.feed(b"+OK\r\n")
        assert buffer.line() == b"+OK"
    small = len(buffer.room())
    assert small <= 16 * 1024
    buffer.filled(small)
    while buffer.data():
        pass
    assert len(buffer.room()) > small


def test_there_is_always_room_behind_what_waits_to_be_read() -> None:
    buffer = LineBuffer(4096)
    for _ in range(2000):
        buffer.feed(b"+OK " + b"x" * 96 + b"\r\n")
        assert len(buffer.room()) >= len(buffer)
    for _ in range(2000):
        assert buffer.line() == b"+OK " + b"x" * 96
    assert buffer.line() is None


@pytest.mark.parametrize("gap", [0, 1, 70, 2045, 2046, 2047, 2048, 100_000])
def test_dots_near_each_other_and_far_from_each_other_are_taken(gap: int) -> None:
    lines = [b".", b"x" * gap, b"..", b".y", b"." * gap, b"x" * gap, b"z"] * 3
    wire = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n+OK"
    assert body(wire) == (b"".join(line + b"\r\n" for line in lines), True, b"+OK")


@pytest.mark.parametrize(
    "line", [b"..\r\n", b"...\r\n", b"..\r\n" + b"x" * 2100 + b"\r\n", b"\r\r\n", b"." * 76 + b"\r\n"]
)
def test_a_message_full_of_dots_passes_in_few_chunks(line: bytes) -> None:
    piece = line * (65536 // len(line))
    buffer, chunks, octets = in_body(), 0, 0
    for _ in range(32):
        buffer.feed(piece)
        while chunk := buffer.data():
            chunks += 1
            octets += len(chunk)
    dots = line.startswith(b".") * (65536 // len(line))
    assert octets == 32 * (len(piece) - dots)
    # one for each feed, and one more for each 2,048 octets at most
    assert chunks <= 32 * (2 + 65536 // 2048)
