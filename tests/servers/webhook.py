"""An endpoint for webhooks on loopback, in threads of this process. It keeps what it confirmed.

Rules of this file:
- A test changes what it answers by `answer`; what it hangs up on, by answering None.
- `stop` frees the port and drops every connection; `start` listens on the same port again.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

Reply = tuple[int, Mapping[str, str], bytes]
FINE: Reply = (204, {}, b"")


@dataclass(frozen=True)
class Request:
    """One that came, with its header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        with self.server.outer.lock:
            self.server.outer.connections += 1
            self.server.outer._open.add(self.connection)

    def finish(self) -> None:
        with self.server.outer.lock:
            self.server.outer._open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # cut off
            self.close_connection = True
            return
        request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        with self.server.outer.lock:
            self.server.outer.requests.append(request)
        reply = self.server.outer.answer(request)
        if reply is None:
            self.close_connection = True
            return
        status, headers, content = reply
        if 200 <= status < 300:
            with self.server.outer.lock:
                self.server.outer.taken.append(body)
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    outer: WebhookServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of it."""


@dataclass
class WebhookServer:
    """Serves while the context lasts.

    `requests` are all that came, `taken` the bodies of those that it confirmed; `connections` counts.
    """

    tls: ssl.SSLContext | None = None
    answer: Callable[[Request], Reply | None] = field(default=lambda _: FINE)
    requests: list[Request] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}/mail?for=us"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.outer = self
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        with self.lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
