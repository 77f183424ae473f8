"""One POP3 connection without I/O: commands become octets, octets become events.

Rules of this room:
- `TABLE` says which command is legal in which state, and where +OK and -ERR lead. Whoever sends anything else has a
  bug and gets `IllegalCommand`; a server that says anything else gets ProtocolError, and the connection is closed.
- Replies belong to outstanding commands in the order these were sent. Commands may be sent ahead of replies, but
  nothing may follow a barrier until its reply is there.
- No argument is kept or shown: some are secrets.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ingest.errors import ConnectionLost, ProtocolError
from ingest.pop3.linebuffer import LineBuffer


class IllegalCommand(RuntimeError):
    """A bug of ours: this command may not be sent now."""


class Command(enum.Enum):
    """The commands we speak."""

    CAPA = b"CAPA"
    STLS = b"STLS"
    USER = b"USER"
    PASS = b"PASS"
    APOP = b"APOP"
    AUTH = b"AUTH"
    UTF8 = b"UTF8"
    STAT = b"STAT"
    UIDL = b"UIDL"
    LIST = b"LIST"
    RETR = b"RETR"
    TOP = b"TOP"
    DELE = b"DELE"
    NOOP = b"NOOP"
    RSET = b"RSET"
    QUIT = b"QUIT"


class State(enum.Enum):
    """Where a connection stands. RFC 1939's three states, what lies between them, and the end.

    GREETING: the server has not spoken. IDENTIFIED: USER was accepted. HANDSHAKE: STLS was accepted, TLS has not
    begun. UPDATE: QUIT was confirmed, so deletes are done. CLOSED: nothing more, either way.
    """

    GREETING = "greeting"
    AUTHORIZATION = "authorization"
    IDENTIFIED = "identified"
    HANDSHAKE = "handshake"
    TRANSACTION = "transaction"
    UPDATE = "update"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Leads:
    """Where a command leads on +OK, and on -ERR."""

    granted: State
    refused: State


_AUTHORIZATION = Leads(State.AUTHORIZATION, State.AUTHORIZATION)
_TRANSACTION = Leads(State.TRANSACTION, State.TRANSACTION)
_LOGIN = Leads(State.TRANSACTION, State.AUTHORIZATION)

TABLE: Mapping[State, Mapping[Command, Leads]] = {
    State.GREETING: {},
    State.AUTHORIZATION: {
        Command.CAPA: _AUTHORIZATION,
        Command.STLS: Leads(State.HANDSHAKE, State.AUTHORIZATION),
        Command.UTF8: _AUTHORIZATION,
        Command.USER: Leads(State.IDENTIFIED, State.AUTHORIZATION),
        Command.APOP: _LOGIN,
        Command.AUTH: _LOGIN,
        Command.QUIT: Leads(State.CLOSED, State.CLOSED),
    },
    State.IDENTIFIED: {
        Command.PASS: _LOGIN,
        Command.QUIT: Leads(State.CLOSED, State.CLOSED),
    },
    State.HANDSHAKE: {},
    State.TRANSACTION: {
        Command.CAPA: _TRANSACTION,
        Command.STAT: _TRANSACTION,
        Command.UIDL: _TRANSACTION,
        Command.LIST: _TRANSACTION,
        Command.RETR: _TRANSACTION,
        Command.TOP: _TRANSACTION,
        Command.DELE: _TRANSACTION,
        Command.NOOP: _TRANSACTION,
        Command.RSET: _TRANSACTION,
        Command.QUIT: Leads(State.UPDATE, State.CLOSED),
    },
    State.UPDATE: {},
    State.CLOSED: {},
}

# After PASS another process may take over and lose what was sent behind it; STLS and AUTH forbid it (RFC 2595, 5034).
_HANDOVERS = frozenset({Command.PASS, Command.APOP})
BARRIERS = frozenset({Command.STLS, Command.AUTH, Command.QUIT}) | _HANDOVERS
_BODIED = frozenset({Command.CAPA, Command.RETR, Command.TOP})
_BODIED_WITHOUT_ARGUMENT = frozenset({Command.UIDL, Command.LIST})


@dataclass(frozen=True, slots=True)
class Greeting:
    """The server's first line, without its status."""

    ok: bool
    text: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """The status line that answers a command; `text` is without +OK or -ERR. A body may follow where `ok`."""

    command: Command
    ok: bool
    text: bytes


@dataclass(frozen=True, slots=True)
class Challenge:
    """AUTH waits for a response (RFC 5034, 4); `text` is in base64."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Data:
    """Some octets of the body of the last reply, dots unstuffed."""

    chunk: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The body of the last reply is whole."""

    command: Command


Event: TypeAlias = Greeting | Reply | Challenge | Data | End


@dataclass(slots=True)
class _Sent:
    command: Command
    leads: Leads
    bodied: bool
    wire_bytes: int
    owes_response: bool


class Connection:
    """The client's side of a connection.

    Args:
        status_line_bytes: longest status line.
        clean: turns a server's octets into text that may be shown.

    Attributes:
        state: where it stands.
        across_login: PASS and APOP are no barriers: this server is known, or tried, to keep what is sent behind them.
    """

    def __init__(self, *, status_line_bytes: int, clean: Callable[[bytes], str]) -> None:
        self.state = State.GREETING
        self.across_login = False
        self._buffer = LineBuffer(status_line_bytes)
        self._clean = clean
        self._sent: deque[_Sent] = deque()
        self._in_body = False
        self._challenged = False
        self._ended = False

    @property
    def outstanding(self) -> int:
        """Commands whose reply is not whole yet."""
        return len(self._sent)

    @property
    def outstanding_bytes(self) -> int:
        """Octets of the outstanding commands."""
        return sum(sent.wire_bytes for sent in self._sent)

    @property
    def in_body(self) -> bool:
        """Whether a reply's body is under way."""
        return self._in_body

    def send(self, command: Command, *arguments: bytes) -> bytes:
        """The octets of a command; IllegalCommand where the state does not allow it.

        ProtocolError if the server has said something already: that can be no reply.
        """
        state = self._sent[-1].leads.granted if self._sent else self.state
        leads = TABLE[state].get(command)
        if leads is None or self.state is State.CLOSED:
            raise IllegalCommand(f"{command.name} in state {state.name}")
        if self._sent and self._bars(self._sent[-1].command):
            raise IllegalCommand(f"{command.name} before the reply to {self._sent[-1].command.name}")
        if not self._sent and len(self._buffer):
            self.close()
            raise ProtocolError(f"octets that nobody asked for, before {command.name}")
        wire = _wire(b" ".join((command.value, *arguments)), command)
        bodied = command in _BODIED or (command in _BODIED_WITHOUT_ARGUMENT and not arguments)
        owes_response = command is Command.AUTH and len(arguments) == 1
        self._sent.append(_Sent(command, leads, bodied, len(wire), owes_response))
        return wire

    def respond(self, response: bytes) -> bytes:
        """The octets that answer a challenge: base64, or b"*" to give up."""
        if not self._challenged:
            raise IllegalCommand("a response without a challenge")
        self._challenged = False
        return _wire(response, Command.AUTH)

    def start_tls(self) -> None:
        """TLS begins now. ProtocolError if the server sent anything in plaintext behind its reply to STLS."""
        if self.state is not State.HANDSHAKE:
            raise IllegalCommand(f"TLS in state {self.state.name}")
        if len(self._buffer):
            raise self._injected()
        self.state = State.AUTHORIZATION

    def receive(self, data: bytes) -> None:
        """Octets from the server, b"" at the end of the stream."""
        if self.state is State.CLOSED:
            raise IllegalCommand("octets for a closed connection")
        self._ended = not data
        self._buffer.feed(data)

    def next_event(self) -> Event | None:
        """The next event, None if it takes more octets.

        ProtocolError for what is not POP3, ConnectionLost if the stream ended and something was still to come;
        the connection is closed after either.
        """
        if self.state is State.CLOSED and not self._sent:
            return None
        try:
            event = self._body_event() if self._in_body else self._line_event()
        except ProtocolError:
            self.close()
            raise
        if event is None and self._ended:
            waited_for = self._sent[0].command.name if self._sent else self.state.name
            silent = self.state is State.GREETING or bool(self._sent)  # close() empties it
            self.close()
            if silent:
                raise ConnectionLost(f"the server closed the connection ({waited_for} was under way)")
        return event

    def close(self) -> None:
        """Nothing more, either way."""
        self.state = State.CLOSED
        self._sent.clear()
        self._in_body = self._challenged = False

    def _bars(self, command: Command) -> bool:
        return command in BARRIERS and not (self.across_login and command in _HANDOVERS)

    def _body_event(self) -> Event | None:
        chunk = self._buffer.data()
        if chunk is None:
            return None
        if chunk:
            return Data(chunk)
        self._in_body = False
        return End(self._sent.popleft().command)

    def _line_event(self) -> Event | None:
        if self.state is State.HANDSHAKE and len(self._buffer):
            raise self._injected()
        line = self._buffer.line()
        if line is None:
            return None
        if self.state is State.GREETING:
            ok, text = self._status(line)
            self.state = State.AUTHORIZATION if ok else State.CLOSED
            return Greeting(ok, text)
        if not self._sent or self._challenged:
            raise ProtocolError(f"a reply that nobody asked for: {self._clean(line)}")
        return self._reply(line, self._sent[0])

    def _reply(self, line: bytes, sent: _Sent) -> Event:
        # Some servers write +OK where the bare + of a challenge belongs; without our response it can be nothing else.
        if line.startswith(b"+") and (sent.owes_response or (sent.command is Command.AUTH and not _is_ok(line))):
            sent.owes_response = False
            self._challenged = True
            return Challenge(line[3 if _is_ok(line) else 1 :].strip())
        ok, text = self._status(line)
        if sent.command in TABLE[self.state]:
            self.state = sent.leads.granted if ok else sent.leads.refused
        elif ok:  # it was sent behind a login that was refused
            raise ProtocolError(f"the server granted {sent.command.name} without a login")
        self._in_body = ok and sent.bodied
        if not self._in_body:
            self._sent.popleft()
        return Reply(sent.command, ok, text)

    def _status(self, line: bytes) -> tuple[bool, bytes]:
        if _is_ok(line):
            return True, line[3:].strip()
        if line[:4].upper() == b"-ERR":
            return False, line[4:].strip()
        raise ProtocolError(f"neither +OK nor -ERR: {self._clean(line)}")

    def _injected(self) -> ProtocolError:
        self.close()
        return ProtocolError("octets in plaintext behind the reply to STLS: someone on the way injects commands")


def _is_ok(line: bytes) -> bool:
    return line[:3].upper() == b"+OK"


def _wire(line: bytes, command: Command) -> bytes:
    if any(octet in line for octet in (b"\r", b"\n", b"\0")):
        raise IllegalCommand(f"CR, LF or NUL in an argument of {command.name}")
    return line + b"\r\n"
