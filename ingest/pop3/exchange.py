"""Drives a `Connection` over a `ByteStream`: sends ahead within a window, waits within deadlines, counts flights.

Rules of this room:
- Every wait ends: read timeout, the session's deadline, and a least rate while a body comes. Only waiting counts, so
  that our own slowness is never called the host's.
- Who leaves replies outstanding leaves a broken exchange: nothing more can be said in it, not even QUIT.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ingest.errors import ConnectionLost, IngestError, ProtocolError
from ingest.pop3.connection import Challenge, Command, Connection, Data, End, Event, IllegalCommand, Reply, State
from ingest.pop3.limits import SessionLimits
from ingest.ports import ByteStream, Clock

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A command with its arguments; `weight_bytes` is what its reply is said to take."""

    command: Command
    arguments: tuple[bytes, ...] = ()
    weight_bytes: int = 0

    @property
    def wire_bytes(self) -> int:
        """Octets of the command on the wire."""
        return len(self.command.value) + 2 + sum(1 + len(argument) for argument in self.arguments)


class Exchange:
    """Requests out, replies in. `flights` is how many round trips were waited for, the greeting not counted."""

    def __init__(
        self,
        stream: ByteStream,
        connection: Connection,
        *,
        clock: Clock,
        limits: SessionLimits,
        on_progress: Callable[[], None],
    ) -> None:
        self.broken = False
        self.flights = 0
        self.received_bytes = 0
        self._stream = stream
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._on_progress = on_progress
        self._flight_of: deque[int] = deque()
        self._most_silence_s = limits.read_timeout_s
        self._waited_s = 0.0
        self._window_began = (0.0, 0)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Around each use: the replies to all that is sent within are read within, or the exchange is broken."""
        if self.broken:
            raise ConnectionLost("the session broke earlier")
        if self._owed():
            raise IllegalCommand("another call of this session is not finished")
        try:
            yield
        finally:
            if self._owed() or self._connection.state is State.CLOSED:
                self.give_up()

    @contextmanager
    def impatient(self, most_s: float) -> Iterator[None]:
        """Within it no silence may last longer than this; 0 sets no limit of its own."""
        self._most_silence_s = most_s or self._limits.read_timeout_s
        try:
            yield
        finally:
            self._most_silence_s = self._limits.read_timeout_s

    def give_up(self) -> None:
        """From here on nothing more is sent or read."""
        self.broken = True
        self._connection.close()

    def ask(self, command: Command, *arguments: bytes) -> Reply:
        """One command, one reply; a body is left to `body`."""
        self.send(Request(command, arguments))
        return self.reply()

    def pipelined(self, requests: Sequence[Request], *, ahead: bool) -> Iterator[tuple[int, Reply]]:
        """Each request's index and reply, in order; read a reply's body before asking for the next one.

        With `ahead`, requests leave before earlier replies are there, as many as the window takes.
        """
        following, waiting = 0, 0
        most = self._limits.window_messages if ahead else 1
        weight = 0
        for index, request in enumerate(requests):
            # Refilled when half empty, so that commands leave in few segments.
            if waiting * 2 <= most:
                batch: list[Request] = []
                wire = self._connection.outstanding_bytes
                while following < len(requests) and waiting < most:
                    candidate = requests[following]
                    wire += candidate.wire_bytes
                    heavy = weight + candidate.weight_bytes > self._limits.window_bytes
                    if waiting and (heavy or wire > self._limits.window_command_bytes):
                        break
                    batch.append(candidate)
                    weight += candidate.weight_bytes
                    waiting += 1
                    following += 1
                self.send(*batch)
            yield index, self.reply()
            waiting -= 1
            weight -= request.weight_bytes

    def respond(self, response: bytes) -> None:
        """Answer a challenge."""
        self._write(self._connection.respond(response))
        self._flight_of.append(self.flights + 1)

    def reply(self) -> Reply:
        """The next status line."""
        event = self.event()
        if not isinstance(event, Reply):
            raise ProtocolError(f"{type(event).__name__.lower()} where a reply belongs")
        return event

    def body(self) -> Iterator[bytes]:
        """The body of the last reply in chunks as they came, dots unstuffed."""
        self._window_began = (self._waited_s, self.received_bytes)
        while not isinstance(event := self.event(), End):
            if isinstance(event, Data):
                yield event.chunk

    def head(self, most_bytes: int, dropped_bytes: int = 0) -> tuple[bytes, bool]:
        """The body of the last reply, cut at a limit; False if more came than is dropped: then the exchange is over."""
        body, came = bytearray(), 0
        for chunk in self.body():
            body += chunk[: most_bytes - len(body)]
            came += len(chunk)
            if came > most_bytes + dropped_bytes:
                self.give_up()
                return bytes(body), False
        return bytes(body), True

    def event(self) -> Event:
        """The next event, waited for within the deadlines."""
        try:
            while (event := self._connection.next_event()) is None:
                self._receive()
        except IngestError:
            self.give_up()
            raise
        if isinstance(event, (Reply, Challenge)) and self._flight_of:
            self.flights = max(self.flights, self._flight_of.popleft())
        return event

    def send(self, *requests: Request) -> None:
        """Send without waiting, all in one piece."""
        if not requests:
            return
        try:
            wire = b"".join(self._connection.send(request.command, *request.arguments) for request in requests)
        except IngestError:
            self.give_up()
            raise
        self._flight_of.extend([self.flights + 1] * len(requests))
        self._write(wire)

    def _owed(self) -> bool:
        return self._connection.outstanding > 0

    def _write(self, wire: bytes) -> None:
        started = self._clock.monotonic()
        try:
            self._stream.send(wire, self._patience_s())
        except IngestError:
            self.give_up()
            raise
        self._waited_s += self._clock.monotonic() - started

    def _receive(self) -> None:
        started = self._clock.monotonic()
        data = self._stream.receive(CHUNK_BYTES, self._patience_s())
        self._waited_s += self._clock.monotonic() - started
        self.received_bytes += len(data)
        self._connection.receive(data)
        if self._connection.in_body:
            self._check_rate()
        self._on_progress()

    def _patience_s(self) -> float:
        deadline_s = self._limits.deadline_s + self.received_bytes / self._limits.deadline_bytes_per_s
        left_s = deadline_s - self._waited_s
        if left_s <= 0:
            raise ConnectionLost(f"the session's deadline of {deadline_s:.0f} s passed")
        return min(self._most_silence_s, left_s)

    def _check_rate(self) -> None:
        since_s, since_bytes = self._window_began
        if self._waited_s - since_s < self._limits.min_bytes_window_s:
            return
        came = self.received_bytes - since_bytes
        if came < self._limits.min_bytes:
            raise ConnectionLost(f"too slow: {came} octets in {self._waited_s - since_s:.0f} s")
        self._window_began = (self._waited_s, self.received_bytes)
