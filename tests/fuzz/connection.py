"""Target: a `Connection` beside the reference. Both are told the same, and must say the same at every step.

What is checked: the octets of commands, the events and their order, the bodies to the octet, the state, what may not be
sent, which error ends it; that each event takes octets; and how much is kept between two pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from unittest.mock import patch

from pop3_reference import ACROSS_LOGIN, Body, Ended, Forbidden, Reference, Told

from fuzz.score import ACROSS, ACT, COMMAND, GONE, RESPONSE, TLS, pieces
from ingest.errors import ConnectionLost, ProtocolError
from ingest.pop3 import linebuffer
from ingest.pop3.connection import Command, Connection, Data, End, IllegalCommand, State
from ingest.pop3.replies import Cleaner

_STATUS_LINE_BYTES = 64
_NAMES = {command.value: command for command in Command}
_MOST_PIECES = 200


def run(data: bytes) -> None:
    """One input."""
    # So small a buffer that inputs fill it: what happens at its end, and where dots are far apart, happens often.
    with patch.multiple(linebuffer, _SMALL_BYTES=16, _LARGE_BYTES=64, _FAR_BYTES=8):
        pair = _Pair()
        for piece in pieces(data)[:_MOST_PIECES]:
            pair.step(piece)


class _Pair:
    def __init__(self) -> None:
        self._connection = Connection(status_line_bytes=_STATUS_LINE_BYTES, clean=Cleaner())
        self._reference = Reference(_STATUS_LINE_BYTES)
        self._open = b""  # as much of a body as was told

    def step(self, piece: bytes) -> None:
        connection, reference = self._connection, self._reference
        if not piece.startswith(ACT):
            self._hear(piece)
        elif piece.startswith(RESPONSE):
            self._same(lambda: connection.respond(piece[2:]), lambda: reference.respond(piece[2:]))
        elif piece.startswith(TLS):
            self._same(connection.start_tls, reference.start_tls)
        elif piece.startswith(ACROSS):
            connection.across_login, reference.barriers = True, ACROSS_LOGIN
        elif piece.startswith(GONE):
            self._hear(b"", gone=True)
        else:
            command, arguments = command_of(piece.removeprefix(COMMAND))
            self._same(
                lambda: connection.send(command, *arguments),
                lambda: reference.send(command, arguments),
            )
        assert connection.state is reference.state
        assert connection.outstanding == len(reference.pending)
        assert connection.in_body == reference.in_body

    def _hear(self, octets: bytes, *, gone: bool = False) -> None:
        if not octets and not gone:
            return
        told: list[Told] = []
        expected: list[Told] = []
        self._same(lambda: self._drain(octets, told), lambda: self._expect(octets, expected))
        assert told == expected
        if self._connection.in_body:
            whole = _so_far(self._reference.heard)
            assert whole.startswith(self._open)
            assert len(whole) - len(self._open) <= 3, "octets are held back"
        kept = len(self._connection._buffer)
        assert kept <= (3 if self._connection.in_body else _STATUS_LINE_BYTES) or self._connection.state is State.CLOSED

    def _drain(self, octets: bytes, told: list[Told]) -> None:
        connection = self._connection
        most = len(connection._buffer) + len(octets)
        connection.receive(octets)
        while (event := connection.next_event()) is not None:
            most -= 1
            assert most >= 0, "events out of nothing"
            if isinstance(event, Data):
                assert event.chunk
                self._open += event.chunk
            elif isinstance(event, End):
                told.append(Body(event.command, self._open))
                self._open = b""
            else:
                told.append(event)

    def _expect(self, octets: bytes, expected: list[Told]) -> None:
        try:
            expected += self._reference.hear(octets)
        except Ended as ended:
            expected += ended.told
            raise

    def _same(self, call: Callable[[], object], reference: Callable[[], object]) -> None:
        assert _verdict(call) == _verdict(reference)


def command_of(text: bytes) -> tuple[Command, Sequence[bytes]]:
    """Any text is a command: by its name, else by some other one's."""
    name, *arguments = text.split(b" ")
    return _NAMES.get(name) or list(Command)[sum(name) % len(Command)], arguments


def _verdict(call: Callable[[], object]) -> object:
    try:
        return call()
    except (IllegalCommand, Forbidden):
        return "forbidden"
    except (ProtocolError, ConnectionLost) as error:
        return f"error {error.code}" if str(error).isprintable() else f"not to be shown: {error}"
    except Ended as ended:
        return f"error {ended.code}"


def _so_far(octets: bytes) -> bytes:
    return b"\r\n".join(line.removeprefix(b".") for line in octets.split(b"\r\n"))
