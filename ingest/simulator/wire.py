"""One connection as lines in and flights out.

Rules of this room:
- Replies gather until the server has to wait for input: what was asked in one segment is answered in one flight.
- A line has a limit and a wait has a timeout. Whatever ends the connection is `Gone` or an OSError, and both mean that
  no UPDATE state was reached (RFC 1939, 6).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

from ingest.simulator.behaviour import Behaviour
from ingest.simulator.log import Log

_CHUNK_BYTES = 65_536
_END = b"\r\n.\r\n"
_APART_S = 0.005  # else two segments may be read as one


class Gone(Exception):
    """The connection is over."""


class LineTooLong(Exception):
    """More octets than a line may have."""


class BareLineFeed(Exception):
    """A line that did not end in CRLF."""


class Wire:
    """Owns the socket.

    Args:
        sock: connected; closed by `close`.
        behaviour: latency, segments, and after how many octets or seconds the connection breaks off.
        idle_timeout_s: longest wait for the other side.
        stopping: ends waits of our own.
        log: counts flights and octets.
    """

    def __init__(
        self, sock: socket.socket, behaviour: Behaviour, idle_timeout_s: float, stopping: threading.Event, log: Log
    ) -> None:
        sock.settimeout(idle_timeout_s)
        self._idle_timeout_s = idle_timeout_s
        self._ends_at = None if behaviour.session_s is None else time.monotonic() + behaviour.session_s
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._swap = threading.Lock()
        self._behaviour = behaviour
        self._stopping = stopping
        self._log = log
        self._in = bytearray()
        self._out = bytearray()
        self._sent = 0
        self._in_flight = False

    @property
    def encrypted(self) -> bool:
        return isinstance(self._sock, ssl.SSLSocket)

    def read_line(self, limit: int) -> bytes:
        """The next line without its CRLF.

        Args:
            limit: octets that the line may have, CRLF included.

        Raises:
            LineTooLong: the rest of the line was not read.
            BareLineFeed: the line was read and is lost.
            Gone: the other side closed.
        """
        while (end := self._in.find(b"\n")) < 0:
            if len(self._in) >= limit:
                raise LineTooLong
            self.flush()
            self._in += self._receive()
            self._in_flight = False
        line = bytes(self._in[: end + 1])
        del self._in[: end + 1]
        if len(line) > limit:
            raise LineTooLong
        if not line.endswith(b"\r\n"):
            raise BareLineFeed
        return line[:-2]

    @property
    def has_input(self) -> bool:
        """Whether something came in the same segment behind the last line."""
        return bool(self._in)

    def discard_input(self) -> None:
        """Lose what came in the same segment behind the last line."""
        self._in.clear()

    def wait_for_end(self) -> None:
        """Listen to nothing until the other side leaves; raises Gone or OSError."""
        while True:
            self._receive()

    def pause(self, seconds: float) -> None:
        """Wait; Gone if the server stops, or the session's time ends meanwhile."""
        if self._stopping.wait(min(seconds, self._left_s())):
            raise Gone

    def write(self, data: bytes) -> None:
        """Add to the flight; a long one is on its way before it is complete."""
        self._out += data
        if len(self._out) >= _CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is written."""
        if not self._out:
            return
        data = bytes(self._out)
        self._out.clear()
        if not self._in_flight:
            if self._behaviour.latency_s and self._stopping.wait(self._behaviour.latency_s):
                raise Gone
            self._in_flight = True
            self._log.add("flights")
        limit = self._behaviour.drop_after_bytes
        cut = limit is not None and self._sent + len(data) >= limit
        if cut and limit is not None:
            data = data[: limit - self._sent]
        self._sent += len(data)
        # counted before it is sent: whoever has read a reply finds it in the figures
        self._log.add("bytes_sent", len(data))
        for segment in self._segments(data):
            self._left_s()
            self._sock.sendall(segment)
        if cut:
            raise Gone

    def _receive(self) -> bytes:
        """Some octets; Gone where the other side closed."""
        if self._ends_at is not None:
            self._sock.settimeout(min(self._idle_timeout_s, self._left_s()))
        data = self._sock.recv(_CHUNK_BYTES)
        if not data:
            raise Gone
        return data

    def _left_s(self) -> float:
        """Seconds that the session may still take; Gone if there are none."""
        if self._ends_at is None:
            return threading.TIMEOUT_MAX
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise Gone
        return left_s

    def _segments(self, data: bytes) -> Iterator[bytes]:
        """The octets in the pieces in which they leave."""
        size = self._behaviour.segment_bytes
        if size is not None:
            yield from (data[at : at + size] for at in range(0, len(data), size))
            return
        if self._behaviour.split_ends:
            while (end := data.find(_END)) >= 0:
                for count in (end + 1, 2, 1, 1):  # behind the first CR, behind the dot, and the last CRLF in two
                    yield data[:count]
                    data = data[count:]
                    self.pause(_APART_S)
        if data:
            yield data

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands; what came in plaintext before is thrown away, never carried over (RFC 2595, 4)."""
        self._in.clear()
        with self._swap:
            wrapped = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
            self._sock = wrapped
        if self._stopping.is_set():
            raise Gone
        wrapped.do_handshake()

    def abort(self) -> None:
        """Wake whoever waits on this connection, from another thread."""
        with self._swap, contextlib.suppress(OSError):
            # not SSLSocket's own: that one drops the TLS state under the waiting thread
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self, *, clean: bool) -> None:
        """Close; a clean end says so in TLS, a broken one is seen as such."""
        with self._swap, contextlib.suppress(OSError, ValueError):
            if clean and isinstance(self._sock, ssl.SSLSocket):
                self._sock.settimeout(0)  # send close_notify, don't wait for theirs
                self._sock.unwrap()
        self._sock.close()
