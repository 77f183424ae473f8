"""ONE session with one maildrop: listing, what is new, retrieve, commit, delete, quit.

Rules of this room:
- The ledger image is read once at the start; what may be deleted is decided from it before anything is retrieved.
- A message is told of only after its objects lie in storage, and its record is written in the same step as its event.
- QUIT is clean only if everything that was retrieved is committed; otherwise the connection is dropped.
- EXPIRE 0 makes every QUIT after RETR a delete (RFC 2449, 6.7): the connection is dropped then, too.
- A fault of one message is counted and passed by; any other fault ends the visit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ingest.errors import (
    AccountMisconfigured,
    Fault,
    IngestError,
    ListingFailed,
    MessageTooLarge,
    ServerTemporary,
)
from ingest.ledger import NO_IDENTITY, UNCOVERING, LedgerImage, uidl_digest
from ingest.models import Account, Grant, Kind, Listing, MessageRef, OutgoingEvent, Record
from ingest.news import Digested, after_session, content_digest, deletable, new_messages, renumbered
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
    committed: int = 0
    more: bool = False
    drained: bool = False


class Visit:
    """One session's work for the holder of a lease.

    Args:
        account, grant: whose maildrop, under which lease, with what earlier polls remember.
        session: logged in.
        ledger, pipeline, spools, clock, telemetry, steps, limits: what it works with.
        beat: keeps the lease; called while octets move; raises LeaseLost.
        draining: whether to stop after the message in hand.
        on_message: told (done, to do, octets) after each message.
    """

    def __init__(
        self,
        account: Account,
        grant: Grant,
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
    ) -> None:
        self._account = account
        self._token = grant.token
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
        self._listing = Digested(Listing((), complete=False))
        self._seen: Counter[tuple[bytes, bytes]] = Counter()
        self._must_abort = False
        self._unsettled = False  # something listed has no record yet
        self._known = grant.state.fingerprint
        self._extent = grant.extent
        self.first_poll_done = grant.state.first_poll_done
        self.fingerprint: str | None = None
        self.tally = Tally()

    def run(self) -> None:
        """Do the whole visit; raises IngestError where it ends early. The caller drops the connection then."""
        started, first_seen = self._clock.monotonic(), self._clock.now()
        self._listing = Digested(self._session.listing())
        self.tally.listed = len(self._listing.messages)
        if self._is_unchanged():
            self.fingerprint = self._known
            self._session.quit()
            return
        self._image = self._steps(self._ledger.load, self._account.id)
        to_delete = deletable(
            self._listing, self._image, keep_s=self._account.keep_s, grace_s=self._limits.delete_grace_s
        )
        new = new_messages(self._listing, self._image)
        if not self.first_poll_done:
            new = self._seed(new)
        self.tally.new = len(new)
        new = self._pass_by_the_large(new)
        if not self._session.broken:
            self._retrieve(new, first_seen, started)
        self._unsettled = self._unsettled or self.tally.more or self.tally.drained
        self.first_poll_done = self.first_poll_done or not (self.tally.more or self.tally.drained)
        self._leave(to_delete)
        if self.first_poll_done and not self._unsettled:
            self.fingerprint = self._fingerprint(self._image.extent)

    def _is_unchanged(self) -> bool:
        """Whether this is the listing of the last poll and the ledger still knows all of it."""
        if self._known is None or self._account.keep_s is not None:
            return False
        return self._known == self._fingerprint(self._extent)

    def _fingerprint(self, extent: str) -> str | None:
        listing = self._listing.fingerprint()
        return listing and f"{listing}:{extent}"

    # The first poll

    def _seed(self, new: list[MessageRef]) -> list[MessageRef]:
        """Remember without retrieving what `first_poll` leaves out; return what is left to retrieve."""
        wanted = self._account.first_poll
        if wanted == "all" or (wanted == "new" and self._image.exists):
            return new  # an image means: seeded by an earlier poll that did not come to its end
        if any(ref.uidl is None for ref in new):
            raise AccountMisconfigured(
                f'first_poll = "{wanted}" needs UIDLs, and this server lists messages without', todo='set it to "all"'
            )
        if wanted != "new":
            return self._seed_before(datetime.combine(date.fromisoformat(wanted), datetime.min.time(), UTC), new)
        if not self._listing.complete:
            raise ListingFailed("the first listing is incomplete, so it can't be seeded")
        # In one step: half a seeding would take the other half for new mail. Also of nothing: a ledger says "seeded".
        self._commit([self._seeded(ref) for ref in new], None)
        return []

    def _seed_before(self, since: datetime, new: list[MessageRef]) -> list[MessageRef]:
        """Seed what was received before, by the newest Received header; return what was not."""
        left: list[MessageRef] = []
        for at in range(0, len(new), _TOP_BATCH):
            old: list[MessageRef] = []
            for ref, head in self._session.headers(new[at : at + _TOP_BATCH]):
                received = self._pipeline.received_time(head) if head else None
                if received is not None and received < since:
                    old.append(ref)
                elif self._session.broken:  # TOP itself is over its limit: nothing more can be asked in this session
                    self._skip(ref, head, f"headers of more than {len(head or b'')} octets")
                else:
                    left.append(ref)
                self._beat()
            if old:
                self._commit([self._seeded(ref) for ref in old], None)
            if self._session.broken:
                self.tally.more = True
                break
        return left

    def _seeded(self, ref: MessageRef) -> Record:
        return Record(self._digest(ref), NO_IDENTITY, Kind.SEEDED)

    # What is too large

    def _pass_by_the_large(self, new: list[MessageRef]) -> list[MessageRef]:
        """Skip what LIST already says is over the cap; return the others."""
        cap = self._limits.max_message_bytes
        large = [ref for ref in new if ref.size > cap]
        if self._session.broken or not large:
            return new
        for ref, head in self._session.headers(large):
            self._skip(ref, head, f"message of {ref.size} octets, the cap is {cap}")
        self.tally.more = self.tally.more or self._session.broken
        return [ref for ref in new if ref.size <= cap]

    def _skip(self, ref: MessageRef, head: bytes | None, why: str) -> None:
        """Tell of a message that is left on the server, and remember it."""
        block = (head or b"").partition(b"\r\n\r\n")[0]
        digest = self._digest(ref, block + b"%d" % ref.size)
        if ref.uidl is None and self._image.of_uidl(digest):
            return
        event = self._pipeline.skipped(self._account, ref, head, MessageTooLarge(why))
        self._commit([Record(digest, NO_IDENTITY, Kind.SKIPPED)], event)
        self.tally.skipped += 1

    # What is to be retrieved

    def _retrieve(self, new: list[MessageRef], first_seen: datetime, started: float) -> None:
        within = self._within_budget(new)
        self.tally.more = self.tally.more or len(within) < len(new)
        refused: list[Refused] = []
        cap = self._limits.max_message_bytes
        with closing(self._session.retrieve(within, self._spools, max_bytes=cap)) as retrieval:
            for done, got in enumerate(retrieval, 1):
                match got:
                    case Retrieved(ref, spool):
                        with closing(spool):
                            self._take(ref, spool, first_seen)
                    case Refused():
                        refused.append(got)
                    case TooLarge(ref, head):
                        self._skip(ref, head, f"more octets came than the cap of {cap}")
                        self.tally.more = True  # the session is spent; the others come in the next one
                self._on_message(done, len(within), self.tally.bytes)
                self._beat()
                if done < len(within) and self._stop(started):
                    break
        self._judge(refused, first_seen)

    def _within_budget(self, new: list[MessageRef]) -> list[MessageRef]:
        """As many as one poll may take. Without UIDLs as many more as are known by their content already."""
        unnamed = any(ref.uidl is None for ref in new)
        most = self._limits.max_messages + (len(self._image) if unnamed else 0)
        octets = 0
        for count, ref in enumerate(new):
            octets += ref.size
            if count >= most or (count and octets > self._limits.max_bytes and not unnamed):
                return new[:count]
        return new

    def _stop(self, started: float) -> bool:
        late = self._clock.monotonic() - started > self._limits.max_s
        self.tally.drained = self._draining()
        self.tally.more = self.tally.more or late
        return self.tally.drained or late

    def _take(self, ref: MessageRef, spool: Spool, first_seen: datetime) -> None:
        """One retrieved message: parse, store, commit."""
        self.tally.messages += 1
        self.tally.bytes += spool.size
        if ref.uidl is None and self._image.of_uidl(content_digest(spool.sha256)):
            return  # quarantined under the digest of all its octets
        try:
            read = self._pipeline.read(spool)
            digest = self._digest(ref, read.identity)
            record = Record(digest, read.identity[:8], Kind.STORED)
            same = [each for each in self._image.of_uidl(digest) if each.identity == record.identity]
            self._seen[digest, record.identity] += 1
            if self._seen[digest, record.identity] <= sum(each.kind not in UNCOVERING for each in same):
                return  # this very occurrence has its record
            if same:
                self._commit([record], None)  # a copy, or a DELE that the server ignored: told of already
                return
            done = self._pipeline.process(self._account, ref, spool, read, first_seen=first_seen, beat=self._beat)
        except IngestError as error:
            if error.fault is not Fault.MESSAGE:
                raise
            self._failed(ref, spool, error, first_seen)
            return
        known = (
            self._listing.complete and done.raw_existed and renumbered(self._image, self._listing.listed, read.identity)
        )
        self._commit([record], None if known else done.event)
        self.tally.attachments += done.attachments

    # What fails by its own fault

    def _judge(self, refused: Sequence[Refused], first_seen: datetime) -> None:
        """One message refused is its own fault; all of several is the server's."""
        if len(refused) > 1 and not self.tally.messages:
            raise ServerTemporary(f"{len(refused)} messages refused and none handed over: {refused[0].error.what}")
        for each in refused:
            self._failed(each.ref, None, each.error, first_seen)

    def _failed(self, ref: MessageRef, spool: Spool | None, error: IngestError, first_seen: datetime) -> None:
        """Count it; put it in quarantine when it has failed often enough."""
        self._telemetry.message_failed(self._account.id, error.code, error.what)
        key = self._digest(ref, b"%d:%d" % (ref.number, ref.size))
        attempts = self._ledger.attempts(self._account.id, self._token, key, count=True)
        if attempts < self._limits.quarantine_attempts:
            self._unsettled = True
            self._must_abort = self._must_abort or spool is not None
            return
        done = self._pipeline.quarantined(self._account, ref, spool, error, first_seen=first_seen, beat=self._beat)
        digest = self._digest(ref, done.identity)
        self._commit([Record(digest, done.identity[:8], Kind.QUARANTINED)], done.event)
        self.tally.quarantined += 1

    # Writing and leaving

    def _digest(self, ref: MessageRef, content: bytes = b"") -> bytes:
        return content_digest(content) if ref.uidl is None else uidl_digest(ref.uidl)

    def _commit(self, records: Sequence[Record], event: OutgoingEvent | None) -> None:
        self._steps(self._ledger.commit, self._account.id, self._token, self._image, records, event)
        self.tally.events += event is not None
        self.tally.committed += 1

    def _leave(self, to_delete: list[MessageRef]) -> None:
        """QUIT if that is safe, with the deletions; else drop the connection, which changes nothing at the server."""
        quit_deletes = self._session.capabilities.expire_days == 0 and self.tally.messages
        if self._must_abort or self._session.broken or quit_deletes:
            self._session.abort()
            return
        if to_delete or self.tally.messages:
            # What QUIT makes final must be where a failover finds it.
            self._steps(self._ledger.settle, self._account.id, self._token)
            self._beat()
        deleted = self._session.delete(to_delete) if to_delete else []
        confirmed = self._session.quit()
        self.tally.deleted = len(deleted) if confirmed else 0
        records = after_session(
            self._listing, self._image, deleted if confirmed else (), keeps=self._account.keep_s is None
        )
        if records is not None:
            self._steps(self._ledger.rewrite, self._account.id, self._token, self._image, records)
