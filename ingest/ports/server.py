"""The way to a POP3 server: connections, and what is known of their encryption."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ingest.models import HostProfile, Place, Tls


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What TLS settled on: protocol version, the end of the certificate's validity, and what would pin it.

    `sha256` is of the server's own certificate as it came (DER), written as an account's `fingerprint` is.
    """

    version: str
    not_after: datetime | None
    sha256: str = ""


class ByteStream(Protocol):
    """One connection to a server."""

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of it, or raise ConnectionLost."""
        ...

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        """How many octets were put at the start of `room`: at least one, or 0 at the end of the stream.

        ConnectionLost if nothing came in time.
        """
        ...

    def start_tls(self) -> None:
        """Encrypt from here on; the certificate is verified by what `dial` was given."""
        ...

    @property
    def tls(self) -> TlsInfo | None:
        """What TLS settled on, None while in plaintext."""
        ...

    def close(self) -> None:
        """Drop the connection; never raises."""
        ...


class Dialer(Protocol):
    """Opens connections: resolves once, checks every address against the policy, connects to a checked one."""

    def dial(
        self, host: str, port: int, *, tls: Tls, ca_file: str | None, fingerprints: tuple[str, ...] = ()
    ) -> ByteStream:
        """Connect (and, for implicit TLS, shake hands).

        Args:
            host: a name or an address.
            port: of TCP.
            tls: how it is encrypted, or will be.
            ca_file: CA bundle that the certificate must descend from, and then be for `host`; None takes the usual one.
            fingerprints: "sha256:<64 hex>" each; where there are any, the certificate must be one of these instead.

        Raises:
            HostUnreachable, CertificateRejected, ConnectionLost, AccountMisconfigured.
        """
        ...


class Hosts(Protocol):
    """What is known of POP3 services, shared by the cluster. A memory, not a truth: losing it costs a few flights.

    All raise StateUnavailable, StateFull or StateRefused.
    """

    def profile(self, place: Place) -> HostProfile | None:
        """What earlier sessions learnt, perhaps a minute old; None where nothing is known."""
        ...

    def learn(self, place: Place, profile: HostProfile) -> None:
        """Remember this instead of what is remembered."""
        ...

    def may_try(self, place: Place) -> bool:
        """Whether to try what may fail, now: True for one caller in the cluster, and for no other one for a while."""
        ...

    def refused(self, place: Place, account_id: str) -> int:
        """This account's login was refused; to how many accounts that happened lately, with no good login since."""
        ...

    def admitted(self, place: Place) -> None:
        """A login was good."""
        ...
