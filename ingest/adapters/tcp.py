"""Connections over TCP, and TLS on them.

Rules of this room:
- A name is resolved once; every address it has is checked; only a checked one is connected to.
- Certificates are verified (`tls.Trust`). Nothing here can switch that off.
- Errors of the OS and of TLS end here, each as one line that says what is wrong with which host.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from ingest.adapters.address_policy import why_forbidden
from ingest.adapters.resolver import Endpoint, Resolver
from ingest.adapters.tls import CaTrust, Handshake, OtherName, Peer, Trust, Trusts, describe, why
from ingest.errors import AccountMisconfigured, CertificateRejected, ConnectionLost, HostUnreachable, IngestError
from ingest.models import Tls
from ingest.ports import ByteStream, TlsInfo

_VERDICTS = 4096
_MORE_MAY_FOLLOW_BYTES = 2048  # a reply of several TLS records begins with a longer one


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
        allowed = tuple(ip_network(network, strict=False) for network in allowed_networks)
        # An address is the same one at each poll, and so is what the policy says of it.
        self._why_forbidden = functools.lru_cache(_VERDICTS)(functools.partial(why_forbidden, allowed=allowed))
        self._resolver = Resolver(connect_timeout_s)
        self._trusts = Trusts()
        self._https_trusts = Trusts()

    def dial(
        self, host: str, port: int, *, tls: Tls, ca_file: str | None, fingerprints: tuple[str, ...] = ()
    ) -> ByteStream:
        """Connect (and, for implicit TLS, shake hands); HostUnreachable, CertificateRejected, AccountMisconfigured."""
        peer = Peer(host, port, fingerprints)
        endpoints = self._checked(host, port)
        trust = self._trusts.of(ca_file or self._ca_file, fingerprints) if tls is not Tls.NONE else None
        connection, endpoint = self._connect(peer, endpoints)
        stream = TcpStream(connection, peer, trust, self._connect_timeout_s)
        if tls is Tls.IMPLICIT:
            try:
                stream.start_tls()
            except OtherName:
                names = self._names(peer, endpoint, trust)
                if not names:
                    raise
                raise OtherName(f"certificate of {host} is for {names}") from None
        return stream

    def addresses(self, host: str, port: int) -> list[str]:
        """What a name resolves to, each address checked; HostUnreachable, AccountMisconfigured."""
        return [endpoint.address for endpoint in self._checked(host, port)]

    def tls_context(self) -> ssl.SSLContext:
        """For HTTPS, with the CA set that holds where an account names none.

        Never one that POP3 uses: urllib3 sets ALPN in the context that it is given, and a mail server may refuse
        whoever asks for HTTP (RFC 7301, 3.2).
        """
        return self._https_trusts.of_ca(self._ca_file).context

    def _checked(self, host: str, port: int) -> Sequence[Endpoint]:
        endpoints = self._resolver.resolve(host, port)
        for endpoint in endpoints:
            if forbidden := self._why_forbidden(endpoint.address):
                raise AccountMisconfigured(
                    f"host {host} resolves to {endpoint.address}, which is forbidden ({forbidden})",
                    todo="if it is yours, add its network to MAILSLUICE_ALLOWED_NETWORKS",
                )
        return endpoints

    def _connect(self, peer: Peer, endpoints: Iterable[Endpoint]) -> tuple[socket.socket, Endpoint]:
        deadline = time.monotonic() + self._connect_timeout_s
        last = "no address"
        for endpoint in endpoints:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            try:
                return _connected(endpoint, left_s), endpoint
            except OSError as error:
                last = why(error)
        self._resolver.forget(peer.host, peer.port)
        raise HostUnreachable(f"no connection to {peer.host}:{peer.port}: {last}")

    def _names(self, peer: Peer, endpoint: Endpoint, trust: Trust | None) -> str:
        """Whose certificate it is, asked in a connection of its own; empty if it does not say."""
        if not isinstance(trust, CaTrust):
            return ""
        try:
            connection, _ = self._connect(peer, [endpoint])
            return trust.names(connection, peer, self._connect_timeout_s)
        except (OSError, HostUnreachable):
            return ""


def _connected(endpoint: Endpoint, timeout_s: float) -> socket.socket:
    connection = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(endpoint.sockaddr)
    except BaseException:
        connection.close()
        raise
    with contextlib.suppress(OSError):  # without it commands, which are small, only leave later
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class TcpStream:
    """One connection.

    Args:
        connection: connected.
        peer: the name that the certificate must have, or the pins that it must match; for errors, too.
        trust: for TLS; None where it will never start.
        handshake_timeout_s: for the whole handshake.
    """

    def __init__(self, connection: socket.socket, peer: Peer, trust: Trust | None, handshake_timeout_s: float) -> None:
        self._socket = connection
        self._tls_peer = peer
        self._peer = f"{peer.host}:{peer.port}"
        self._trust = trust
        self._handshake_timeout_s = handshake_timeout_s
        self._handshake: Handshake | None = None
        self._sound = True  # no error of TLS
        self._ended = False
        self._broke: OSError | None = None

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of it, or raise ConnectionLost."""
        try:
            self._wait_at_most(timeout_s)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise ConnectionLost(f"{self._peer} took nothing for {timeout_s:.0f} s") from error
        except OSError as error:
            raise self._lost(error) from error

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        """How many octets were put at the start of `room`: at least one, or 0 at the end of the stream.

        ConnectionLost if nothing came in time.
        """
        if self._broke is not None:
            raise self._lost(self._broke) from self._broke
        if self._ended:
            return 0
        try:
            self._wait_at_most(timeout_s)
            count = self._socket.recv_into(room)
        except TimeoutError as error:
            raise ConnectionLost(f"no answer from {self._peer} within {timeout_s:.0f} s") from error
        except OSError as error:
            raise self._lost(error) from error
        if count >= _MORE_MAY_FOLLOW_BYTES and isinstance(self._socket, ssl.SSLSocket):
            count += self._at_hand(room[count:])
        return count

    def start_tls(self) -> None:
        """Shake hands; CertificateRejected or ConnectionLost, and the connection is closed then."""
        if self._trust is None or self._handshake is not None:
            raise RuntimeError("TLS on a connection that has it, or was opened without")
        try:
            self._handshake = self._trust.shake(self._socket, self._tls_peer, self._handshake_timeout_s)
        except OSError as error:
            raise self._handshake_failed(error) from error
        self._socket = self._handshake.connection

    @property
    def tls(self) -> TlsInfo | None:
        """What TLS settled on, None while in plaintext."""
        return describe(self._handshake) if self._handshake else None

    def close(self) -> None:
        """Drop the connection; never raises."""
        if self._socket.fileno() < 0:
            return
        try:
            if self._trust is not None and self._handshake is not None and self._sound:
                self._trust.keep(self._handshake, self._tls_peer)
        finally:
            self._socket.close()

    def _at_hand(self, room: memoryview) -> int:
        """TLS hands over one record at a time, 16 KiB at most: take in one go what has come, and wait for nothing."""
        count = 0
        try:
            self._wait_at_most(0)
            while count < len(room) and not self._ended:
                more = self._socket.recv_into(room[count:])
                self._ended = not more
                count += more
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            # Told when what came before it has been taken; without its traceback, which would hold the room.
            self._broke = error.with_traceback(None)
        return count

    def _wait_at_most(self, timeout_s: float) -> None:
        if self._socket.gettimeout() != timeout_s:  # setting one asks the system each time
            self._socket.settimeout(timeout_s)

    def _lost(self, error: OSError) -> ConnectionLost:
        self._sound = self._sound and not isinstance(error, ssl.SSLError)
        return ConnectionLost(f"connection to {self._peer} lost: {why(error)}")

    def _handshake_failed(self, error: OSError) -> IngestError:
        if isinstance(error, TimeoutError):
            return ConnectionLost(f"{self._peer} did not end the TLS handshake in {self._handshake_timeout_s:.0f} s")
        if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or not isinstance(error, ssl.SSLError):
            return ConnectionLost(f"{self._peer} closed the connection during the TLS handshake")
        if error.reason in {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"}:
            return CertificateRejected(f"{self._peer} does not speak TLS", todo='see whether it wants tls = "starttls"')
        return CertificateRejected(f"{self._peer} and we agree on no TLS: {why(error)}")
