"""ONE session with one maildrop: listing, what is new, retrieve, commit, delete, quit.

Rules of this room:
- The ledger image is read once at the start; what may be deleted is decided from it before anything is retrieved.
- A message is told of only after its objects lie in storage, and its record is written in the same step as its event.
- QUIT is clean only if everything that was retrieved is committed; otherwise the connection is dropped.
- A fault of one message is counted and passed by; any other fault ends the visit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ingest.errors import (
    AccountMisconfigured,
    Fault,
    IngestError,
    ListingFailed,
    MessageRefused,
    MessageTooLarge,
)
from ingest.ledger import NO_IDENTITY, LedgerImage
from ingest.models import Account, Kind, Listing, MessageRef, OutgoingEvent, Record
from ingest.news import after_session, already_told, deletable, digest_of, new_messages, renumbered
from ingest.pipeline import Pipeline
from ingest.pop3.session import Refused, Retrieved, Session, TooLarge
from ingest.ports import Clock, Ledger, Spool, SpoolFactory, Telemetry
from ingest.retry import Steps

OnMessage = Callable[[int, int, int], None]
_TOP_BATCH = 500


@dataclass(frozen=True, slots=True)
class VisitLimits:
    """What one visit may take. A budget that ends leaves the rest to the next poll, which is due at once."""

    max_message_bytes: int = 50 << 20
    max_messages: int = 1000
    max_bytes: int = 1 << 30
    max_s: float = 300
    delete_grace_s: float = 3600
    quarantine_attempts: int = 3


@dataclass(slots=True)
class Tally:
    """What a visit did so far; it stands even when the visit ends in an error."""

    listed: int = 0
    new: int = 0
    messages: int = 0
    events: int = 0
    skipped: int = 0
    quarantined: int = 0
    deleted: int = 0
    attachments: int = 0
    bytes: int = 0
    more: bool = False
    drained: bool = False
    first_poll_done: bool = False


class Visit:
    """One session's work for the holder of a lease.

    Args:
        account, token: whose maildrop, under which fencing token.
        session: logged in.
        ledger, pipeline, spools, clock, telemetry, steps, limits: what it works with.
        beat: keeps the lease; called while octets move; raises LeaseLost.
        draining: whether to stop after the message in hand.
        on_message: told (done, to do, octets) after each message.
    """

    def __init__(
        self,
        account: Account,
        token: str,
        session: Session,
        *,
        ledger: Ledger,
        pipeline: Pipeline,
        spools: SpoolFactory,
        clock: Clock,
        telemetry: Telemetry,
        steps: Steps,
        limits: VisitLimits,
        beat: Callable[[], None],
        draining: Callable[[], bool],
        on_message: OnMessage,
        first_poll_done: bool,
    ) -> None:
        self._account = account
        self._token = token
        self._session = session
        self._ledger = ledger
        self._pipeline = pipeline
        self._spools = spools
        self._clock = clock
        self._telemetry = telemetry
        self._steps = steps
        self._limits = limits
        self._beat = beat
        self._draining = draining
        self._on_message = on_message
        self._image = LedgerImage(b"")
        self._listed: frozenset[bytes] = frozenset()
        self._complete = False
        self._uncommitted = False
        self.tally = Tally(first_poll_done=first_poll_done)

    def run(self) -> None:
        """Do the whole visit; raises IngestError where it ends early. The caller drops the connection then."""
        started, first_seen = self._clock.monotonic(), self._clock.now()
        listing = self._session.listing()
        self._image = self._steps(self._ledger.load, self._account.id)
        self._listed = frozenset(map(digest_of, listing.messages))
        self._complete = listing.complete
        self.tally.listed = len(listing.messages)
        to_delete = deletable(listing, self._image, keep_s=self._account.keep_s, grace_s=self._limits.delete_grace_s)
        new = new_messages(listing, self._image)
        if not self.tally.first_poll_done:
            new = self._seed(listing, new)
        self.tally.new = len(new)
        new = self._pass_by_the_large(new)
        self._retrieve(new, first_seen, started)
        if not (self.tally.more or self.tally.drained):
            self.tally.first_poll_done = True
        self._leave(listing, to_delete)

    def _seed(self, listing: Listing, new: list[MessageRef]) -> list[MessageRef]:
        """First poll: remember without retrieving what `first_poll` leaves out; return what is left to retrieve."""
        wanted = self._account.first_poll
        if wanted == "all" or not new:
            return new
        if any(ref.uidl is None for ref in new):
            raise AccountMisconfigured(
                f'first_poll = "{wanted}" needs UIDLs and this server has none', todo='set first_poll = "all"'
            )
        if wanted == "new":
            if self._image.exists:
                return new  # seeded by an earlier poll that did not come to its end
            if not listing.complete:
                raise ListingFailed("the first listing is incomplete, so it can't be seeded")
            self._remember(new)
            return []
        since = datetime.combine(date.fromisoformat(wanted), datetime.min.time(), UTC)
        left: list[MessageRef] = []
        for at in range(0, len(new), _TOP_BATCH):
            old: list[MessageRef] = []
            for ref, head in self._session.headers(new[at : at + _TOP_BATCH]):
                received = self._pipeline.received_time(head) if head else None
                (old if received is not None and received < since else left).append(ref)
                self._beat()
            self._remember(old)
        return left

    def _remember(self, refs: Sequence[MessageRef]) -> None:
        """Seed in one step: half a seeding would take the other half for new mail, or new mail for seeded."""
        if refs:
            self._commit([Record(digest_of(ref), NO_IDENTITY, Kind.SEEDED) for ref in refs], None)

    def _pass_by_the_large(self, new: list[MessageRef]) -> list[MessageRef]:
        """Skip what LIST already says is over the cap; return the others."""
        large = [ref for ref in new if ref.size > self._limits.max_message_bytes and ref.uidl is not None]
        for ref, head in self._session.headers(large):
            self._skip(ref, head)
        skipped = set(large)
        return [ref for ref in new if ref not in skipped]

    def _skip(self, ref: MessageRef, head: bytes | None) -> None:
        cap = self._limits.max_message_bytes
        error = MessageTooLarge(f"message of {ref.size} octets, the cap is {cap}")
        event = self._pipeline.skipped(self._account, ref, head, error)
        self._commit([Record(digest_of(ref), NO_IDENTITY, Kind.SKIPPED)], event)
        self.tally.skipped += 1

    def _retrieve(self, new: list[MessageRef], first_seen: datetime, started: float) -> None:
        within = self._within_budget(new)
        self.tally.more = len(within) < len(new)
        retrieval = self._session.retrieve(within, self._spools, max_bytes=self._limits.max_message_bytes)
        for done, got in enumerate(retrieval, 1):
            match got:
                case Retrieved(ref, spool):
                    try:
                        self._take(ref, spool, first_seen)
                    finally:
                        spool.close()
                case Refused(ref, error):
                    self._failed(ref, None, error, first_seen)
                case TooLarge(ref, head):
                    self._skip(ref, head)
                    self.tally.more = True  # the session is spent; the others come in the next one
                    self._uncommitted = True
            self._on_message(done, len(within), self.tally.bytes)
            self._beat()
            if done < len(within) and self._stop(started):
                break

    def _stop(self, started: float) -> bool:
        late = self._clock.monotonic() - started > self._limits.max_s
        self.tally.drained = self._draining()
        self.tally.more = self.tally.more or late
        return self.tally.drained or late

    def _within_budget(self, new: list[MessageRef]) -> list[MessageRef]:
        octets = 0
        for count, ref in enumerate(new):
            octets += ref.size
            if count >= self._limits.max_messages or (count and octets > self._limits.max_bytes):
                return new[:count]
        return new

    def _take(self, ref: MessageRef, spool: Spool, first_seen: datetime) -> None:
        """One retrieved message: parse, store, commit."""
        self.tally.messages += 1
        self.tally.bytes += spool.size
        try:
            read = self._pipeline.read(spool)
            known = already_told(self._image, ref, read.identity)
            if known and ref.uidl is None:
                return  # without UIDLs everything is retrieved again at each poll, and known by its content
            done = self._pipeline.process(self._account, ref, spool, read, first_seen=first_seen, beat=self._beat)
        except IngestError as error:
            if error.fault is not Fault.MESSAGE:
                raise
            self._failed(ref, spool, error, first_seen)
            return
        known = known or (self._complete and done.raw_existed and renumbered(self._image, self._listed, read.identity))
        record = Record(digest_of(ref), read.identity[:8], Kind.STORED)
        self._commit([record], None if known else done.event)
        self.tally.attachments += done.attachments

    def _failed(self, ref: MessageRef, spool: Spool | None, error: IngestError, first_seen: datetime) -> None:
        """One message failed by its own fault: count it; in quarantine with it when it has failed often enough."""
        self._telemetry.message_failed(self._account.id, error.code, error.what)
        attempts = self._steps(self._ledger.attempts, self._account.id, self._token, digest_of(ref), count=True)
        if attempts < self._limits.quarantine_attempts:
            self._uncommitted = self._uncommitted or not isinstance(error, MessageRefused)
            return
        done = self._pipeline.quarantined(self._account, ref, spool, error, first_seen=first_seen, beat=self._beat)
        self._commit([Record(digest_of(ref), done.identity[:8], Kind.QUARANTINED)], done.event)
        self.tally.quarantined += 1

    def _commit(self, records: Iterable[Record], event: OutgoingEvent | None) -> None:
        self._steps(self._ledger.commit, self._account.id, self._token, self._image, list(records), event)
        self.tally.events += event is not None

    def _leave(self, listing: Listing, to_delete: list[MessageRef]) -> None:
        if self._uncommitted or self._session.broken:
            self._session.abort()
            return
        if to_delete or self.tally.messages:
            # What QUIT makes final must be where a failover finds it.
            self._steps(self._ledger.settle, self._account.id)
            self._beat()
        deleted = self._session.delete(to_delete) if to_delete else []
        confirmed = self._session.quit()
        self.tally.deleted = len(deleted) if confirmed else 0
        records = after_session(listing, self._image, deleted if confirmed else ())
        if records is not None:
            self._steps(self._ledger.rewrite, self._account.id, self._token, self._image, records)
