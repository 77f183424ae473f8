"""What becomes of one message of a visit: processed and committed, known already, failed, quarantined or skipped.

Rules of this room:
- A message is told of only after its objects lie in storage, and its record is written in the same step as its event.
- A fault of one message is counted and passed by, and one that no further try mends goes into quarantine at once; any
  other fault is raised on, and not counted.
- A suspect is counted before the work, which is then done alone, in a process of its own; failing there counts, and
  nothing else does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ingest.errors import Fault, IngestError, MessageTooLarge, MessageUnprocessable, Retry
from ingest.holding import Holding
from ingest.isolation import Isolation
from ingest.ledger import UNCOVERING, uidl_digest
from ingest.mime.identity import unparsed_identity
from ingest.models import Account, Kind, MessageRef, Record, Refusal
from ingest.news import (
    Digested,
    content_digest,
    record_digest,
    renumbered,
    size_digest,
    skipped_digest,
    unread_digest,
)
from ingest.pipeline import Pipeline, Processed, Refused
from ingest.ports import Clock, Spool, Telemetry


@dataclass(slots=True)
class Tally:
    """What a visit did so far; it stands even when the visit ends in an error."""

    listed: int = 0
    new: int = 0
    messages: int = 0
    skipped: int = 0
    quarantined: int = 0
    deleted: int = 0
    undeleted: int = 0
    attachments: int = 0
    bytes: int = 0
    more: bool = False
    window: bool = False
    drained: bool = False


class Intake:
    """Takes the messages of one visit, one after the other.

    Args:
        account, holding, listing: whose, what may be written, what is listed.
        pipeline, isolation, telemetry, clock: what it works with.
        attempts: after how many failures a message goes into quarantine.
        tally: what is counted here.
        first_seen: when the visit began.
        beat: keeps the lease; raises LeaseLost.
    """

    def __init__(
        self,
        account: Account,
        holding: Holding,
        listing: Digested,
        *,
        pipeline: Pipeline,
        isolation: Isolation,
        telemetry: Telemetry,
        clock: Clock,
        attempts: int,
        tally: Tally,
        first_seen: datetime,
        beat: Callable[[], None],
    ) -> None:
        self._account = account
        self._holding = holding
        self._listing = listing
        self._pipeline = pipeline
        self._isolation = isolation
        self._telemetry = telemetry
        self._clock = clock
        self._attempts = attempts
        self._tally = tally
        self._first_seen = first_seen
        self._beat = beat
        self._seen: Counter[tuple[bytes, bytes]] = Counter()
        self.unsettled = False  # something listed has no record yet
        self.must_abort = False  # something was retrieved that is not committed

    def mark_of(self, ref: MessageRef, spool: Spool | None) -> bytes | None:
        """The digest under which a message is in hand and counted: of its UIDL, if it is the only one listed under it.

        Else of its octets; None for one of several that is not retrieved.
        """
        if ref.uidl is not None and self._listing.listed[uidl_digest(ref.uidl)] <= 1:
            return uidl_digest(ref.uidl)
        return None if spool is None else content_digest(spool.sha256)

    def take(self, ref: MessageRef, spool: Spool, *, following: MessageRef | None = None, counted: int = 0) -> None:
        """One retrieved message: parse, store, commit. `counted`: it is a suspect and stands counted so often."""
        self._tally.messages += 1
        self._tally.bytes += spool.size
        mark = self.mark_of(ref, spool) or b""
        if self._stays_in_quarantine(ref, spool):
            return
        self._holding.take_in_hand(mark)
        counted_here = not counted and self._holding.suspects(mark)  # it has no name before it is retrieved
        if counted_here:
            counted = self._holding.count(mark)
        try:
            self._process(ref, spool, mark, following=following, counted=counted)
        except IngestError as error:
            if error.fault is Fault.MESSAGE:
                self.failed(ref, spool, error, counted=counted)
                return
            if counted_here:
                self._holding.uncount(mark)
            raise

    def _process(
        self, ref: MessageRef, spool: Spool, mark: bytes, *, following: MessageRef | None, counted: int
    ) -> None:
        done = self._alone(ref, spool, counted) if counted else self._here(ref, spool)
        if done is not None:
            self._commit(ref, spool, done, mark, following)
        elif self._holding.suspects(mark):
            self._holding.commit([], finished=mark)  # it has its record, and did no harm

    def _stays_in_quarantine(self, ref: MessageRef, spool: Spool) -> bool:
        """Whether this occurrence is known as unreadable, and only looked at for the sake of another one."""
        if ref.uidl is not None:
            name = uidl_digest(ref.uidl)
            if self._listing.listed[name] <= 1 and not self._holding.image.of_uidl(name):
                return False
        record = quarantine_record(ref, spool)
        before = self._before(record)
        if ref.uidl is None and before:  # a copy
            self._holding.commit([record], finished=self.mark_of(ref, spool))
        return before is None or (ref.uidl is None and bool(before))

    def _here(self, ref: MessageRef, spool: Spool) -> Processed | None:
        """Process it in this thread; None if it has its record, or got one because it was told of already."""
        read = self._pipeline.read(spool)
        if self._is_known(ref, spool, read.identity):
            return None
        return self._pipeline.process(self._account, ref, spool, read, first_seen=self._first_seen, beat=self._beat)

    def _alone(self, ref: MessageRef, spool: Spool, counted: int) -> Processed | None:
        """Process it in a process of its own, unless that has ended ours so often already."""
        if counted > self._attempts:
            raise MessageUnprocessable("each worker that took it in hand died")
        done = self._isolation.process(self._account, ref, spool, first_seen=self._first_seen, beat=self._beat)
        return None if self._is_known(ref, spool, done.identity) else done

    def _is_known(self, ref: MessageRef, spool: Spool, identity: bytes) -> bool:
        """Whether this content was told of under this very UIDL; if its record is missing, it gets it."""
        record = Record(record_digest(ref.uidl, spool.buffer, identity), identity[:8], Kind.STORED)
        before = self._before(record)
        if before is None or not before:
            return before is None
        # A copy, or it was gone from a listing; or the server kept what we deleted.
        self._tally.undeleted += any(each.kind in {Kind.DELETED, Kind.DELETING} for each in before)
        self._holding.commit([record], finished=self.mark_of(ref, spool))
        return True

    def _before(self, record: Record) -> list[Record] | None:
        """The records of this UIDL and content; None if this very occurrence has its own, as each listed one should."""
        same = self._like(record)
        self._seen[record.uidl, record.identity] += 1
        covering = sum(each.kind not in UNCOVERING for each in same)
        return None if self._seen[record.uidl, record.identity] <= covering else same

    def _like(self, record: Record) -> list[Record]:
        """The records of this UIDL and content."""
        return [each for each in self._holding.image.of_uidl(record.uidl) if each.identity == record.identity]

    def _commit(
        self, ref: MessageRef, spool: Spool, done: Processed, mark: bytes, following: MessageRef | None
    ) -> None:
        record = Record(record_digest(ref.uidl, spool.buffer, done.identity), done.identity[:8], Kind.STORED)
        known = self._is_renumbered(record.identity) and (
            done.existed or self._pipeline.remembers(self._account.id, done.identity, self._beat)
        )
        self._holding.commit(
            [record],
            None if known else done.event,
            finished=mark,
            following=None if following is None else self.mark_of(following, None),
        )
        self._tally.attachments += done.attachments

    def failed(self, ref: MessageRef, spool: Spool | None, error: IngestError, *, counted: int = 0) -> None:
        """Count a message's own fault; put it in quarantine when it has failed often enough, or will again."""
        self._telemetry.message_failed(self._account.id, error.code, error.what)
        mark = self.mark_of(ref, spool) or content_digest(b"%d" % ref.size)
        record = quarantine_record(ref, spool)
        if spool is None and self._was_refused(record, mark):
            return
        if spool is not None and (self._like(record) or self._is_renumbered(record.identity)):
            self._holding.commit([record], finished=mark)
            return
        if error.retry is not Retry.NEVER and (counted or self._holding.count(mark)) < self._attempts:
            self.unsettled = True
            self.must_abort = self.must_abort or spool is not None
            return
        told = self._pipeline.quarantined(
            self._account, ref, spool, error, first_seen=self._first_seen, beat=self._beat
        )
        self._refuse(ref, spool.size if spool else ref.size, record, told, error, finished=mark)
        self._tally.quarantined += 1

    def skip(self, ref: MessageRef, head: bytes | None, why: str) -> None:
        """Tell of a message that is left on the server, and remember it."""
        digest = skipped_digest(head, ref.size) if ref.uidl is None else uidl_digest(ref.uidl)
        record = Record(digest, size_digest(ref.size), Kind.SKIPPED)
        finished = None if ref.uidl is None else self.mark_of(ref, None)
        if self._was_refused(record, finished):
            return
        error = MessageTooLarge(why)
        told = self._pipeline.skipped(self._account, ref, head, error)
        self._refuse(ref, ref.size, record, told, error, finished=finished)
        self._tally.skipped += 1

    def _was_refused(self, record: Record, mark: bytes | None) -> bool:
        """Whether it was told of as skipped or quarantined; if its record is missing, it gets it."""
        before = self._before(record)
        if before:  # a copy, or it was gone from a listing
            self._holding.commit([record], finished=mark)
        return before is None or bool(before)

    def _is_renumbered(self, identity: bytes) -> bool:
        """Whether this content was told of under a UIDL that a complete listing no longer shows."""
        return self._listing.complete and renumbered(self._holding.image, self._listing.listed, identity)

    def _refuse(
        self,
        ref: MessageRef,
        size: int,
        record: Record,
        told: Refused,
        error: IngestError,
        *,
        finished: bytes | None = None,
    ) -> None:
        refusal = refusal_of(self._account, ref, size, record, told, error, self._clock.now())
        self._holding.commit([record], told.event, finished=finished, refusal=refusal)


def refusal_of(  # noqa: PLR0917  # each from another hand
    account: Account, ref: MessageRef, size: int, record: Record, told: Refused, error: IngestError, time: datetime
) -> Refusal:
    """What a person is shown of a message that was skipped or quarantined."""
    return Refusal(
        account=account.id,
        id=told.event.id,
        record=record,
        uidl=None if ref.uidl is None else ref.uidl.decode("ascii", "backslashreplace"),
        size=size,
        reason=error.code,
        detail=error.what,
        subject=told.subject,
        raw=told.raw,
        time=time.timestamp(),
    )


def quarantine_record(ref: MessageRef, spool: Spool | None) -> Record:
    """The record of a message that can't be processed: known by its content, or by its size if we have none."""
    if spool is None:
        digest = content_digest(b"%d" % ref.size) if ref.uidl is None else uidl_digest(ref.uidl)
        return Record(digest, size_digest(ref.size), Kind.QUARANTINED)
    identity = unparsed_identity(spool.buffer, spool.sha256)
    return Record(record_digest(ref.uidl, spool.buffer, identity), unread_digest(identity), Kind.QUARANTINED)
