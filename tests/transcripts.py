"""POP3 sessions as servers of many makes speak them: read from tests/corpus/pop3, played through a `Connection`.

The format is described beside them, in tests/corpus/pop3/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from pop3_reference import Told, joined

from ingest.errors import IngestError
from ingest.pop3.connection import Command, Connection, Data, Event, State
from ingest.pop3.replies import Cleaner

DIRECTORY = Path(__file__).parent / "corpus" / "pop3"
STATUS_LINE_BYTES = 512
TLS = "-- TLS"
GONE = "-- gone"
ACROSS = "-- across"

_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|[rnt\\])")
_PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


@dataclass(frozen=True)
class Say:
    """What the client says: a command with its arguments, or, without a command, the response to a challenge."""

    command: Command | None
    arguments: tuple[bytes, ...]


@dataclass
class Turn:
    """What the client does, what the server answers to all of it, and what is to come of that."""

    encrypt: bool = False
    across: bool = False
    says: list[Say] = field(default_factory=list)
    heard: bytes = b""
    gone: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Transcript:
    """One session."""

    name: str
    turns: tuple[Turn, ...]

    @property
    def size(self) -> int:
        """All that the server says."""
        return sum(len(turn.heard) for turn in self.turns)


@dataclass(frozen=True)
class Played:
    """What came of a session: for each turn that was reached its events; the error that ended it."""

    turns: list[list[Told]]
    error: IngestError | None


def load(path: Path) -> Transcript:
    """Read one file; ValueError for a line that is none."""
    turns = [Turn()]
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if (line[:2] in {"C:", "C+"} or line in {TLS, ACROSS}) and (turns[-1].heard or turns[-1].gone):
            turns.append(Turn())
        if not _take(turns[-1], line):
            raise ValueError(f"{path.name}:{number}: {line!r}")
    return Transcript(path.stem, tuple(turns))


def _take(turn: Turn, line: str) -> bool:
    """Add a line to a turn; False where it is none."""
    text = line[2:].removeprefix(" ")
    match line[:2]:
        case "C:":
            name, *arguments = octets(text).split(b" ")
            turn.says.append(Say(Command(name), tuple(arguments)))
        case "C+":
            turn.says.append(Say(None, (octets(text),)))
        case "S:":
            turn.heard += octets(text) + b"\r\n"
        case "S.":
            turn.heard += octets(text)
        case "#=":
            turn.notes.append(text)
        case "--":
            turn.encrypt |= line == TLS
            turn.gone |= line == GONE
            turn.across |= line == ACROSS
            return line in {TLS, GONE, ACROSS}
        case _:
            return not line or line.startswith("#")
    return True


def load_all() -> list[Transcript]:
    """Every transcript of the corpus."""
    return [load(path) for path in sorted(DIRECTORY.glob("*.txt"))]


def play(transcript: Transcript, places: Collection[int] = (), *, trailing: bytes = b"") -> Played:
    """Play a session, the server's octets cut at these places of all it says; `trailing` comes right behind the last.

    What the client says waits for the server's whole answer, so that the end of a turn is always a cut.
    """
    connection = Connection(status_line_bytes=STATUS_LINE_BYTES, clean=Cleaner())
    turns: list[list[Told]] = []
    at, last = 0, transcript.turns[-1]
    for turn in transcript.turns:
        heard = turn.heard + (trailing if turn is last else b"")
        inner = sorted({place - at for place in places if 0 < place - at < len(heard)})
        at += len(heard)
        found: list[Event] = []
        try:
            _say(connection, turn)
            for start, end in pairwise([0, *inner, len(heard)]):
                _hear(connection, heard[start:end], found)
            if turn.gone:
                _hear(connection, b"", found)
        except IngestError as error:
            assert connection.state is State.CLOSED, "an error closes the connection"
            return Played([*turns, joined(found)], error)
        turns.append(joined(found))
    return Played(turns, None)


def _say(connection: Connection, turn: Turn) -> None:
    connection.across_login |= turn.across
    if turn.encrypt:
        connection.start_tls()
    for say in turn.says:
        if say.command is None:
            connection.respond(*say.arguments)
        else:
            connection.send(say.command, *say.arguments)


def _hear(connection: Connection, heard: bytes, found: list[Event]) -> None:
    if connection.state is State.CLOSED:
        return  # by a refusal, or by QUIT before the login: whatever comes behind it is nobody's
    connection.receive(heard)
    while (event := connection.next_event()) is not None:
        found.append(Data(bytes(event.chunk)) if isinstance(event, Data) else event)


def octets(text: str) -> bytes:
    """The octets that a line of the corpus stands for."""
    return _ESCAPE.sub(lambda found: _PLAIN.get(found[1]) or bytes.fromhex(found[1][1:].decode()), text.encode())
