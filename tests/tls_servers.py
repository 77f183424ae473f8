"""TLS servers on loopback, the authority that vouches for them, and a dialer that may go there."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import trustme

from ingest.adapters.tcp import TcpDialer
from ingest.ports import ByteStream

LOOPBACK = ("127.0.0.0/8", "::1/128")
Handler = Callable[[socket.socket], None]


@contextmanager
def served(handler: Handler) -> Iterator[int]:
    """A server on loopback that hands each connection to `handler`; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        handler(connection)
                    except OSError:
                        continue  # the client hung up, as some tests make it

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def wait_for_end(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


class Authority:
    """A CA, the file that clients trust it by, and the fingerprints of what it issued."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.file)
        self.pins: list[str] = []

    def server_context(
        self, *names: str, not_after: datetime | None = None, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        issued = self.ca.issue_cert(*names, not_after=not_after)
        issued.configure_cert(context)
        der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        self.pins.append(self.fingerprint(der))
        return context

    @staticmethod
    def fingerprint(der: bytes) -> str:
        return f"sha256:{hashlib.sha256(der).hexdigest()}"


def greet_over_tls(context: ssl.SSLContext) -> Handler:
    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as shaken:
            shaken.sendall(b"+OK ready\r\n")
            wait_for_end(shaken)

    return handle


def converse(connection: socket.socket, *steps: tuple[bytes, bytes]) -> None:
    for expected, answer in steps:
        heard = b""
        while len(heard) < len(expected):
            heard += connection.recv(len(expected) - len(heard))
        assert heard == expected
        connection.sendall(answer)


def received(stream: ByteStream, timeout_s: float = 5, most: int = 100) -> bytes:
    """What comes in one go; empty at the end of the stream."""
    room = bytearray(most)
    count = stream.receive_into(memoryview(room), timeout_s)
    return bytes(room[:count])


def dialer(timeout_s: float = 5) -> TcpDialer:
    return TcpDialer(timeout_s, None, LOOPBACK)
