"""What a POP3 connection must make of a server's octets, by the slowest and plainest means.

It shares the table of states with the code, and nothing else: whole lines, whole bodies, no chunk and no search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ingest.pop3.connection import (
    BARRIERS,
    TABLE,
    Challenge,
    Command,
    Data,
    End,
    Event,
    Greeting,
    Leads,
    Reply,
    State,
)


@dataclass(frozen=True)
class Body:
    """A body: as `End` stands for it where it is whole, as far as it came where it is not (`command` None)."""

    command: Command | None
    octets: bytes


Told: TypeAlias = Greeting | Reply | Challenge | Body

ACROSS_LOGIN = BARRIERS - {Command.PASS, Command.APOP}
"""What still bars where a server keeps what is sent behind a login."""


class Forbidden(Exception):
    """The client must not do this now."""


class Ended(Exception):
    """The connection ends with an error of this `code`, behind what was `told`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.told: list[Told] = []


@dataclass
class _Pending:
    command: Command
    leads: Leads
    bodied: bool
    owes_response: bool


def joined(events: Iterable[Event]) -> list[Told]:
    """Events with the chunks of each body put together."""
    told: list[Told] = []
    octets: list[bytes] = []
    for event in events:
        if isinstance(event, Data):
            octets.append(event.chunk)
        elif isinstance(event, End):
            told.append(Body(event.command, b"".join(octets)))
            octets.clear()
        else:
            assert not octets, "a reply within a body"
            told.append(event)
    if octets:
        told.append(Body(None, b"".join(octets)))
    return told


def unstuffed(octets: bytes) -> tuple[bytes, bytes] | None:
    """A body and what stands behind it, None while its last line is not there (RFC 1939, 3)."""
    body = b""
    while True:
        line, end, octets = octets.partition(b"\r\n")
        if not end:
            return None
        if line == b".":
            return body, octets
        body += line.removeprefix(b".") + end


class Reference:
    """A connection that keeps all it heard until it can say what it is.

    Args:
        status_line_bytes: longest status line.
        barriers: what nothing may be sent behind, before its reply is there.
    """

    def __init__(self, status_line_bytes: int, barriers: frozenset[Command] = BARRIERS) -> None:
        self.state = State.GREETING
        self.heard = b""
        self.in_body = False
        self.challenged = False
        self.pending: list[_Pending] = []
        self._status_line_bytes = status_line_bytes
        self.barriers = barriers

    def may_send(self, command: Command) -> bool:
        """Whether the table has it now, and nothing that must be waited for is under way."""
        state = self.pending[-1].leads.granted if self.pending else self.state
        barred = bool(self.pending) and self.pending[-1].command in self.barriers
        return self.state is not State.CLOSED and command in TABLE[state] and not barred

    def send(self, command: Command, arguments: Sequence[bytes]) -> bytes:
        if not self.may_send(command):
            raise Forbidden
        if not self.pending and self.heard:
            raise self._ended("protocol")
        line = b" ".join([command.value, *arguments])
        if set(line) & set(b"\r\n\0"):
            raise Forbidden
        state = self.pending[-1].leads.granted if self.pending else self.state
        lists = command in {Command.UIDL, Command.LIST} and not arguments
        bodied = lists or command in {Command.CAPA, Command.RETR, Command.TOP}
        owes_response = command is Command.AUTH and len(arguments) == 1
        self.pending.append(_Pending(command, TABLE[state][command], bodied, owes_response))
        return line + b"\r\n"

    def respond(self, response: bytes) -> bytes:
        if not self.challenged:
            raise Forbidden
        self.challenged = False
        if set(response) & set(b"\r\n\0"):
            raise Forbidden
        return response + b"\r\n"

    def start_tls(self) -> None:
        if self.state is not State.HANDSHAKE:
            raise Forbidden
        self.state = State.AUTHORIZATION

    def hear(self, octets: bytes) -> list[Told]:
        """What is told now; b"" ends the stream. `Ended` for an error."""
        if self.state is State.CLOSED:
            raise Forbidden
        self.heard += octets
        told: list[Told] = []
        try:
            while (event := self._next()) is not None:
                told.append(event)
            if not octets:
                self._stream_ended()
        except Ended as ended:
            ended.told = told
            raise
        return told

    def _stream_ended(self) -> None:
        silent = bool(self.pending) or self.state is State.GREETING
        self._close()
        if silent:
            raise Ended("connection_lost")

    def _next(self) -> Told | None:
        if self.state is State.CLOSED:
            return None
        if self.in_body:
            return self._body()
        if self.state is State.HANDSHAKE and self.heard:
            raise self._ended("protocol")
        line, end, rest = self.heard.partition(b"\n")
        if len(line) > self._status_line_bytes:
            raise self._ended("protocol")
        if not end:
            return None
        self.heard = rest
        return self._line(line.removesuffix(b"\r"))

    def _body(self) -> Told | None:
        whole = unstuffed(self.heard)
        if whole is None:
            return None
        body, self.heard = whole
        self.in_body = False
        return Body(self.pending.pop(0).command, body)

    def _line(self, line: bytes) -> Told:
        ok, err = line.upper().startswith(b"+OK"), line.upper().startswith(b"-ERR")
        if self.state is State.GREETING and (ok or err):
            self.state = State.AUTHORIZATION if ok else State.CLOSED
            return Greeting(ok, line[3 if ok else 4 :].strip())
        if self.state is State.GREETING or not self.pending or self.challenged:
            raise self._ended("protocol")
        answered = self.pending[0]
        if answered.command is Command.AUTH and line.startswith(b"+") and (answered.owes_response or not ok):
            self.challenged, answered.owes_response = True, False
            return Challenge(line[3 if ok else 1 :].strip())
        if not ok and not err:
            raise self._ended("protocol")
        if answered.command in TABLE[self.state]:
            self.state = answered.leads.granted if ok else answered.leads.refused
        elif ok:
            raise self._ended("protocol")
        self.in_body = ok and answered.bodied
        if not self.in_body:
            self.pending.pop(0)
        return Reply(answered.command, ok, line[3 if ok else 4 :].strip())

    def _ended(self, code: str) -> Ended:
        self._close()
        return Ended(code)

    def _close(self) -> None:
        self.state = State.CLOSED
        self.pending.clear()
        self.in_body = self.challenged = False
