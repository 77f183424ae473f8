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

from ingest.simulator.behaviour import Behaviour
from ingest.simulator.log import Log

_CHUNK_BYTES = 65_536


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
        behaviour: `latency_s` and `drop_after_bytes` matter here.
        idle_timeout_s: longest wait for the other side.
        stopping: ends waits of our own.
        log: counts flights and octets.
    """

    def __init__(
        self, sock: socket.socket, behaviour: Behaviour, idle_timeout_s: float, stopping: threading.Event, log: Log
    ) -> None:
        sock.settimeout(idle_timeout_s)
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
            data = self._sock.recv(_CHUNK_BYTES)
            if not data:
                raise Gone
            self._in_flight = False
            self._in += data
        line = bytes(self._in[: end + 1])
        del self._in[: end + 1]
        if len(line) > limit:
            raise LineTooLong
        if not line.endswith(b"\r\n"):
            raise BareLineFeed
        return line[:-2]

    def discard_input(self) -> None:
        """Lose what came in the same segment behind the last line."""
        self._in.clear()

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
        self._sock.sendall(data)
        if cut:
            raise Gone

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
