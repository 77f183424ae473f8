"""ONE refused message once more: what a person may do with what was skipped or quarantined.

Rules of this room:
- Only the holder of the lease changes a ledger: while a poll works on the account, a retry is refused.
- What lies in storage is processed from there, alone in a process of its own: it may be what killed workers. Its record
  becomes STORED in the step that tells of it, or GONE where it was not listed lately.
- What only the server has is forgotten, so that the next poll retrieves it.
- A retry that fails changes nothing, and counts nothing.
"""

from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from ingest.errors import (
    AccountMisconfigured,
    IngestError,
    MaildropBusy,
    MessageRefused,
    MessageTooLarge,
    StoreRefused,
)
from ingest.heartbeat import Heartbeat
from ingest.holding import Holding
from ingest.isolation import Isolation
from ingest.ledger import LedgerImage, uidl_digest
from ingest.mime.identity import unparsed_identity
from ingest.models import Account, Grant, Kind, MessageRef, Record, Refusal
from ingest.news import record_digest, unread_digest
from ingest.ports import (
    AccountRegistry,
    Clock,
    Lease,
    Ledger,
    ObjectStore,
    Refusals,
    Schedule,
)
from ingest.rawmail import RawMail
from ingest.retry import Steps

_ESCAPED = re.compile(r"\\x([89a-f][0-9a-f])")
_UNREAD = {Kind.SKIPPED, Kind.QUARANTINED}


class Retried(enum.StrEnum):
    """How a retry ended. RECEIVED: told of. KNOWN: it was told of meanwhile. AWAITED: the next poll retrieves it."""

    RECEIVED = "received"
    KNOWN = "known"
    AWAITED = "awaited"


class Quarantine:
    """What was skipped or quarantined, and nobody has decided about yet.

    Args:
        refusals, registry, schedule: what is listed, whose it is, when it is polled.
        lease, ledger: towards the state.
        store, raw: where octets lie, and how they are read back.
        isolation: what processes a message alone.
        clock, steps: time, seconds of patience within a step.
        lease_ttl_s: a third of it is how often progress renews the lease.
        max_message_bytes: what a poll retrieves at most.
    """

    def __init__(
        self,
        *,
        refusals: Refusals,
        registry: AccountRegistry,
        schedule: Schedule,
        lease: Lease,
        ledger: Ledger,
        store: ObjectStore,
        raw: RawMail,
        isolation: Isolation,
        clock: Clock,
        steps: Steps,
        lease_ttl_s: float,
        max_message_bytes: int,
    ) -> None:
        self._refusals = refusals
        self._registry = registry
        self._schedule = schedule
        self._lease = lease
        self._ledger = ledger
        self._store = store
        self._isolation = isolation
        self._raw = raw
        self._clock = clock
        self._steps = steps
        self._renew_every_s = lease_ttl_s / 3
        self._max_message_bytes = max_message_bytes

    def all(self, account_id: str | None = None) -> list[Refusal]:
        """Those of one account or of all, the oldest first."""
        return self._refusals.all(account_id)

    def find(self, prefix: str) -> list[Refusal]:
        """Those whose id begins so."""
        return [refusal for refusal in self._refusals.all() if refusal.id.startswith(prefix)]

    def url(self, refusal: Refusal) -> str | None:
        """Where its octets lie, if they were stored."""
        return refusal.raw and self._store.url(refusal.raw)

    def discard(self, refusal: Refusal) -> bool:
        """List it no more; False where it was not listed. Its record and its octets stay."""
        return self._refusals.discard(refusal)

    def retry(self, refusal: Refusal) -> Retried:
        """Process it from storage, or have the next poll retrieve it; an IngestError says why that can't be."""
        account = self._registry.get([refusal.account]).get(refusal.account)
        if account is None:
            raise AccountMisconfigured(f"there is no account {refusal.account}", todo="mailsluice accounts list")
        if refusal.raw is None and refusal.size > self._max_message_bytes:
            raise MessageTooLarge(
                f"it has {refusal.size} octets, the cap is still {self._max_message_bytes}",
                todo="raise MAILSLUICE_MAX_MESSAGE_BYTES, here and where the workers run",
            )
        with self._held(account, due_now=refusal.raw is None) as grant:
            holding = Holding(account.id, grant, ledger=self._ledger, steps=self._steps)
            holding.load()
            if refusal.raw is None:
                return self._await(holding, refusal)
            # Renewed once, not in steps of its own: it may be called from within a step that is tried again.
            beat = Heartbeat(lambda: self._lease.renew(account.id, grant.token), self._clock, self._renew_every_s)
            return self._process(account, holding, refusal, refusal.raw, beat)

    @contextmanager
    def _held(self, account: Account, *, due_now: bool) -> Iterator[Grant]:
        """The lease; afterwards the state is as before (but for the fingerprint), and so is the due time if it may."""
        due_at = self._schedule.due_in([account.id]).get(account.id, 0.0) + self._clock.monotonic()
        grant = self._lease.acquire(account.id)
        if grant is None:
            raise MaildropBusy("a poll works on this account just now", todo="try again when it has ended")
        done = False
        try:
            yield grant
            done = True
        finally:
            due_in_s = 0.0 if done and due_now else max(0.0, due_at - self._clock.monotonic())
            with contextlib.suppress(IngestError):  # then it runs out by itself
                self._lease.release(
                    account.id, grant.token, due_in_s=due_in_s, state=replace(grant.state, fingerprint=None)
                )

    def _await(self, holding: Holding, refusal: Refusal) -> Retried:
        """Forget a message that only the server has."""
        records = holding.image.records()
        if not any(each.kind in _UNREAD and _is_of(each, refusal) for each in records):
            raise MessageRefused(
                "its server no longer lists it and nothing of it is stored: there is nothing to retry from",
                todo=f"mailsluice quarantine discard {refusal.id}",
            )
        holding.rewrite([each for each in records if not _is_of(each, refusal)], resolved=refusal)
        return Retried.AWAITED

    def _process(
        self, account: Account, holding: Holding, refusal: Refusal, key: str, beat: Callable[[], None]
    ) -> Retried:
        ref = MessageRef(0, refusal.size, _uidl_of(refusal))
        first_seen = self._first_seen(refusal, key, beat)
        spool = self._raw.read(key, beat)
        try:
            if unread_digest(unparsed_identity(spool.buffer, spool.sha256)) != refusal.record.identity:
                raise StoreRefused(f"{self._store.url(key)} is not what was put there", todo="restore that object")
            done = self._isolation.process(account, ref, spool, first_seen=first_seen, beat=beat)
            unnamed = record_digest(None, spool.buffer, done.identity)
        finally:
            spool.close()
        image = holding.image
        digest = unnamed if refusal.uidl is None else refusal.record.uidl
        occurrences = sum(each.kind is Kind.QUARANTINED and _is_of(each, refusal) for each in image.records())
        # What was not listed lately must not cover its UIDL: that may stand for other mail by now.
        kind = Kind.STORED if occurrences else Kind.GONE
        record = Record(digest, done.identity[:8], kind, image.now_minutes)
        if _was_told_of(image, refusal, record):
            holding.rewrite(_without(image, refusal), resolved=refusal)
            return Retried.KNOWN
        holding.rewrite(
            [*_without(image, refusal), *[record] * max(1, occurrences)], event=done.event, resolved=refusal
        )
        return Retried.RECEIVED

    def _first_seen(self, refusal: Refusal, key: str, beat: Callable[[], None]) -> datetime:
        """When a poll first found it: the raw object says so, else the refusal is the nearest."""
        try:
            return self._raw.look(key, beat).first_seen
        except StoreRefused:
            return datetime.fromtimestamp(refusal.time, UTC)


def _is_of(record: Record, refusal: Refusal) -> bool:
    """Whether this record stands for the refused message."""
    return record.uidl == refusal.record.uidl and record.identity == refusal.record.identity


def _without(image: LedgerImage, refusal: Refusal) -> list[Record]:
    """The records but for those of these octets that were not read.

    Under other UIDLs that is the message renumbered, or a copy: the next poll looks at what is still listed of these.
    """
    return [
        each
        for each in image.records()
        if not (
            (each.kind is Kind.QUARANTINED and each.identity == refusal.record.identity)
            or (each.kind is Kind.GONE and _is_of(each, refusal))
        )
    ]


def _was_told_of(image: LedgerImage, refusal: Refusal, record: Record) -> bool:
    """Whether this content was told of: under its UIDL, or under another one if this UIDL is no longer listed."""
    under = {each.uidl for each in image.of_identity(record.identity)}
    listed = any(each.kind is Kind.QUARANTINED for each in image.of_uidl(refusal.record.uidl))
    return record.uidl in under or (bool(under) and not listed)


def _uidl_of(refusal: Refusal) -> bytes | None:
    """The UIDL in octets. A person reads those beyond ASCII as an escape, which might also stand there as such."""
    if refusal.uidl is None:
        return None
    literal = refusal.uidl.encode("ascii", "replace")
    if uidl_digest(literal) == refusal.record.uidl:
        return literal
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), refusal.uidl).encode("latin-1", "replace")
