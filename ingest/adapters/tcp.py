"""Connections over TCP and TLS: the only file with `socket` and `ssl`.

Rules of this room:
- A name is resolved once; every address it has is checked; only a checked one is connected to.
- Certificates are verified against the host name, with TLS 1.2 at least. Nothing here can switch that off.
- Errors of the OS and of TLS end here, each as one line that says what is wrong with which host.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import ip_network

from ingest.adapters.address_policy import why_forbidden
from ingest.errors import AccountMisconfigured, CertificateRejected, ConnectionLost, HostUnreachable, IngestError
from ingest.models import Tls
from ingest.ports import ByteStream, TlsInfo

# X509_V_ERR_*, from OpenSSL's x509_vfy.h.
_NOT_YET_VALID = 9
_EXPIRED = 10
_OTHER_NAME = frozenset({62, 64})
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
_NAMES_SHOWN = 3
_SESSIONS = 1024
_MORE_MAY_FOLLOW_BYTES = 2048  # a reply of several TLS records begins with a longer one
_Peer = tuple[str, int, str | None]  # host, port, CA file


class OtherName(CertificateRejected):
    """A good certificate, but not this host's."""


class TcpDialer:
    """Opens connections. Safe to share between threads.

    Args:
        connect_timeout_s: for the name, for all its addresses together, and for the TLS handshake, each.
        ca_file: CA bundle where the account names none; None takes the system's.
        allowed_networks: CIDRs that hosts may resolve to although private (MAILSLUICE_ALLOWED_NETWORKS).
    """

    def __init__(
        self, connect_timeout_s: float = 10, ca_file: str | None = None, allowed_networks: Iterable[str] = ()
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._ca_file = ca_file
        self._allowed = tuple(ip_network(network, strict=False) for network in allowed_networks)
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._sessions: dict[_Peer, ssl.SSLSession] = {}
        self._lock = threading.Lock()

    def dial(self, host: str, port: int, *, tls: Tls, ca_file: str | None) -> ByteStream:
        """Connect (and, for implicit TLS, shake hands); HostUnreachable, CertificateRejected, AccountMisconfigured."""
        addresses = self._resolve(host, port)
        ca_file = ca_file or self._ca_file
        context = self._context(ca_file) if tls is not Tls.NONE else None
        connection, address = self._connect(host, port, addresses)
        peer = (host, port, ca_file)
        stream = TcpStream(
            connection,
            f"{host}:{port}",
            host,
            context,
            self._connect_timeout_s,
            resume=self._sessions.get(peer),
            keep=functools.partial(self._keep, peer),
        )
        if tls is Tls.IMPLICIT:
            try:
                stream.start_tls()
            except OtherName:
                names = self._names(host, port, address, ca_file)
                if not names:
                    raise
                raise OtherName(f"certificate of {host} is for {names}") from None
        return stream

    def addresses(self, host: str, port: int) -> list[str]:
        """What a name resolves to, each address checked; HostUnreachable, AccountMisconfigured."""
        return self._resolve(host, port)

    def tls_context(self) -> ssl.SSLContext:
        """What verifies servers of which no account names a CA bundle. Shared: not to be changed."""
        return self._context(self._ca_file)

    def _keep(self, peer: _Peer, session: ssl.SSLSession) -> None:
        """Remember a TLS session: resuming it spares the server a signature, and in TLS 1.2 everybody a round trip.

        Only of a verified handshake with this name under this CA set; the oldest peers are forgotten beyond a limit.
        """
        with self._lock:
            self._sessions.pop(peer, None)
            self._sessions[peer] = session
            while len(self._sessions) > _SESSIONS:
                del self._sessions[next(iter(self._sessions))]

    def _resolve(self, host: str, port: int) -> list[str]:
        if "\0" in host:
            raise AccountMisconfigured(f"host {host!r} is not a host name")  # the resolver would read half of it
        try:
            addresses = self._look_up(host, port)
        except TimeoutError:
            raise HostUnreachable(f"host {host} does not resolve in {self._connect_timeout_s:.0f} s") from None
        except socket.gaierror as error:
            raise HostUnreachable(f"host {host} does not resolve", todo=error.strerror or "") from error
        except (UnicodeError, ValueError) as error:
            raise AccountMisconfigured(f"host {host!r} is not a host name") from error
        for address in addresses:
            if why := why_forbidden(address, self._allowed):
                raise AccountMisconfigured(
                    f"host {host} resolves to {address}, which is forbidden ({why})",
                    todo="if it is yours, add its network to MAILSLUICE_ALLOWED_NETWORKS",
                )
        return addresses

    def _look_up(self, host: str, port: int) -> list[str]:
        """The resolver has no deadline of its own: it runs in a thread, which is left behind when it takes too long."""
        answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                answers.put(list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found)))
            except Exception as error:  # noqa: BLE001  # raised below
                answers.put(error)

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        try:
            answer = answers.get(timeout=self._connect_timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _connect(self, host: str, port: int, addresses: list[str]) -> tuple[socket.socket, str]:
        deadline = time.monotonic() + self._connect_timeout_s
        last = "no address"
        for address in addresses:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            try:
                connection = socket.create_connection((address, port), timeout=left_s)
            except OSError as error:
                last = _why(error)
                continue
            with contextlib.suppress(OSError):  # without it commands, which are small, only leave later
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection, address
        raise HostUnreachable(f"no connection to {host}:{port}: {last}")

    def _names(self, host: str, port: int, address: str, ca_file: str | None) -> str:
        """Whose certificate it is that has another name: OpenSSL shows none that it rejected, so ask once more.

        The issuer is verified here too, and nothing is said over this connection.
        """
        context = ssl.create_default_context(cafile=ca_file)
        context.check_hostname = False
        try:
            connection, _ = self._connect(host, port, [address])
            with connection, context.wrap_socket(connection, server_hostname=host) as shaken:
                certificate = shaken.getpeercert() or {}
        except (OSError, HostUnreachable):
            return ""
        names = [str(entry[1]) for entry in certificate.get("subjectAltName", ()) if isinstance(entry, tuple)]
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        return ", ".join(names[:_NAMES_SHOWN]) + more

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        """One per CA set: making one takes 15 ms and most of a megabyte."""
        with self._lock:
            context = self._contexts.get(ca_file)
            if context is None:
                try:
                    context = ssl.create_default_context(cafile=ca_file)
                except (OSError, ValueError) as error:
                    raise AccountMisconfigured(f"CA file {ca_file} can't be used: {_why(error)}") from error
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                self._contexts[ca_file] = context
            return context


class TcpStream:
    """One connection.

    Args:
        connection: connected.
        peer: host and port, for errors.
        host: the name that the certificate must have, and the name for SNI.
        context: for TLS; None where it will never start.
        handshake_timeout_s: for the whole handshake.
        resume: an earlier TLS session with this peer, verified under this context.
        keep: given the TLS session when the connection is closed.
    """

    def __init__(
        self,
        connection: socket.socket,
        peer: str,
        host: str,
        context: ssl.SSLContext | None,
        handshake_timeout_s: float,
        *,
        resume: ssl.SSLSession | None = None,
        keep: Callable[[ssl.SSLSession], None] = lambda _: None,
    ) -> None:
        self._resume = resume
        self._keep = keep
        self._socket = connection
        self._peer = peer
        self._host = host
        self._context = context
        self._handshake_timeout_s = handshake_timeout_s
        self._broke: OSError | None = None

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of it, or raise ConnectionLost."""
        try:
            self._wait_at_most(timeout_s)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise ConnectionLost(f"{self._peer} took nothing for {timeout_s:.0f} s") from error
        except OSError as error:
            raise ConnectionLost(f"connection to {self._peer} lost: {_why(error)}") from error

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        """How many octets were put at the start of `room`: at least one, or 0 at the end of the stream.

        ConnectionLost if nothing came in time.
        """
        try:
            if self._broke is not None:
                raise self._broke
            self._wait_at_most(timeout_s)
            count = self._socket.recv_into(room)
        except TimeoutError as error:
            raise ConnectionLost(f"no answer from {self._peer} within {timeout_s:.0f} s") from error
        except OSError as error:
            raise ConnectionLost(f"connection to {self._peer} lost: {_why(error)}") from error
        if count >= _MORE_MAY_FOLLOW_BYTES and isinstance(self._socket, ssl.SSLSocket):
            count += self._at_hand(room[count:])
        return count

    def start_tls(self) -> None:
        """Shake hands; CertificateRejected or ConnectionLost, and the connection is closed then."""
        if self._context is None or isinstance(self._socket, ssl.SSLSocket):
            raise RuntimeError("TLS on a connection that has it, or was opened without")
        try:
            self._socket.settimeout(self._handshake_timeout_s)
            self._socket = self._context.wrap_socket(self._socket, server_hostname=self._host, session=self._resume)
        except OSError as error:
            self.close()
            raise self._handshake_failed(error) from error

    @property
    def tls(self) -> TlsInfo | None:
        """What TLS settled on, None while in plaintext."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return None
        certificate = self._socket.getpeercert() or {}
        end = certificate.get("notAfter")
        not_after = datetime.fromtimestamp(ssl.cert_time_to_seconds(end), UTC) if isinstance(end, str) else None
        return TlsInfo(self._socket.version() or "", not_after)

    def close(self) -> None:
        """Drop the connection; never raises."""
        if self._socket.fileno() < 0:
            return
        if isinstance(self._socket, ssl.SSLSocket) and (session := self._socket.session) is not None:
            self._keep(session)
        self._socket.close()

    def _at_hand(self, room: memoryview) -> int:
        """TLS hands over one record at a time, 16 KiB at most: take in one go what has come, and wait for nothing."""
        count = 0
        try:
            self._wait_at_most(0)
            while count < len(room) and (more := self._socket.recv_into(room[count:])):
                count += more
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._broke = error  # told when what came before it has been taken
        return count

    def _wait_at_most(self, timeout_s: float) -> None:
        if self._socket.gettimeout() != timeout_s:  # setting one asks the system each time
            self._socket.settimeout(timeout_s)

    def _handshake_failed(self, error: OSError) -> IngestError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return _certificate_error(self._host, error)
        if isinstance(error, TimeoutError):
            return ConnectionLost(f"{self._peer} did not end the TLS handshake in {self._handshake_timeout_s:.0f} s")
        if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or not isinstance(error, ssl.SSLError):
            return ConnectionLost(f"{self._peer} closed the connection during the TLS handshake")
        if error.reason in {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"}:
            return CertificateRejected(f"{self._peer} does not speak TLS", todo='see whether it wants tls = "starttls"')
        return CertificateRejected(f"{self._peer} and we agree on no TLS: {_why(error)}")


def _certificate_error(host: str, error: ssl.SSLCertVerificationError) -> CertificateRejected:
    if error.verify_code in _OTHER_NAME:
        return OtherName(f"certificate of {host} is for another name")
    if error.verify_code == _EXPIRED:
        return CertificateRejected(f"certificate of {host} has expired")
    if error.verify_code == _NOT_YET_VALID:
        return CertificateRejected(f"certificate of {host} is not valid yet")
    if error.verify_code in _UNKNOWN_ISSUER:
        return CertificateRejected(
            f"certificate of {host} has an unknown issuer ({error.verify_message})", todo="set ca_file to its CA bundle"
        )
    return CertificateRejected(f"certificate of {host} is refused: {error.verify_message}")


def _why(error: OSError | ValueError) -> str:
    """One line, without numbers and source lines."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
