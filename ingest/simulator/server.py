"""The listening side: accepts, gives each connection a thread, and ends them all.

Rules of this room:
- Bounded: so many connections at a time, so long an idle wait. `stop` returns when every thread has ended.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from ingest.simulator.accounts import Accounts
from ingest.simulator.behaviour import Behaviour, Certificate, Handshake
from ingest.simulator.log import Figures, Log
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.session import Session
from ingest.simulator.wire import Gone, Wire

__all__ = ["Behaviour", "Contexts", "Simulator"]


class Contexts(Protocol):
    """Server-side contexts, one for each certificate that a behaviour may ask for."""

    def context(self, certificate: Certificate) -> ssl.SSLContext: ...


class Simulator:
    """A POP3 server in this process; a context manager that starts and stops it.

    Args:
        users: by name, the password and the maildrop.
        behaviour: what it does and does not; may be replaced at any time, sessions opened later follow.
        host: address to listen on.
        port: 0 takes a free one, see `port`.
        tls: server-side context, or one for each certificate: STLS is offered with it, or TLS from the first octet
            with `implicit_tls`.
        implicit_tls: needs `tls`.
        max_connections: more are turned away.
        idle_timeout_s: longest wait for a client (RFC 1939, 3 asks for ten minutes at least).
        clock: seconds that never go back, for LOGIN-DELAY.

    Raises:
        ValueError: `implicit_tls` without `tls`.
    """

    def __init__(
        self,
        users: Mapping[str, tuple[str, Maildrop]],
        *,
        behaviour: Behaviour = Behaviour(),  # noqa: B008 - frozen
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | Contexts | None = None,
        implicit_tls: bool = False,
        max_connections: int = 200,
        idle_timeout_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if implicit_tls and tls is None:
            raise ValueError("implicit TLS needs a context with a certificate")
        self.behaviour = behaviour
        self._accounts = Accounts(users, clock)
        self._address = (host, port)
        self._tls = tls
        self._implicit = implicit_tls
        self._max_connections = max_connections
        self._idle_timeout_s = idle_timeout_s
        self._log = Log()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._connections: dict[Wire, threading.Thread] = {}
        self._listener: socket.socket | None = None
        self._wake: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        if self._listener is None:
            raise RuntimeError("the simulator is not running")
        return int(self._listener.getsockname()[1])

    @property
    def log(self) -> Figures:
        """What happened so far."""
        return self._log.figures()

    def start(self) -> None:
        """Listen; returns when clients may connect. OSError where the address is taken."""
        if self._listener is not None:
            raise RuntimeError("the simulator is running")
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._listener = socket.create_server(self._address, family=family, backlog=self._max_connections)
        self._listener.setblocking(False)
        self._stopping.clear()
        self._wake, waker = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener, waker), name="simulator", daemon=True
        )
        self._acceptor.start()

    def stop(self) -> None:
        """Drop all sessions, without UPDATE, and stop listening; harmless when not running."""
        if self._listener is None or self._wake is None or self._acceptor is None:
            return
        self._stopping.set()
        self._wake.close()
        self._acceptor.join()
        self._listener.close()
        with self._changed:
            connections = dict(self._connections)
        for wire in connections:
            wire.abort()
        for thread in connections.values():
            thread.join()
        self._listener = self._wake = self._acceptor = None

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no session is open (a client that just dropped still holds its lock); False if one still is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections, timeout_s)

    def _accept(self, listener: socket.socket, waker: socket.socket) -> None:
        with waker:
            while True:
                ready, _, _ = select.select([listener, waker], [], [])
                if waker in ready:
                    return
                try:
                    self._admit(listener.accept()[0])
                except OSError:  # gone before it was accepted, or out of descriptors: no busy loop over that
                    self._stopping.wait(0.05)

    def _admit(self, sock: socket.socket) -> None:
        behaviour = self.behaviour
        wire = Wire(sock, behaviour, self._idle_timeout_s, self._stopping, self._log)
        with self._changed:
            full = len(self._connections) >= self._max_connections
            if not full:
                thread = threading.Thread(target=self._serve, args=(wire, behaviour), daemon=True)
                self._connections[wire] = thread
                thread.start()
        if full:
            self._log.add("turned_away")
            with contextlib.suppress(OSError, Gone):
                if not self._implicit:
                    sock.send(b"-ERR [SYS/TEMP] too many connections\r\n")
            wire.close(clean=False)

    def _serve(self, wire: Wire, behaviour: Behaviour) -> None:
        clean = False
        try:
            tls = self._tls
            context = tls if tls is None or isinstance(tls, ssl.SSLContext) else tls.context(behaviour.certificate)
            if self._implicit and context is not None:
                if behaviour.handshake is Handshake.HANGS:
                    wire.wait_for_end()
                if behaviour.handshake is Handshake.DONE:
                    wire.start_tls(context)
            Session(wire, self._accounts, behaviour, tls=context, log=self._log).run()
            clean = True
        except (Gone, OSError):
            pass  # the client left, or broke TLS: there is nobody to tell
        finally:
            wire.close(clean=clean)
            with self._changed:
                del self._connections[wire]
                self._changed.notify_all()
