"""What the core asks of the world. Adapters implement these; one contract suite a port runs on each of them.

Rules of this room:
- Protocols only. Every wait has a deadline that the adapter keeps; every error is one of `ingest.errors`.
- Anything that lives in a process for long has `ping()` (raises what is wrong) and `close()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from ingest.ledger import LedgerImage
from ingest.models import (
    Account,
    AccountState,
    Failure,
    Grant,
    OutgoingEvent,
    PollReport,
    Record,
    Refusal,
    Secret,
    StreamEntry,
    Tls,
)


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What TLS settled on: protocol version and the end of the certificate's validity."""

    version: str
    not_after: datetime | None


class ByteStream(Protocol):
    """One connection to a server."""

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of it, or raise ConnectionLost."""
        ...

    def receive(self, max_bytes: int, timeout_s: float) -> bytes:
        """At least one octet, or b"" at the end of the stream; ConnectionLost if nothing came in time."""
        ...

    def start_tls(self) -> None:
        """Encrypt from here on; the certificate is verified against the account's host name and CA set."""
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

    def dial(self, host: str, port: int, *, tls: Tls, ca_file: str | None) -> ByteStream:
        """Connect (and, for implicit TLS, shake hands); HostUnreachable, CertificateRejected, AccountMisconfigured."""
        ...


class Spool(Protocol):
    """One message on its way: in memory up to a limit, then in a temporary file, hashed as it comes."""

    def write(self, data: bytes | memoryview) -> None:
        """Append; only before `seal`."""
        ...

    def seal(self) -> None:
        """No more writes; `buffer`, `sha256` and `open` work from here on."""
        ...

    @property
    def size(self) -> int:
        """Octets so far."""
        ...

    @property
    def sha256(self) -> bytes:
        """Of all octets, 32 of them."""
        ...

    @property
    def buffer(self) -> memoryview:
        """The whole message, read-only (memory or a mapped file)."""
        ...

    def open(self) -> BinaryIO:
        """A seekable reader of its own over the whole message."""
        ...

    def give_back_pages(self) -> None:
        """Let the system drop what was read of a mapped file; the content stays."""
        ...

    def close(self) -> None:
        """Give memory and file back."""
        ...


class SpoolFactory(Protocol):
    """Makes spools."""

    def __call__(self) -> Spool: ...


@dataclass(frozen=True, slots=True)
class Put:
    """Where an object lies, and whether it lay there already."""

    url: str
    existed: bool


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's size and metadata."""

    size: int
    metadata: Mapping[str, str]


class ObjectStore(Protocol):
    """Content-addressed objects. Puts are idempotent; the store verifies the SHA-256 on the way in."""

    def put(
        self, key: str, body: BinaryIO, *, size: int, sha256: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> Put:
        """Store `size` octets of a seekable body under the key; StoreUnavailable or StoreRefused."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """Size and metadata, or None where there is no such object."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Stream an object; StoreRefused where there is none."""
        ...

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """The keys that start so and come after that one, a piece at a time, in the store's own order.

        Below one directory that is the order of their octets; all keys below a directory come together.
        """
        ...

    def url(self, key: str) -> str:
        """The address an event carries: s3://bucket/key or file:///path."""
        ...

    def ping(self) -> None:
        """Raise what is wrong (unreachable, bucket missing, wrong secret, not writable)."""
        ...

    def close(self) -> None: ...


class Secrets(Protocol):
    """Fetches passwords inside the poll."""

    def resolve(self, reference: str) -> Secret:
        """The secret behind `env:`, `file:` or `sealed:`; SecretUnavailable."""
        ...

    def seal(self, literal: str) -> str:
        """A `sealed:` reference for a literal, encrypted under our key; ConfigurationError without one."""
        ...


class Lease(Protocol):
    """Who may write for an account now: the holder of the last token given, until its TTL runs out."""

    def acquire(self, account_id: str, *, claimed: bool = False) -> Grant | None:
        """A fresh token and what stands of the account, or None while another holds the lease; the due time moves on.

        With `claimed`, None too unless the account stands claimed: a task that comes late finds its claim taken. What
        an earlier holder had in hand when it died is among the suspects.
        """
        ...

    def renew(self, account_id: str, token: str) -> None:
        """Hold it for another TTL; LeaseLost for a token that no longer holds."""
        ...

    def release(
        self, account_id: str, token: str, *, due_in_s: float, state: AccountState, event: OutgoingEvent | None = None
    ) -> bool:
        """In one step: write what was learnt, set the next due time, free the lease; then add the account's event.

        Nothing is in hand any more, and the ledger gives back slack. False for a stale token, and nothing is written.
        """
        ...


class Ledger(Protocol):
    """What of a maildrop was already seen, and the one step that commits a message.

    All that write raise LeaseLost, StateFull, StateRefused or StateUnavailable; LedgerMoved where the ledger is not as
    the image says. A retry of one's own lost reply succeeds, but for `count`.
    """

    def load(self, account_id: str) -> LedgerImage:
        """The records as they are; an image of no records where there is none."""
        ...

    def commit(
        self,
        account_id: str,
        token: str,
        image: LedgerImage,
        records: Sequence[Record],
        event: OutgoingEvent | None,
        *,
        finished: bytes | None = None,
        following: bytes | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        """Check fence, generation, length and types, add the event, then append the records; `image` follows.

        In the same step `finished` is no suspect any more, `following` is in hand (None: nothing is), and a refusal is
        listed.
        """
        ...

    def rewrite(
        self,
        account_id: str,
        token: str,
        image: LedgerImage,
        records: Sequence[Record],
        *,
        event: OutgoingEvent | None = None,
        resolved: Refusal | None = None,
    ) -> None:
        """Add the event, if any, and replace all records, under a new generation; a resolved refusal is listed no more.

        Works when Redis is full, but not where the stream is.
        """
        ...

    def mark(self, account_id: str, token: str, digest: bytes) -> None:
        """This message is in hand from here on: should the holder die, it is a suspect."""
        ...

    def count(self, account_id: str, token: str, digest: bytes, by: int) -> int:
        """Add to how often this suspect failed, and say how often that is. Not to be retried."""
        ...

    def settle(self, account_id: str, token: str) -> None:
        """Wait until enough replicas have what was written, before a QUIT that may delete; StateUnavailable."""
        ...


class Refusals(Protocol):
    """The messages that were skipped or quarantined, and that nobody has decided about yet."""

    def all(self, account_id: str | None = None) -> list[Refusal]:
        """Those of one account or of all, the oldest first."""
        ...

    def discard(self, refusal: Refusal) -> bool:
        """List it no more; False where it was not listed."""
        ...


class Schedule(Protocol):
    """Due times. A claim is atomic, so two beats are harmless."""

    def claim(self, limit: int, *, but: frozenset[int] = frozenset()) -> list[str]:
        """At most `limit` due account ids, each pushed ahead by the claim's TTL; none of the shards in `but`."""
        ...

    def set_due(self, account_ids: Iterable[str], in_s: float) -> None:
        """Make known ones due in so many seconds; paused and unknown ones stay out."""
        ...

    def unclaim(self, account_ids: Iterable[str]) -> None:
        """Make those that still stand claimed due now."""
        ...

    def add(self, account_ids: Iterable[str]) -> None:
        """Make unknown ones due now; known ones keep their time."""
        ...

    def drop(self, account_ids: Iterable[str]) -> None:
        """Forget them (paused or removed)."""
        ...

    def due_in(self, account_ids: Sequence[str]) -> dict[str, float]:
        """Seconds until each is due (negative: overdue); unscheduled ones are absent."""
        ...

    def states(self, account_ids: Sequence[str]) -> dict[str, AccountState]:
        """What their polls remember; a fresh state where there is none."""
        ...

    def reset(self, account_ids: Iterable[str]) -> None:
        """Forget back-off and failures (the account changed) and make them due now."""
        ...

    def erase(self, account_id: str) -> None:
        """Forget ledger, state, attempts and due time."""
        ...


class AccountRegistry(Protocol):
    """The accounts, by id."""

    def get(self, account_ids: Sequence[str]) -> dict[str, Account]:
        """Those that exist."""
        ...

    def all(self) -> list[Account]:
        """All of them, by id."""
        ...

    def put(self, accounts: Iterable[Account]) -> None: ...

    def remove(self, account_ids: Iterable[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """A consumer group of one shard's stream, and what waits for it.

    `pending` entries are delivered and not acknowledged; `behind` are not delivered yet, None if Redis can't tell.
    `waiting_bytes` are about the octets of both (all of the stream's if Redis can't tell). `idle_s` is how long none of
    its consumers asked for anything, None if it never had one; `oldest_s` how long the oldest event waits for it.
    """

    shard: int
    name: str
    pending: int
    behind: int | None
    waiting_bytes: int
    idle_s: float | None
    oldest_s: float | None


class EventLog(Protocol):
    """The event stream, all shards of it."""

    def tail(
        self, *, from_start: bool, group: str | None, consumer: str, timeout_s: float | None
    ) -> Iterator[StreamEntry | None]:
        """Entries as they come, None about once a second while idle; ends after `timeout_s` without an entry.

        With a group, each entry counts as acknowledged when the next one is asked for.
        """
        ...

    def trim(self) -> int:
        """Free acknowledged entries that are past their age, or the oldest above half the cap; how many went.

        Also those that lie behind one that waits for a group, in bounded pieces. Nothing that a group has yet to
        acknowledge goes; without any group age alone trims. A shard that fails is passed by.
        """
        ...

    def pressure(self) -> dict[int, float]:
        """The share of its cap that each shard's stream takes; shards that can't be asked are absent.

        Behind `trim` it counts from half on what is not acknowledged, and nothing else. Without any group all counts.
        """
        ...

    def groups(self) -> list[ConsumerGroup]:
        """The consumer groups of all shards, by shard and name."""
        ...

    def remove_group(self, name: str) -> int:
        """Remove a group: nothing waits for it any more. From how many shards it went."""
        ...

    def length(self) -> int:
        """Entries in all shards."""
        ...


class Dispatcher(Protocol):
    """Queues polls for the cluster."""

    def submit(self, account_ids: Sequence[str], *, expires_s: float) -> None:
        """Queue one batch; BrokerUnavailable."""
        ...

    def ping(self) -> None: ...

    def close(self) -> None: ...


class Telemetry(Protocol):
    """Where figures and log lines go. Never raises."""

    def poll_finished(self, report: PollReport) -> None: ...

    def message_failed(self, account_id: str, code: str, detail: str) -> None: ...

    def ticked(self, claimed: int, batches: int) -> None: ...

    def step_failed(self, step: str, failure: Failure) -> None:
        """Something outside any one poll failed: a tick, a batch."""
        ...
