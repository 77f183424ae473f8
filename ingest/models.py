"""Frozen values that travel between the rooms.

Rules of this room:
- Values only: no I/O, no clock, no settings. Units stand in the name (`_s`, `_bytes`).
- A secret lives in `Secret`, whose every printed form is `****`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ingest.errors import Fault, IngestError, Retry

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A password or token. Only `reveal()` shows it."""

    _value: str

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "****"

    __str__ = __repr__


# Accounts


class Tls(enum.StrEnum):
    """How the session is encrypted: from the first byte, after STLS (RFC 2595), or not at all."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


class Auth(enum.StrEnum):
    """AUTO takes USER or SASL PLAIN, whichever suits server and password; the others only when asked for."""

    AUTO = "auto"
    USER = "user"
    APOP = "apop"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Account:
    """One maildrop to poll.

    `password` is a reference (`env:NAME`, `file:PATH`, or `sealed:…` for a literal encrypted at rest), never a secret.
    `keep_s` None keeps mail for ever, 0 deletes after the grace, else deletes at that age. `first_poll` is "all",
    "new", or an ISO date.
    """

    id: str
    host: str
    port: int
    username: str
    password: str
    tls: Tls = Tls.IMPLICIT
    auth: Auth = Auth.AUTO
    ca_file: str | None = None
    allow_plaintext: bool = False
    keep_s: int | None = None
    first_poll: str = "all"
    poll_interval_s: int = 60
    tags: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False

    @property
    def place(self) -> Place:
        """The service it lies on."""
        return Place(self.host.lower(), self.port, self.tls)


# POP3


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
class Place:
    """One POP3 service: what is learnt of it holds for all accounts there."""

    host: str
    port: int
    tls: Tls


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
    """One session's view of a maildrop. `complete` means that UIDL, LIST and STAT agree on the count."""

    messages: tuple[MessageRef, ...]
    complete: bool


# MIME


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox (RFC 5322, 3.4): decoded display name or "", and addr-spec as written."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Defect:
    """Something wrong in a message that did not stop it. `part` is the part number or None for the whole."""

    code: str
    part: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """The header fields an event carries, decoded. `received`: newest Received date; `date`: the sender's claim."""

    message_id: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    date: datetime | None = None
    received: datetime | None = None
    from_: tuple[Address, ...] = ()
    sender: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    subject: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """Decoded text, cut at a limit without splitting a character."""

    content: str
    truncated: bool
    charset: str


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf (or message/rfc822) part as a span over the message's buffer.

    `number` is the IMAP-like section ("2.1", RFC 3501 6.4.5); `parent` the number of the message/rfc822 part it lies
    in, if any. `start` and `end` delimit the still encoded content; `encoding` is the lower-case transfer encoding.
    """

    number: str
    parent: str | None
    content_type: str
    charset: str | None
    disposition: str | None
    filename: str | None
    filename_raw: str | None
    content_id: str | None
    encoding: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """What the reader found. `header_end` is the offset of the first octet after the top header block."""

    envelope: Envelope
    text: Body | None
    html: Body | None
    attachments: tuple[Part, ...]
    defects: tuple[Defect, ...]
    header_end: int


@dataclass(frozen=True, slots=True)
class StoredPart:
    """An attachment that lies in object storage: decoded size and SHA-256 (hex)."""

    part: Part
    url: str
    size: int
    sha256: str


# Ledger and events


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


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease: its fencing token (128 random bits), and what the account was like when it was given.

    `extent` changes with every change of the ledger: its generation and length, as text. `suspects` are messages that
    failed before or were in hand when an earlier holder died: how often each failed, by the digest that marks it.
    """

    token: str
    state: AccountState
    extent: str
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


# Reports


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a value: its answers, and its line for a person."""

    code: str
    fault: Fault
    retry: Retry
    what: str
    todo: str = ""
    after_s: float | None = None

    @classmethod
    def of(cls, error: IngestError) -> Failure:
        return cls(error.code, error.fault, error.retry, error.what, error.todo, error.after_s)

    def line(self, whom: str) -> str:
        return f"{whom}: {self.what}" + (f" ({self.todo})" if self.todo else "")


class Outcome(enum.StrEnum):
    """How a poll ended.

    BUSY: another poller holds the lease, or took the claim that a late task was for; no failure. DRAINED: asked to
    stop.
    """

    DONE = "done"
    BUSY = "busy"
    PAUSED = "paused"
    UNKNOWN = "unknown"
    DRAINED = "drained"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PollReport:
    """One poll in figures. `events` counts what entered the stream, `messages` what was retrieved in full.

    `committed` counts steps that wrote the ledger, `records` what it holds (None: it was not read). `undeleted`: what
    the server kept although we deleted it, or may have kept. `more`: something new is left for the next poll.
    `login_delay_s`: what the server wants between logins (LOGIN-DELAY, RFC 2449).
    """

    account: str
    outcome: Outcome
    listed: int = 0
    new: int = 0
    messages: int = 0
    events: int = 0
    skipped: int = 0
    quarantined: int = 0
    deleted: int = 0
    undeleted: int = 0
    attachments: int = 0
    bytes: int = 0
    seconds: float = 0.0
    flights: int = 0
    committed: int = 0
    records: int | None = None
    more: bool = False
    login_delay_s: int | None = None
    next_due_s: float | None = None
    failure: Failure | None = None
