"""What is remembered: ledger records, events on their way, an account's state, leases, refusals."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Kind(enum.IntEnum):
    """What a ledger record says of its message (4 bits).

    DELETING: a session set out to delete it, and whether the server did is not known yet. DELETED: the server confirmed
    that session; the record goes once a complete listing no longer shows the UIDL. GONE: not by us, but a complete
    listing did not show it. Should one of these be listed again, its content decides whether it is the same message or
    a reused UIDL. MISSED: seeded, and a complete listing did not show it; listed again, its newest Received header
    decides. The minutes of GONE and MISSED tell when that was first so.
    """

    STORED = 1
    SEEDED = 2
    SKIPPED = 3
    QUARANTINED = 4
    DELETED = 5
    GONE = 6
    DELETING = 7
    MISSED = 8


@dataclass(frozen=True, slots=True)
class Record:
    """One remembered listed occurrence: UIDL and identity digest (8 octets each), kind, minutes since the epoch."""

    uidl: bytes
    identity: bytes
    kind: Kind
    minutes: int = 0


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """A CloudEvent ready for the stream: its id, its type and its JSON."""

    id: str
    type: str
    json: bytes


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry read from the event stream: where it stands and the event."""

    shard: int
    position: str
    event: OutgoingEvent


@dataclass(frozen=True, slots=True)
class AccountState:
    """What polls of an account remember between them, beside the ledger.

    `failures` counts failed polls in a row, `refusals` the refused logins since the last good one. `fingerprint` is of
    the last complete listing and of the ledger that knew every message in it. `seeded_at`: when the ledger was seeded,
    seconds since the epoch. `undeleted`: how often in a row the server kept what we deleted. `listings`: when complete
    listings were seen, far apart, in minutes since the epoch, the oldest first.

    `glance`: what STAT and the last message's UIDL said when `fingerprint` was taken, and of which message.
    `listed_at`: when the last complete listing was seen; `delete_at`: when the next delete is due, if any is; both in
    seconds since the epoch. `batch`: how many messages a session bears, where it was found to break off. `login_at`:
    when the last login was tried, seconds since the epoch by the clock of the state.

    `refused_mark` tells the secret that was refused last from others (`Secrets.mark`); until `login_after`, seconds
    since the epoch by the clock of the state, it is not tried again. `laid_to_host`: how often since the last good
    login a refused login was taken for the host's fault.
    """

    failures: int = 0
    refusals: int = 0
    interval_s: float | None = None
    first_poll_done: bool = False
    last_outcome: str | None = None
    last_error: str | None = None
    last_poll: float | None = None
    failing_since: float | None = None
    fingerprint: str | None = None
    seeded_at: float | None = None
    undeleted: int = 0
    listings: tuple[int, ...] = ()
    glance: str | None = None
    listed_at: float | None = None
    delete_at: float | None = None
    batch: int | None = None
    login_at: float | None = None
    refused_mark: str | None = None
    login_after: float | None = None
    laid_to_host: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease: its fencing token (128 random bits), and what the account was like when it was given.

    `extent` changes with every change of the ledger: its generation and length, as text. `now`: when it was given, by
    the clock of the state, in seconds since the epoch; `state.login_at` is of the poll before. `suspects` are messages
    that failed before or were in hand when an earlier holder died: how often each failed, by the digest that marks it.
    """

    token: str
    state: AccountState
    extent: str
    now: float
    suspects: Mapping[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that was skipped or quarantined, as a person sees it: what it is, why, and where its octets lie.

    `id` is that of its event, `record` the ledger record written with it, `raw` the object key of its octets, if they
    were stored; `time` in seconds since the epoch.
    """

    account: str
    id: str
    record: Record
    uidl: str | None
    size: int
    reason: str
    detail: str
    subject: str | None
    raw: str | None
    time: float
