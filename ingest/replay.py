"""Stored messages told of again, from object storage alone: raw objects and their metadata. Redis may be new.

Rules of this room:
- Ids come from account and content, so each event has the id of its first time; it is marked as a replay.
- Metadata may be years old, and its UIDL may stand for other mail by now. So what is told of gets a record in the same
  step, unless the ledger knows it, but one that does not cover the UIDL (GONE): listed again, the message is read, and
  its content says that it was told of, or that it is new.
- A message that went into quarantine, or was in hand when a process died, is processed in a process of its own.
- The lease is held for one account at a time, renewed on progress, given back with state and due time as they were.
- Keys are streamed: memory is that of one message and one account's ledger, whatever the number of objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import groupby

from ingest.errors import (
    Fault,
    IngestError,
    ScannerUnavailable,
    StateFull,
    StateUnavailable,
    StoreRefused,
    StoreUnavailable,
)
from ingest.events.build import as_replay
from ingest.events.ids import event_id
from ingest.events.models import EventType
from ingest.heartbeat import Heartbeat
from ingest.holding import Holding
from ingest.intake import quarantine_record, refusal_of
from ingest.isolation import Isolation
from ingest.ledger import LedgerImage, uidl_digest
from ingest.mime.identity import unparsed_identity
from ingest.models import Account, Failure, Kind, MessageRef, Outcome, OutgoingEvent, Record, Refusal
from ingest.news import content_digest, record_digest
from ingest.pipeline import Pipeline, Processed
from ingest.ports import AccountRegistry, Clock, EventLog, Lease, Ledger, Schedule, Spool, Telemetry
from ingest.rawmail import RawMail, RawMessage
from ingest.retry import Steps

OnMessage = Callable[[str, int, int], None]
OnRefused = Callable[[str, Failure], None]
# Whatever the account, the next one would meet the same.
_FOR_ALL = frozenset(
    kind.code for kind in (StateFull, StateUnavailable, StoreUnavailable, StoreRefused, ScannerUnavailable)
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to replay: of one account or all, first seen at `since` or later and before `until`, behind key `after`."""

    account: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: str = ""

    def includes(self, first_seen: datetime) -> bool:
        return (self.since is None or first_seen >= self.since) and (self.until is None or first_seen < self.until)


@dataclass(slots=True)
class Tally:
    """What an account's replay did so far; it stands even when that ends in an error.

    `stored` counts the raw objects looked at, those out of the range of time too, and `oldest` is when the first of
    them was first seen. `recorded`: whose record the ledger had already. `refused`: objects that can't be told of.
    `last`: the key of the last object that is done with.
    """

    stored: int = 0
    replayed: int = 0
    quarantined: int = 0
    recorded: int = 0
    refused: int = 0
    bytes: int = 0
    oldest: datetime | None = None
    last: str = ""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """One account's replay in figures, as in `Tally`."""

    account: str
    outcome: Outcome
    stored: int = 0
    replayed: int = 0
    quarantined: int = 0
    recorded: int = 0
    refused: int = 0
    bytes: int = 0
    oldest: datetime | None = None
    last: str = ""
    seconds: float = 0.0
    failure: Failure | None = None

    @property
    def ends(self) -> bool:
        """Whether what failed is no matter of this account alone, so that no other one is begun."""
        return self.failure is not None and self.failure.code in _FOR_ALL


@dataclass(frozen=True, slots=True)
class _Held:
    """An account under our lease."""

    account: Account
    holding: Holding
    beat: Callable[[], None]
    tally: Tally


class Replayer:
    """Replays accounts one after the other, in the store's order.

    Args:
        raw, pipeline, isolation: from the stored message to its event.
        lease, ledger, schedule, events: towards the state.
        registry: for the tags; an account that is not in it has none.
        clock, telemetry, steps: time, figures, seconds of patience within a step.
        lease_ttl_s: a third of it is how often progress renews the lease.
    """

    def __init__(
        self,
        *,
        raw: RawMail,
        pipeline: Pipeline,
        isolation: Isolation,
        lease: Lease,
        ledger: Ledger,
        schedule: Schedule,
        events: EventLog,
        registry: AccountRegistry,
        clock: Clock,
        telemetry: Telemetry,
        steps: Steps,
        lease_ttl_s: float,
    ) -> None:
        self._raw = raw
        self._pipeline = pipeline
        self._isolation = isolation
        self._lease = lease
        self._ledger = ledger
        self._schedule = schedule
        self._events = events
        self._registry = registry
        self._clock = clock
        self._telemetry = telemetry
        self._steps = steps
        self._renew_every_s = lease_ttl_s / 3

    def replay(
        self,
        wanted: Wanted,
        on_message: OnMessage = lambda *_: None,
        on_refused: OnRefused = lambda *_: None,
    ) -> Iterator[ReplayReport]:
        """One report for each account that has raw messages in storage, up to one whose failure ends it all.

        Args:
            wanted: whose and of which time.
            on_message: told (account, objects looked at, octets told of) after each object.
            on_refused: told (account, why) of each object that can't be told of.
        """
        keys = self._raw.keys(wanted.account, after=wanted.after)
        for account_id, its_keys in groupby(keys, key=lambda key: key.split("/")[1]):
            report = self._replay_account(account_id, its_keys, wanted, on_message, on_refused)
            yield report
            if report.ends:
                return

    def _replay_account(
        self, account_id: str, keys: Iterable[str], wanted: Wanted, on_message: OnMessage, on_refused: OnRefused
    ) -> ReplayReport:
        """One account under its lease; what goes wrong stands in the report."""
        started, tally = self._clock.monotonic(), Tally()
        outcome, failure = Outcome.DONE, None
        try:
            if not self._with_lease(account_id, keys, wanted, tally, on_message, on_refused):
                outcome = Outcome.BUSY
        except IngestError as error:
            outcome, failure = Outcome.FAILED, Failure.of(error)
        seconds = self._clock.monotonic() - started
        return ReplayReport(account_id, outcome, **asdict(tally), seconds=seconds, failure=failure)

    def _with_lease(  # noqa: PLR0917  # one call of it, right above
        self,
        account_id: str,
        keys: Iterable[str],
        wanted: Wanted,
        tally: Tally,
        on_message: OnMessage,
        on_refused: OnRefused,
    ) -> bool:
        """False if another holds the lease."""
        account = self._registry.get([account_id]).get(account_id) or _unregistered(account_id)
        due_in_s = self._schedule.due_in([account_id]).get(account_id, 0.0)
        began = self._clock.monotonic()
        grant = self._lease.acquire(account_id)
        if grant is None:
            return False
        token = grant.token
        try:
            holding = Holding(account_id, grant, ledger=self._ledger, steps=self._steps)
            holding.load()
            beat = Heartbeat(lambda: self._lease.renew(account_id, token), self._clock, self._renew_every_s)
            held = _Held(account, holding, beat, tally)
            for key in self._raw.following(keys, beat):
                try:
                    self._take(held, key, wanted)
                except _Unusable as unusable:
                    tally.refused += 1
                    on_refused(account_id, unusable.why)
                tally.last = key
                on_message(account_id, tally.stored, tally.bytes)
        finally:  # after Ctrl-C too: nobody has to wait for the lease to run out
            left_s = max(0.0, due_in_s - (self._clock.monotonic() - began))
            with suppress(IngestError):  # then it runs out by itself
                self._lease.release(account_id, token, due_in_s=left_s, state=grant.state)
        return True

    def _take(self, held: _Held, key: str, wanted: Wanted) -> None:
        """Look at one object, and tell of it if it is wanted."""
        held.beat()
        tally = held.tally
        tally.stored += 1
        try:
            message = self._raw.look(key, held.beat)
            tally.oldest = min(tally.oldest or message.first_seen, message.first_seen)
            if not wanted.includes(message.first_seen):
                return
            spool = self._raw.fetch(message, held.beat)
        except StoreRefused as error:  # what is wrong with one object stops no other
            raise _Unusable(Failure.of(error)) from error
        with closing(spool):
            self._tell(held, message, spool)

    def _tell(self, held: _Held, message: RawMessage, spool: Spool) -> None:
        """Parse, put back attachments that are lost, and commit the event with a record."""
        ref = MessageRef(0, spool.size, message.uidl)
        mark = _mark_of(ref, spool)
        held.holding.take_in_hand(mark)
        try:
            done = self._process(held, message, ref, spool, mark)
        except IngestError as error:
            if error.fault is not Fault.MESSAGE:
                raise
            self._refuse(held, message, ref, spool, error)
            held.tally.quarantined += 1
        else:
            record = Record(record_digest(ref.uidl, spool.buffer, done.identity), done.identity[:8], Kind.GONE)
            self._commit(held, record, done.event, mark)
            held.tally.replayed += 1
        held.tally.bytes += spool.size

    def _process(self, held: _Held, message: RawMessage, ref: MessageRef, spool: Spool, mark: bytes) -> Processed:
        account, beat, first_seen = held.account, held.beat, message.first_seen
        identity = unparsed_identity(spool.buffer, spool.sha256)
        was_quarantined = message.event_id == event_id(EventType.QUARANTINED, account.id, identity)
        if was_quarantined or held.holding.suspects(mark):
            done = self._isolation.process(account, ref, spool, first_seen=first_seen, beat=beat)
            return replace(done, event=as_replay(done.event))
        read = self._pipeline.read(spool)
        return self._pipeline.process(account, ref, spool, read, first_seen=first_seen, beat=beat, replay=True)

    def _refuse(self, held: _Held, message: RawMessage, ref: MessageRef, spool: Spool, error: IngestError) -> None:
        """Tell of a message that can't be processed, as was done when it went into quarantine."""
        self._telemetry.message_failed(held.account.id, error.code, error.what)
        told = self._pipeline.quarantined(
            held.account, ref, spool, error, first_seen=message.first_seen, beat=held.beat
        )
        record = replace(quarantine_record(ref, spool), kind=Kind.GONE)
        refusal = refusal_of(held.account, ref, spool.size, record, told, error, message.first_seen)
        self._commit(held, record, told.event, _mark_of(ref, spool), refusal)

    def _commit(
        self, held: _Held, record: Record, event: OutgoingEvent, mark: bytes, refusal: Refusal | None = None
    ) -> None:
        recorded = _knows(held.holding.image, record)
        records = [] if recorded else [record]
        try:
            held.holding.commit(records, event, finished=mark, refusal=refusal)
        except StateFull:
            # Where ticks are stopped, nobody else frees what consumers have done with.
            if not self._events.trim():
                raise
            held.holding.commit(records, event, finished=mark, refusal=refusal)
        held.tally.recorded += recorded


class _Unusable(Exception):
    """This object can't be told of."""

    def __init__(self, why: Failure) -> None:
        super().__init__(why.what)
        self.why = why


def _mark_of(ref: MessageRef, spool: Spool) -> bytes:
    """The digest under which a message is in hand."""
    return uidl_digest(ref.uidl) if ref.uidl is not None else content_digest(spool.sha256)


def _knows(image: LedgerImage, record: Record) -> bool:
    """Whether the ledger has this content under this UIDL, or a record that covers the UIDL for other content."""
    return image.covering(record.uidl) > 0 or any(
        each.identity == record.identity for each in image.of_uidl(record.uidl)
    )


def _unregistered(account_id: str) -> Account:
    """Enough of an account that is not, or not yet, in the registry: its events have no tags."""
    return Account(account_id, host="", port=0, username="", password="")
