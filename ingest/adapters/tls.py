"""TLS handshakes, and by what a server's certificate is judged: a CA set and the host name, or the account's pins.

Rules of this room:
- TLS 1.2 at least, and the name for SNI, whatever the certificate is judged by.
- Nothing leaves `shake` that was not verified. The one context that lets OpenSSL verify nothing lies within
  `PinnedTrust`, which compares the certificate itself before anybody can send an octet.
- A session is resumed under the rules only that it was verified by.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import ssl
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from math import inf
from socket import socket

from ingest.adapters.tls_sessions import TlsSessions
from ingest.errors import AccountMisconfigured, CertificateRejected
from ingest.ports import TlsInfo

# X509_V_ERR_*, from OpenSSL's x509_vfy.h.
_NOT_YET_VALID = 9
_EXPIRED = 10
_OTHER_NAME = frozenset({62, 64})
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
_NAMES_SHOWN = 3


class OtherName(CertificateRejected):
    """A good certificate, but not this host's."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom we shake hands with; `fingerprints` as the account has them, empty where the CA set decides."""

    host: str
    port: int
    fingerprints: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For SNI and in the certificate: without the root's dot (RFC 6066, 3), an address without its interface."""
        return self.host.partition("%")[0].removesuffix(".")


@dataclass(frozen=True, slots=True)
class Handshake:
    """One that came out well.

    Attributes:
        connection: the encrypted one.
        certificate: the server's own (DER). Taken now: of a connection that broke, OpenSSL shows none.
        offered: whether an earlier session was offered.
    """

    connection: ssl.SSLSocket
    certificate: bytes
    offered: bool


class Trust(ABC):
    """One way to judge certificates, and the sessions of those that were found good."""

    def __init__(self, context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context = context
        self._sessions = TlsSessions()

    def shake(self, connection: socket, peer: Peer, timeout_s: float) -> Handshake:
        """Shake hands.

        Raises:
            CertificateRejected, OSError: and the connection is closed, as it is whatever else is raised; and a session
                that was offered is not offered again, since it may be what the server choked on.
        """
        resume = self._sessions.of(peer)
        try:
            connection.settimeout(timeout_s)
            # Takes the connection over; in two steps, so that we hold what is to be closed when the second one fails.
            shaken = self._context.wrap_socket(
                connection, server_hostname=peer.name, session=resume, do_handshake_on_connect=False
            )
        except BaseException:
            connection.close()
            raise
        try:
            shaken.do_handshake()
            certificate = shaken.getpeercert(binary_form=True) or b""
            self._judge(certificate, peer)
        except BaseException as error:
            self._sessions.drop(peer)
            shaken.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise _certificate_error(peer.host, error) from error
            raise
        return Handshake(shaken, certificate, offered=resume is not None)

    def keep(self, handshake: Handshake, peer: Peer) -> None:
        """The connection ends, but not by an error of TLS (RFC 5246, 7.2.2): remember its session."""
        shaken = handshake.connection
        if shaken.session_reused:
            self._sessions.resumed(peer)
        else:
            left_s = self._left_s(handshake.certificate)
            self._sessions.keep(peer, shaken, offered=handshake.offered, left_s=left_s)

    @abstractmethod
    def _judge(self, certificate: bytes, peer: Peer) -> None:
        """What OpenSSL has not verified already; CertificateRejected."""

    @abstractmethod
    def _left_s(self, certificate: bytes, /) -> float:
        """Seconds for which this certificate is still good."""


class CaTrust(Trust):
    """By a CA set and the host name; OpenSSL verifies both."""

    def __init__(self, ca_file: str | None) -> None:
        super().__init__(ssl.create_default_context(cafile=ca_file))
        self._ca_file = ca_file

    @property
    def context(self) -> ssl.SSLContext:
        """What verifies, for a client that shakes hands by itself."""
        return self._context

    def names(self, connection: socket, peer: Peer, timeout_s: float) -> str:
        """Whose certificate it is that has another name: OpenSSL shows none that it rejected, so it is asked once more.

        The issuer is verified here too, and nothing is said over this connection. OSError; it is closed in any case.
        """
        context = ssl.create_default_context(cafile=self._ca_file)
        context.check_hostname = False
        connection.settimeout(timeout_s)
        with connection, context.wrap_socket(connection, server_hostname=peer.name) as shaken:
            certificate = shaken.getpeercert() or {}
        names = [str(entry[1]) for entry in certificate.get("subjectAltName", ()) if isinstance(entry, tuple)]
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        return ", ".join(names[:_NAMES_SHOWN]) + more

    def _judge(self, certificate: bytes, peer: Peer) -> None:
        pass

    def _left_s(self, certificate: bytes, /) -> float:
        end = _not_after(certificate)
        return end.timestamp() - time.time() if end else 0


class PinnedTrust(Trust):
    """By fingerprint: the server's own certificate is one that the account names; chain, name and dates are not asked.

    That it holds the certificate's key is part of every handshake, so only the certificate is left to compare.
    """

    def __init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__(context)

    def _judge(self, certificate: bytes, peer: Peer) -> None:
        found = fingerprint(certificate)
        if not any(hmac.compare_digest(found, pinned) for pinned in peer.fingerprints):
            raise CertificateRejected(
                f"certificate of {peer.host} is not the pinned one: it is {found}",
                todo="ask whoever runs the server; only if it is theirs, add this to the account's fingerprint",
            )

    def _left_s(self, _: bytes, /) -> float:
        return inf


class Trusts:
    """One CaTrust for each CA set, since making one takes 15 ms and most of a megabyte; and the one PinnedTrust."""

    def __init__(self) -> None:
        self._by_ca_file: dict[str | None, tuple[tuple[int, ...], CaTrust]] = {}
        self._pinned: PinnedTrust | None = None
        self._lock = threading.Lock()

    def of(self, ca_file: str | None, fingerprints: tuple[str, ...]) -> Trust:
        """How to judge; AccountMisconfigured if the CA file can't be used."""
        if not fingerprints:
            return self.of_ca(ca_file)
        with self._lock:
            self._pinned = self._pinned or PinnedTrust()
            return self._pinned

    def of_ca(self, ca_file: str | None) -> CaTrust:
        """By a CA set; one that changed on disk is read again. AccountMisconfigured if it can't be used."""
        with self._lock:
            try:
                stamp = _stamp(ca_file)
                known = self._by_ca_file.get(ca_file)
                if known is None or known[0] != stamp:
                    known = self._by_ca_file[ca_file] = stamp, CaTrust(ca_file)
            except (OSError, ValueError) as error:
                raise AccountMisconfigured(f"CA file {ca_file} can't be used: {why(error)}") from error
            return known[1]


def fingerprint(der: bytes) -> str:
    """Of a certificate (DER), as an account pins it."""
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def describe(handshake: Handshake) -> TlsInfo:
    """What TLS settled on."""
    certificate = handshake.certificate
    return TlsInfo(handshake.connection.version() or "", _not_after(certificate), fingerprint(certificate))


def why(error: OSError | ValueError) -> str:
    """One line, without numbers and source lines."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _stamp(ca_file: str | None) -> tuple[int, ...]:
    """Changes with the file's content, as far as the file system tells."""
    if ca_file is None:
        return ()
    found = os.stat(ca_file)  # noqa: PTH116  # at each dial; to make a Path takes longer than to ask
    return found.st_mtime_ns, found.st_size, found.st_ino


def _not_after(certificate: bytes) -> datetime | None:
    from cryptography import x509  # noqa: PLC0415 - takes 9 MB, which a process without TLS can do without

    # Not by `getpeercert`, which shows the fields of a certificate only where OpenSSL verified it.
    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc
    except ValueError:
        return None


def _certificate_error(host: str, error: ssl.SSLCertVerificationError) -> CertificateRejected:
    if error.verify_code in _OTHER_NAME:
        return OtherName(f"certificate of {host} is for another name")
    if error.verify_code == _EXPIRED:
        return CertificateRejected(f"certificate of {host} has expired")
    if error.verify_code == _NOT_YET_VALID:
        return CertificateRejected(f"certificate of {host} is not valid yet")
    if error.verify_code in _UNKNOWN_ISSUER:
        return CertificateRejected(
            f"certificate of {host} has an unknown issuer ({error.verify_message})",
            todo="set ca_file to its CA bundle, or fingerprint to its certificate's",
        )
    return CertificateRejected(f"certificate of {host} is refused: {error.verify_message}")
