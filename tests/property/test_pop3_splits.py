"""However the octets of a server are cut, the same events come of them."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import IngestError
from ingest.pop3.connection import Command, Connection, Data, Event, State
from ingest.pop3.linebuffer import LineBuffer
from ingest.pop3.replies import Cleaner

Transcript = tuple[State, tuple[tuple[Command, tuple[bytes, ...]], ...], bytes]

_rng = random.Random(7)
_DOTTED = b"".join(
    _rng.choice((b"..", b"..\r", b"...", b".. ", b"", b"\r", b"\n", b"x.", b"\r\r"))
    + b"y" * _rng.randrange(3)
    + b"\r\n"
    for _ in range(300)
)

TRANSCRIPTS: dict[str, Transcript] = {
    "greeting": (State.GREETING, (), b"+OK ready <1@h>\r\n"),
    "refusing greeting": (State.GREETING, (), b"-ERR [SYS/TEMP] later\r\n"),
    "capabilities": (State.AUTHORIZATION, ((Command.CAPA, ()),), b"+OK\r\nTOP\r\nUIDL\r\nSASL PLAIN\r\n.\r\n"),
    "login": (
        State.AUTHORIZATION,
        ((Command.USER, (b"u",)), (Command.PASS, (b"p",))),
        b"+OK\r\n+OK logged in\n",
    ),
    "injection": (State.AUTHORIZATION, ((Command.STLS, ()),), b"+OK go\r\n+OK\r\nSASL EVIL\r\n.\r\n"),
    "session to quit": (
        State.TRANSACTION,
        (
            (Command.STAT, ()),
            (Command.UIDL, ()),
            (Command.LIST, ()),
            (Command.RETR, (b"1",)),
            (Command.RETR, (b"2",)),
            (Command.TOP, (b"1", b"0")),
            (Command.DELE, (b"1",)),
            (Command.QUIT, ()),
        ),
        b"+OK 2 900\r\n+OK\r\n1 a\r\n2   b\r\n.\r\n+OK\r\n.\r\n+OK\r\n"
        + _DOTTED
        + b".\r\n-ERR no such message\r\n+OK\r\nA: b\r\n\r\n.\r\n+OK\r\n+OK bye\r\n",
    ),
    "not pop3": (State.GREETING, (), b"220 smtp\r\n"),
    "garbage between": (State.TRANSACTION, ((Command.STAT, ()), (Command.NOOP, ())), b"+OK 1 2\r\nwhat?\r\n+OK\r\n"),
    "endless status line": (State.TRANSACTION, ((Command.STAT, ()),), b"+OK " + b"x" * 200),
}
TRAILING = (b"", b"\r\n", b"-ERR idle too long\r\n", b".\r\n")


def played(transcript: Transcript, pieces: list[bytes]) -> list[Event | bytes | str]:
    """The events of a transcript, neighbouring data joined, ended by the error if there is one."""
    state, commands, _ = transcript
    connection = Connection(status_line_bytes=100, clean=Cleaner())
    connection.state = state
    for command, arguments in commands:
        connection.send(command, *arguments)
    found: list[Event | bytes | str] = []
    try:
        for piece in (*pieces, b""):
            connection.receive(piece)
            while (event := connection.next_event()) is not None:
                last = found[-1] if found else None
                if not isinstance(event, Data):
                    found.append(event)
                elif isinstance(last, bytes):
                    found[-1] = last + event.chunk
                else:
                    found.append(bytes(event.chunk))
    except IngestError as error:
        found.append(f"{type(error).__name__}: {error}")
    except RuntimeError:
        assert connection.state is State.CLOSED
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [piece for start, end in pairwise(edges) if (piece := data[start:end])]


@pytest.mark.parametrize("trailing", TRAILING)
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_byte_by_byte_is_as_whole(name: str, trailing: bytes) -> None:
    transcript = TRANSCRIPTS[name]
    data = transcript[2] + trailing
    assert played(transcript, [data[at : at + 1] for at in range(len(data))]) == played(transcript, [data])


@given(st.sampled_from(sorted(TRANSCRIPTS)), st.sampled_from(TRAILING), st.lists(st.integers(0, 1 << 16), max_size=40))
def test_any_split_is_as_whole(name: str, trailing: bytes, places: list[int]) -> None:
    transcript = TRANSCRIPTS[name]
    data = transcript[2] + trailing
    assert played(transcript, cut(data, places)) == played(transcript, [data])


def stuffed(message: bytes) -> bytes:
    """As RFC 1939, 3 says it, a line at a time."""
    return b"".join((b"." if line[:1] == b"." else b"") + line + b"\r\n" for line in message.split(b"\r\n")) + b".\r\n"


@given(
    st.lists(
        st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"\r\n.", b"x", b"\0", b"y" * 2044, b"z" * 9000]), max_size=60
    ).map(b"".join),
    st.lists(st.one_of(st.integers(0, 200), st.integers(0, 1 << 16)), max_size=12),
    st.binary(max_size=8),
)
def test_what_was_stuffed_comes_out_as_it_was(message: bytes, places: list[int], trailing: bytes) -> None:
    buffer = LineBuffer(100)
    out, ended = b"", False
    for piece in cut(stuffed(message) + trailing, places):
        buffer.feed(piece)
        while not ended and (chunk := buffer.data()) is not None:
            ended = not chunk
            out += chunk
    assert ended
    assert out == message + b"\r\n"
    assert buffer._octets[buffer._at : buffer._end] == trailing
