"""What a POP3 server says, and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What CAPA said (RFC 2449), names in upper case. `known` is False where the server has no CAPA.

    `per_user`: LOGIN-DELAY or EXPIRE may differ from user to user, so that only CAPA after the login tells (6.5, 6.7).
    """

    known: bool = False
    names: frozenset[str] = frozenset()
    sasl: frozenset[str] = frozenset()
    implementation: str | None = None
    login_delay_s: int | None = None
    expire_days: int | None = None
    per_user: bool = False

    def __contains__(self, name: str) -> bool:
        return name in self.names


@dataclass(frozen=True, slots=True)
class HostProfile:
    """What earlier sessions learnt of a service.

    `before` and `after`: its capabilities just before the login (under TLS where there is TLS) and behind it.
    `seen_at`: when they were last asked for, seconds since the epoch. `across_login`: whether it keeps what is
    pipelined behind PASS; None while nobody tried. `uidl`, `top`: False where they were refused.
    """

    before: Capabilities
    after: Capabilities
    seen_at: float
    across_login: bool | None = None
    uidl: bool = True
    top: bool = True


@dataclass(frozen=True, slots=True)
class MessageRef:
    """One line of a listing: message number, octets as LIST says (not to be believed), UIDL or None."""

    number: int
    size: int
    uidl: bytes | None


@dataclass(frozen=True, slots=True)
class Listing:
    """One session's view of a maildrop. `complete` means that UIDL, LIST and STAT agree on the count.

    `count` and `octets` are what STAT said; octets is None where it did not.
    """

    messages: tuple[MessageRef, ...]
    complete: bool
    count: int = 0
    octets: int | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What a glance saw of a maildrop: STAT's count and octets, and the UIDL of one message (None: it has none)."""

    count: int
    octets: int | None
    number: int
    uidl: bytes | None
