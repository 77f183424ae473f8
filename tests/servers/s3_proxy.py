"""An HTTP proxy on loopback in front of a real object store, which plays the store's bad days.

Rules of this file:
- It passes on what it gets, its Host and so its signature unchanged, until a test sets its `fault`.
- A fault hits puts alone: "busy" (503 SlowDown), "broken" (500), "slow" (the store has it, the answer is late) and
  "cut" (the connection ends in the middle of the body).
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

_ERRORS = {"busy": (503, "SlowDown"), "broken": (500, "InternalError")}
_LATE_S = 30
_HOP = frozenset({"connection", "expect", "transfer-encoding", "keep-alive"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass(self) -> None:
        proxy = self.server.proxy
        length = int(self.headers.get("Content-Length") or 0)
        fault = proxy.take_fault() if self.command == "PUT" else None
        if fault == "cut":
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        if fault in _ERRORS:
            status, code = _ERRORS[fault]
            self._answer(
                status, {"Retry-After": str(proxy.retry_after_s)}, f"<Error><Code>{code}</Code></Error>".encode()
            )
            return
        answer, content = self._ask(body)
        if fault == "slow":
            proxy.healed.wait(_LATE_S)
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
        if self.command == "PUT":
            proxy.after_put()
        self._answer(answer.status, headers, content)

    do_GET = do_PUT = do_HEAD = _pass  # noqa: N815 - the base class' names

    def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        store = http.client.HTTPConnection("127.0.0.1", self.server.proxy.store_port, timeout=_LATE_S)
        store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP:
                store.putheader(name, value)
        store.endheaders(body or None)
        answer = store.getresponse()
        content = answer.read()
        store.close()
        return answer, content

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        if self.command != "HEAD":
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
            headers["Content-Length"] = str(len(content))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: S3Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of it."""


class S3Proxy:
    """Proxies while the context lasts.

    Args:
        store_port: of the real store on 127.0.0.1.
        tls: speaks TLS with this certificate.

    `after_put` is called once the store has answered a put, before the client hears of it. `counts` has the faults that
    were played.
    """

    def __init__(self, store_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.store_port = store_port
        self.retry_after_s = 0
        self.after_put: Callable[[], None] = lambda: None
        self.healed = threading.Event()
        self.counts: Counter[str] = Counter()
        self._fault: str | None = None
        self._left = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def play(self, fault: str, times: int = 1_000_000) -> None:
        """Let so many of the next puts meet this fault."""
        with self._lock:
            self.healed.clear()
            self._fault, self._left = fault, times

    def heal(self) -> None:
        """Pass everything on again."""
        with self._lock:
            self._fault = None
            self.healed.set()

    def take_fault(self) -> str | None:
        """What the next put meets."""
        with self._lock:
            if self._fault is None or self._left == 0:
                return None
            self._left -= 1
            self.counts[self._fault] += 1
            return self._fault

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._server.shutdown()
        self._server.server_close()
        with contextlib.suppress(RuntimeError):
            self._thread.join(5)
