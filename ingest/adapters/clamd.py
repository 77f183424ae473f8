"""ClamAV's daemon: a body is streamed to it (INSTREAM, clamd(8)) over a Unix socket or TCP, and its answer is read.

Rules of this room:
- Where to comes from the settings, not from mail or accounts: no address policy holds here. clamd knows neither TLS nor
  passwords, so it belongs on this machine or in a network of its own.
- Every wait ends, an answer is read up to a limit, and no more than a chunk of a body is in memory.
- A connection a scan: it costs 0.05 ms (by TCP 0.15) beside a small scan's one, and a session (IDSESSION) would have to
  be shared by threads, kept alive and found dead.
- What breaks at one body only must not hold up the mail behind it: where a few octets still get their verdict, that
  body is UNSCANNED; where they don't, clamd is unavailable. What ends clamd right after a few octets had their verdict
  is its message's fault, so for ten minutes after clamd failed, or we began, they go before each body.

The clients on PyPI (clamd of 2014, clamdpy, clamav-client, all of one origin) read an answer without a limit, bound
each wait but not their sum, and miss the answer to a body that is too large. The protocol is two commands: it is spoken
here.
"""

from __future__ import annotations

import io
import itertools
import re
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from ingest.adapters.resolver import Resolver
from ingest.adapters.tls import why
from ingest.errors import IngestError, MessageUnprocessable, ScannerUnavailable
from ingest.models import Scan, Verdict

_CHUNK_BYTES = 64 * 1024
_ANSWER_BYTES = 4096
_DETAIL_CHARACTERS = 200
_BYTES_PER_S = 1 << 20  # a slow disk under clamd's temporary file takes ten times that
_CANARY = b"is anybody there?"
_CANARY_S = 5.0
_DOUBT_S = 600.0  # longer than an account backs off
_LEAST_S = 0.001  # 0 would be: do not wait at all
_TOO_LARGE = "larger than clamd's StreamMaxLength"
_LIMIT = "Heuristics.Limits.Exceeded."
_FOUND = re.compile(r"stream: (?P<name>.+) FOUND")
_TODO = "is clamd up, and MAILSLUICE_CLAMD_URL right?"


class ClamdScanner:
    """See `ingest.ports.Scanner`. Safe to share between threads.

    Args:
        url: unix:///path or tcp://host:port.
        timeout_s: to connect, while clamd takes nothing, and for the verdict, each; sending a body may take so long,
            and a second more for each MiB.
        doubt_s: for so long after it failed, or we began, it is seen to work before each body.
    """

    def __init__(self, url: str, timeout_s: float = 30, *, doubt_s: float = _DOUBT_S) -> None:
        parts = urlsplit(url)
        self._path = unquote(parts.path) if parts.scheme == "unix" else ""
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._name = self._path or parts.netloc
        self._resolver = Resolver(timeout_s)
        self._timeout_s = timeout_s
        self._doubted_until = time.monotonic() + doubt_s
        self._doubt_s = doubt_s

    def scan(self, body: BinaryIO, size: int) -> Verdict:
        proven = time.monotonic() < self._doubted_until
        if proven:
            self._prove()
        return self._scan(body, size, proven=proven)

    def ping(self) -> None:
        """ScannerUnavailable unless it says that it is there."""
        try:
            answer = self._ask(b"zPING\0", None, 0, self._timeout_s)
        except _NoVerdict as error:
            raise ScannerUnavailable(f"clamd at {self._name} {error.what}", todo=_TODO) from error
        if answer != "PONG":
            raise ScannerUnavailable(f"clamd at {self._name} answers PING with {_shown(answer)}", todo=_TODO)

    def close(self) -> None:
        """Nothing is held between two scans."""

    def _scan(self, body: BinaryIO, size: int, *, proven: bool, again: bool = False) -> Verdict:
        """`proven`: it was seen to work right before; `again`: it broke off at this body, and works."""
        body.seek(0)
        try:
            return _verdict(self._ask(b"zINSTREAM\0", body, size, self._timeout_s))
        except _NoVerdict as error:
            if self._works():
                if error.ended and not again:  # it restarted, perhaps
                    return self._scan(body, size, proven=True, again=True)
                return Verdict(Scan.UNSCANNED, f"clamd {error.what}")
            self._doubted_until = time.monotonic() + self._doubt_s
            if error.ended and proven:
                raise MessageUnprocessable(f"it ends clamd, which {error.what}") from error
            raise ScannerUnavailable(f"clamd at {self._name} {error.what}", todo=error.todo) from error

    def _prove(self) -> None:
        """ScannerUnavailable unless a few octets are clean, and soon: it is down, too busy, or its disk is full."""
        try:
            answer = self._ask(b"zINSTREAM\0", io.BytesIO(_CANARY), len(_CANARY), min(self._timeout_s, _CANARY_S))
            verdict = _verdict(answer)
        except _NoVerdict as error:
            raise ScannerUnavailable(f"clamd at {self._name} {error.what}", todo=error.todo) from error
        if verdict.scan is not Scan.CLEAN:
            raise ScannerUnavailable(f"clamd at {self._name} objects to a few harmless octets", todo="see its log")

    def _works(self) -> bool:
        try:
            self._prove()
        except ScannerUnavailable:
            return False
        return True

    def _ask(self, command: bytes, body: BinaryIO | None, size: int, timeout_s: float) -> str:
        """One command, with a body for INSTREAM; its answer, up to the NUL."""
        with self._connected(timeout_s) as connection:
            pieces = [command] if body is None else itertools.chain([command], _framed(body, size))
            broke = _sent(connection, pieces, timeout_s, time.monotonic() + timeout_s + size / _BYTES_PER_S)
            # Where a body is too large for it, it closes the connection, but says so before.
            return self._answer(connection, broke, timeout_s)

    def _connected(self, timeout_s: float) -> socket.socket:
        """A connection to the first address that takes one."""
        deadline = time.monotonic() + timeout_s
        reason = "no address"
        for family, address in self._places():
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.settimeout(max(_LEAST_S, deadline - time.monotonic()))
                connection.connect(address)
                if family != socket.AF_UNIX:  # small pieces would wait for each other
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                connection.close()
                reason = why(error)
            else:
                return connection
        self._resolver.forget(self._host, self._port)
        raise ScannerUnavailable(f"no connection to clamd at {self._name}: {reason}", todo=_TODO)

    def _places(self) -> list[tuple[int, Any]]:
        """Address family and address, each as the system takes them."""
        if self._path:
            return [(socket.AF_UNIX, self._path)]
        try:
            return [(each.family, each.sockaddr) for each in self._resolver.resolve(self._host, self._port)]
        except IngestError as error:
            raise ScannerUnavailable(f"clamd can't be reached: {error.what}", todo=_TODO) from error

    def _answer(self, connection: socket.socket, broke: OSError | None, timeout_s: float) -> str:
        deadline = time.monotonic() + timeout_s
        heard = b""
        try:
            while b"\0" not in heard and len(heard) <= _ANSWER_BYTES:
                connection.settimeout(max(_LEAST_S, deadline - time.monotonic()))
                more = connection.recv(_ANSWER_BYTES)
                if not more:
                    break
                heard += more
        except TimeoutError:
            raise _NoVerdict(f"gave no answer within {timeout_s:g} s", "is it overloaded?") from None
        except OSError as error:
            broke = broke or error
        answer, ended, _ = heard.partition(b"\0")
        if ended:
            return answer.decode("utf-8", "replace")
        if len(heard) > _ANSWER_BYTES:
            raise _NoVerdict(f"answered more than {_ANSWER_BYTES} octets", _TODO)
        how = why(broke) if broke else "it closed the connection"
        raise _NoVerdict(f"broke off: {how}", "did it end, or restart?", ended=True)


class _NoVerdict(Exception):
    """It answered, or kept silent, but gave no verdict: on this body, or on any?"""

    def __init__(self, what: str, todo: str = "see its log", *, ended: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.ended = ended


def _framed(body: BinaryIO, size: int) -> Iterator[bytes]:
    """Chunks, each behind its length in four octets, and one of length 0 for the end."""
    left = size
    while left:
        chunk = body.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise IngestError(f"only {size - left} of {size} octets can be read to scan them")
        left -= len(chunk)
        yield len(chunk).to_bytes(4, "big") + chunk
    yield bytes(4)


def _sent(connection: socket.socket, pieces: Iterable[bytes], timeout_s: float, deadline: float) -> OSError | None:
    """Send them; how the connection broke, if it did. What reading the body raises is not meant by that."""
    for piece in pieces:
        try:
            connection.settimeout(max(_LEAST_S, min(timeout_s, deadline - time.monotonic())))
            connection.sendall(piece)
        except TimeoutError:
            raise _NoVerdict("took too long to take the body", "is it overloaded?") from None
        except OSError as error:
            return error
    return None


def _verdict(answer: str) -> Verdict:
    """What an answer means; _NoVerdict where it is none."""
    if answer == "stream: OK":
        return Verdict(Scan.CLEAN)
    if found := _FOUND.fullmatch(answer):
        name = _shown(found["name"])
        if name.startswith(_LIMIT):  # it says so only where AlertExceedsMax is set; else it calls that OK
            return Verdict(Scan.UNSCANNED, f"beyond clamd's {name.removeprefix(_LIMIT)}")
        return Verdict(Scan.INFECTED, name)
    if answer.startswith("INSTREAM size limit exceeded"):
        return Verdict(Scan.UNSCANNED, _TOO_LARGE)
    raise _NoVerdict(f"answered {_shown(answer)}")


def _shown(text: str) -> str:
    """Fit for a line: printable, and not long."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_DETAIL_CHARACTERS])
