"""What one login that changed nothing saw of a server and a maildrop."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from ingest.models.account import Tls
from ingest.models.pop3 import Capabilities


class UidlForm(enum.StrEnum):
    """What UIDLs look like. POSITION: each is its message's number; COUNTER: short decimal numbers."""

    NONE = "none"
    POSITION = "position"
    COUNTER = "counter"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class Uidls:
    """The UIDLs of a listing.

    `example`: the first. `missing`: messages without one that can be used; `long`: over 70 octets (RFC 1939, 7);
    `repeated`: messages whose UIDL an earlier one has.
    """

    form: UidlForm = UidlForm.NONE
    example: str | None = None
    missing: int = 0
    long: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """What a server is and can do.

    `capabilities`: before the login, under TLS where there is TLS; `capabilities_after_login`: what CAPA says then,
    None where it was not asked. `certificate_sha256`: as an account's `fingerprint` is written. `apop`: the greeting
    has a timestamp for APOP. `octets`, `largest_bytes`: as LIST says. `complete`: UIDL, LIST and STAT agree.
    `too_large`: messages over the cap.
    """

    host: str
    port: int
    tls: Tls
    tls_version: str | None
    certificate_not_after: datetime | None
    certificate_sha256: str | None
    greeting: str
    apop: bool
    capabilities: Capabilities
    capabilities_after_login: Capabilities | None
    messages: int
    octets: int
    complete: bool
    uidls: Uidls
    largest_bytes: int
    too_large: int
    login_s: float
    round_trip_s: float

    @property
    def can(self) -> Capabilities:
        """The capabilities that hold for the session itself."""
        return self.capabilities_after_login or self.capabilities
