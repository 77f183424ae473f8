"""HTTP to addresses that were checked, by urllib3: connections, and one request with a form.

Rules of this room:
- Where to comes from accounts or settings: the address policy holds, and the connection goes to an address that was
  checked, under the host's name for SNI, certificate and Host. No redirect is followed, no proxy asked, nothing tried
  again.
- Every wait ends, and an answer is read up to a limit. Errors of OS, TLS and HTTP end here, each as one line; none has
  a cause, since what was sent is secret.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from ingest.adapters.tcp import TcpDialer
from ingest.errors import CertificateRejected, ConnectionLost, HostUnreachable
from ingest.oauth import Endpoint

_BODY_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024
_LONGEST_S = 86_400.0
_TICK_S = 0.1
_IDLE_TICKS = 20
# All that urllib3 and the system raise of a connection that is no use any more.
BROKEN = (HTTPError, HTTPException, OSError, ValueError)


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What a server answered: status, the value of Retry-After if there is one, body."""

    status: int
    retry_after: str | None
    body: str


class Poster:
    """Safe to share between threads.

    Args:
        dialer: checks addresses, and knows the CA set.
        connect_timeout_s: for the name, for a connection (all its addresses together), and for the TLS handshake.
        deadline_s: for request and answer together, once connected.
    """

    def __init__(self, dialer: TcpDialer, *, connect_timeout_s: float, deadline_s: float) -> None:
        self._connector = Connector(dialer, connect_timeout_s=connect_timeout_s, deadline_s=deadline_s)
        self._deadlines = Deadlines()
        self._deadline_s = deadline_s

    def post(self, endpoint: Endpoint, form: str) -> Answer:
        """POST a form (application/x-www-form-urlencoded).

        HostUnreachable, CertificateRejected, ConnectionLost; AccountMisconfigured for a forbidden address.
        """
        connection = self._connector.open(endpoint)
        headers = {
            "Host": endpoint.authority,
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        with contextlib.closing(connection), self._deadlines.cut_after(self._deadline_s, connection) as timed:
            why = "the connection broke"
            try:
                connection.request("POST", endpoint.target, form.encode("ascii"), headers, preload_content=False)
                response = connection.getresponse()
                body = b""
                while len(body) <= _BODY_BYTES and (chunk := response.read(_CHUNK_BYTES, decode_content=False)):
                    body += chunk
                if len(body) <= _BODY_BYTES and not timed.passed:
                    return Answer(response.status, response.headers.get("Retry-After"), body.decode("utf-8", "replace"))
                why = f"answered more than {_BODY_BYTES} octets"
            except BROKEN:
                pass
        if timed.passed:
            why = f"no whole answer within {self._deadline_s:.0f} s"
        raise ConnectionLost(f"{endpoint.host}: {why}")


class Connector:
    """Opens connections. Safe to share between threads.

    Args:
        dialer: checks addresses, and knows the CA set.
        connect_timeout_s: for the name, for a connection (all its addresses together), and for the TLS handshake.
        deadline_s: the longest wait for any one piece, once connected.
    """

    def __init__(self, dialer: TcpDialer, *, connect_timeout_s: float, deadline_s: float) -> None:
        self._dialer = dialer
        self._connect_timeout_s = connect_timeout_s
        self._deadline_s = deadline_s

    def open(self, endpoint: Endpoint) -> HTTPConnection:
        """HostUnreachable, CertificateRejected; AccountMisconfigured for a forbidden address."""
        why = "no address"
        addresses = self._dialer.addresses(endpoint.host, endpoint.port)
        deadline = time.monotonic() + self._connect_timeout_s
        for address in addresses:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            connection = self._connection(endpoint, address, left_s)
            try:
                connection.connect()
            except (HTTPError, OSError) as error:
                connection.close()
                verdict = getattr(error, "verify_message", None)
                if verdict:
                    raise CertificateRejected(f"certificate of {endpoint.host} is refused: {verdict}") from None
                why = _why(error)
                continue
            connection.timeout = self._deadline_s
            return connection
        raise HostUnreachable(f"no connection to {endpoint.host}:{endpoint.port}: {why}")

    def _connection(self, endpoint: Endpoint, address: str, timeout_s: float) -> HTTPConnection:
        if not endpoint.encrypted:
            return HTTPConnection(address, endpoint.port, timeout=timeout_s)
        # Without `assert_hostname`: given that, urllib3 would switch the name's verification off in the context, which
        # all requests share. As it is, OpenSSL verifies `server_hostname`.
        return HTTPSConnection(
            address,
            endpoint.port,
            timeout=timeout_s,
            ssl_context=self._dialer.tls_context(),
            server_hostname=endpoint.host,
        )


@dataclass(slots=True, eq=False)
class _Request:
    until: float
    stream: socket.socket
    passed: bool = False


class Deadlines:
    """Cuts connections whose time is up, whatever is waited for: a server may drip.

    One thread for all of them, which ends when there is nothing to watch: a timer each would cost as much as a request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[_Request] = set()
        self._watching = False

    @contextlib.contextmanager
    def cut_after(self, seconds: float, connection: HTTPConnection) -> Iterator[_Request]:
        """Watch over the block; its `passed` says whether the time was up, to a tenth of a second."""
        request = _Request(time.monotonic() + seconds, connection.sock)
        with self._lock:
            self._watched.add(request)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="deadlines", daemon=True).start()
        try:
            yield request
        finally:
            with self._lock:
                self._watched.discard(request)

    def _watch(self) -> None:
        idle = 0
        while True:
            time.sleep(_TICK_S)
            with self._lock:
                now = time.monotonic()
                late = [request for request in self._watched if request.until <= now and not request.passed]
                for request in late:
                    request.passed = True
                    with contextlib.suppress(OSError):
                        # Not SSLSocket's own, which takes TLS away from under the thread that reads.
                        socket.socket.shutdown(request.stream, socket.SHUT_RDWR)
                idle = 0 if self._watched else idle + 1
                if idle > _IDLE_TICKS:
                    self._watching = False
                    return


def seconds_of(retry_after: str | None, now: datetime) -> float | None:
    """What Retry-After (RFC 9110, 10.2.3) asks for: seconds, or a date. At most a day: of days, nobody means it."""
    said = (retry_after or "").strip()
    if said.isascii() and said.isdigit():
        return min(float(said[:9]), _LONGEST_S)
    try:
        at = parsedate_to_datetime(said)
    except (ValueError, OverflowError):
        return None
    wait_s = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(wait_s, 0.0), _LONGEST_S)


def _why(error: Exception) -> str:
    """One line: the system's reason, which urllib3 wraps."""
    reason = error if isinstance(error, OSError) else error.__cause__
    return (isinstance(reason, OSError) and reason.strerror) or "no answer in time"
