"""A token endpoint (RFC 6749) and an introspection endpoint (RFC 7662) on loopback, in a thread of this process.

Rules of this room:
- It gives tokens to whoever knows a client's secret or a refresh token, and knows which of them are still good.
- A test changes what it does by its fields, and reads what was asked from `asked`.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qsl


@dataclass
class Issued:
    """A token: whose it is, and whether it is still good."""

    username: str
    active: bool = True


class TokenServer:
    """Serves `/token` and `/introspect`.

    Args:
        tls: what to shake hands with; None serves plain HTTP.

    `clients` is client id to secret, `refresh_tokens` is token to user. `answer`, where it is set, is what `/token`
    answers instead: status, headers, body. `rotate` gives a new refresh token with each access token. `username` is
    whose a token of client credentials is for introspection (the real thing checks rights of the mailbox instead).
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.clients: dict[str, str | None] = {}
        self.refresh_tokens: dict[str, str] = {}
        self.issued: dict[str, Issued] = {}
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: tuple[int, Mapping[str, str], bytes] | None = None
        self.rotate = False
        self.token_characters = 32
        self.expires_in: object = 3600
        self.username = ""
        self.before_answer: threading.Event | None = None
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fields = dict(parse_qsl(form.decode(), keep_blank_values=True))
                if self.path == "/introspect":
                    status, headers, body = 200, {}, endpoint.introspect(fields)
                else:
                    endpoint.headers.append(dict(self.headers))
                    status, headers, body = endpoint.token(fields)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
                """Say nothing."""

        class QuietServer(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that hangs up is what some tests are about."""

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}/token"
        self.introspection_url = f"http://127.0.0.1:{self.port}/introspect"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def introspect(self, fields: Mapping[str, str]) -> bytes:
        issued = self.issued.get(fields.get("token", ""))
        if issued is None or not issued.active:
            return b'{"active": false}'
        return json.dumps({"active": True, "username": issued.username}).encode()

    def revoke_all(self) -> None:
        """No token that was given out is good any more."""
        for issued in self.issued.values():
            issued.active = False

    def token(self, fields: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        with self._lock:
            self.asked.append(dict(fields))
        if self.before_answer is not None:
            self.before_answer.wait(10)
        if self.answer is not None:
            return self.answer
        client, grant = fields.get("client_id", ""), fields.get("grant_type")
        if client not in self.clients or self.clients[client] != fields.get("client_secret"):
            return _error(401, "invalid_client")
        if grant == "client_credentials":
            return self._issue(self.username)
        if grant != "refresh_token":
            return _error(400, "unsupported_grant_type")
        with self._lock:
            refresh_token = fields.get("refresh_token", "")
            username = self.refresh_tokens.get(refresh_token)
            if username is None:
                return _error(400, "invalid_grant")
            if not self.rotate:
                return self._issue(username)
            del self.refresh_tokens[refresh_token]
            fresh = secrets.token_urlsafe(24)
            self.refresh_tokens[fresh] = username
            return self._issue(username, refresh_token=fresh)

    def _issue(self, username: str, **more: str) -> tuple[int, Mapping[str, str], bytes]:
        token = secrets.token_hex(self.token_characters // 2)
        self.issued[token] = Issued(username)
        reply = {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in, **more}
        return 200, {}, json.dumps({key: value for key, value in reply.items() if value is not None}).encode()


def _error(status: int, code: str) -> tuple[int, Mapping[str, str], bytes]:
    return status, {}, json.dumps({"error": code, "error_description": f"{code} it is\r\nand more"}).encode()
