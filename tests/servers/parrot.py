"""A POP3 server on loopback that gives back what it was told: it knows every password, and puts it where it can.

Rules of this room:
- One mail, one session at a time, no security whatever. A test sets its mode between sessions.
"""

from __future__ import annotations

import base64
import socketserver
import threading
from typing import Self

MAIL = b"From: a@example.com\r\nReceived: by b; Mon, 2 Nov 2026 00:00:00 +0000\r\nSubject: parrot\r\n\r\nhello\r\n"
_CAPABILITIES = b"+OK\r\nUSER\r\nUIDL\r\nTOP\r\nSASL PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n.\r\n"
MODES = ("good", "refuses", "repeats", "repeats-decoded", "challenges", "babbles", "locks", "drops", "babbles-later")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    mode = "good"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of it."""


class _Session(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.wfile.write(b"+OK parrot\r\n")
        told = b""
        while line := self._line():
            verb, _, rest = line.partition(b" ")
            if verb in {b"PASS", b"AUTH"}:
                told = rest if verb == b"PASS" else rest.partition(b" ")[2] or self._asked()
                if self.server.mode == "drops":
                    return
                self._login(told, by_sasl=verb == b"AUTH")
            else:
                self.wfile.write(self._answer(verb, line, told))
            if verb == b"QUIT":
                return

    def _line(self) -> bytes:
        return self.rfile.readline(65536).rstrip(b"\r\n")

    def _asked(self) -> bytes:
        self.wfile.write(b"+ \r\n")
        return self._line()

    def _login(self, told: bytes, *, by_sasl: bool) -> None:
        mode = self.server.mode
        if mode == "challenges" and by_sasl:
            self.wfile.write(b"+ " + base64.b64encode(b'{"status": "' + _decoded(told) + b'"}') + b"\r\n")
            self._line()
        self.wfile.write(
            {
                "refuses": b"-ERR [AUTH] no",
                "repeats": b"-ERR [AUTH] " + told + b" is wrong",
                "repeats-decoded": b"-ERR [AUTH] " + _decoded(told) + b" is wrong",
                "challenges": b"-ERR " + told,
                "babbles": b"what is " + told + b" " + _decoded(told),
                "locks": b"-ERR [IN-USE] " + told + b" is here",
            }.get(mode, b"+OK welcome " + told)
            + b"\r\n"
        )

    def _answer(self, verb: bytes, line: bytes, told: bytes) -> bytes:
        if verb == b"STAT" and self.server.mode == "babbles-later":
            return b"huh " + told + b" " + _decoded(told) + b"\r\n"
        size = b"%d" % len(MAIL)
        one = {b"UIDL": b"+OK 1 u1\r\n", b"LIST": b"+OK 1 " + size + b"\r\n"}
        if b" " in line and verb in one:
            return one[verb]
        return {
            b"CAPA": _CAPABILITIES,
            b"STAT": b"+OK 1 " + size + b"\r\n",
            b"UIDL": b"+OK\r\n1 u1\r\n.\r\n",
            b"LIST": b"+OK\r\n1 " + size + b"\r\n.\r\n",
            b"RETR": b"+OK\r\n" + MAIL + b".\r\n",
        }.get(verb, b"+OK\r\n")


class Parrot:
    """Serves while the context lasts.

    `mode` says what a login gets: "good", "refuses" ([AUTH], nothing of it), "repeats" (the line in -ERR),
    "repeats-decoded" (what is in its base64), "challenges" (in a SASL challenge, then in -ERR), "babbles" (a line that
    is no POP3), "locks" ([IN-USE] with it), "drops" (nothing), "babbles-later" (good, but STAT is answered by it).
    """

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Session)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def behave(self, mode: str) -> None:
        self._server.mode = mode

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _decoded(told: bytes) -> bytes:
    """What a SASL response holds, on one line; as it is where it is none."""
    try:
        return base64.b64decode(told, validate=True).replace(b"\r", b" ").replace(b"\n", b" ")
    except ValueError:
        return told
