"""ONE session with one maildrop: listing, what is new, retrieve, delete, quit.

Rules of this room:
- The ledger image is read once at the start; what may be deleted is decided from it before anything is retrieved.
- QUIT is clean only if everything that was retrieved is committed; otherwise the connection is dropped.
- Before DELE is sent the ledger says so: should the QUIT's reply be lost, the next listing and the content decide.
- EXPIRE 0 makes every QUIT after RETR a delete (RFC 2449, 6.7): the connection is dropped then, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ingest.errors import ProtocolError
from ingest.glance import delete_due, glance_mark, sight_of
from ingest.holding import Holding
from ingest.intake import Intake, Tally
from ingest.isolation import Isolation
from ingest.models import Account, AccountState, Grant, Kind, Listing, MessageRef, Sight
from ingest.news import (
    Digested,
    Pruning,
    after_session,
    deletable,
    deleting,
    header_digest,
    listings_seen,
    new_messages,
    ripens_at,
    skipped_digest,
    uidl_of,
)
from ingest.pipeline import Pipeline
from ingest.pop3.session import Session
from ingest.ports import Clock, Ledger, SpoolFactory, Telemetry
from ingest.providers import Provider, recognise
from ingest.retrieval import Retrieval
from ingest.retry import Steps
from ingest.seeding import Seeding

OnMessage = Callable[[int, int, int], None]
SECONDS_PER_MINUTE = 60
_WINDOW_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class VisitLimits:
    """What one visit may take. A budget that ends leaves the rest to the next poll, which is due at once."""

    max_message_bytes: int = 50 << 20
    max_messages: int = 1000
    max_bytes: int = 1 << 30
    max_s: float = 300
    delete_grace_s: float = 3600
    full_listing_s: float = 7200
    glance_from: int = 32
    quarantine_attempts: int = 3
    pruning: Pruning = field(default_factory=Pruning)


def settled(account: Account, extent: str, limits: VisitLimits) -> str:
    """How a fingerprint ends that was taken of this ledger, and of an account that keeps its mail for so long."""
    return f":{account.keep_s if account.keep_s is None else max(account.keep_s, limits.delete_grace_s)}:{extent}"


class Visit:
    """One session's work for the holder of a lease.

    Args:
        account, grant: whose maildrop, under which lease, with what earlier polls remember.
        session: logged in.
        seen: what its first look saw.
        ledger, pipeline, isolation, spools, clock, telemetry, steps, limits: what it works with.
        beat: keeps the lease; called while octets move; raises LeaseLost.
        draining: whether to stop after the message in hand.
        on_message: told (done, to do, octets) after each message.
    """

    def __init__(
        self,
        account: Account,
        grant: Grant,
        session: Session,
        seen: Listing | Sight,
        *,
        ledger: Ledger,
        pipeline: Pipeline,
        isolation: Isolation,
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
        self._session = session
        self._seen = seen
        self._pipeline = pipeline
        self._isolation = isolation
        self._spools = spools
        self._clock = clock
        self._telemetry = telemetry
        self._limits = limits
        self._beat = beat
        self._draining = draining
        self._on_message = on_message
        self._listing = Digested(Listing((), complete=False))
        self._extent = grant.extent
        self._known = grant.state
        self._now = grant.now
        self.holding = Holding(account.id, grant, ledger=ledger, steps=steps)
        self.tally = Tally()
        self.learnt: AccountState = replace(grant.state, fingerprint=None, glance=None, delete_at=None)

    def run(self) -> None:
        """Do the whole visit; raises IngestError where it ends early. The caller drops the connection then."""
        first_seen = self._clock.now()
        if isinstance(self._seen, Sight):
            if glance_mark(self._seen) == self._known.glance:
                self.tally.listed = self._seen.count
                self.learnt = self._known
                self._session.leave()
                return
            self._seen = self._session.listing()
        self._listing = Digested(self._seen)
        self.tally.listed = len(self._listing.messages)
        if self._is_unchanged():
            self.learnt = replace(self._known, listings=self._listings(), **self._glimpse())
            self._session.leave()
            return
        self.holding.load()
        to_delete = deletable(
            self._listing, self.holding.image, keep_s=self._account.keep_s, grace_s=self._limits.delete_grace_s
        )
        intake = Intake(
            self._account,
            self.holding,
            self._listing,
            pipeline=self._pipeline,
            isolation=self._isolation,
            telemetry=self._telemetry,
            clock=self._clock,
            attempts=self._limits.quarantine_attempts,
            tally=self.tally,
            first_seen=first_seen,
            beat=self._beat,
        )
        new = self._seed(new_messages(self._listing, self.holding.image), intake)
        new = self._pass_by_the_known(new)
        self.tally.new = len(new)
        new = self._pass_by_the_large(new, intake)
        if not self._session.broken:
            # What broke the last session must not keep this one, too, from its deletes; every other time at the most.
            self._retrieve(new, intake, sparing=bool(to_delete) and self._known.failures % 2 == 1)
        self.tally.window = self._is_window()
        # What lies behind a window is for the first poll, too: it leaves out what is too old there.
        stopped = self.tally.more or self.tally.drained or self.tally.window
        self.learnt = replace(self.learnt, first_poll_done=self.learnt.first_poll_done or not stopped)
        self._leave(to_delete, intake)
        if self.learnt.first_poll_done and not (stopped or to_delete or intake.unsettled or self._left_uncovered()):
            self._remember()

    def _is_unchanged(self) -> bool:
        """Whether this is the listing of the last poll, the ledger still knows all of it, and no delete is due."""
        if self._known.fingerprint is None or delete_due(self._known, self._now):
            return False
        return self._known.fingerprint == self._fingerprint(self._extent)

    def _is_window(self) -> bool:
        """Whether there may be more behind what was listed: some servers show a few hundred messages at a time."""
        listing = self._listing
        all_new = self.tally.messages == len(listing.messages) >= _WINDOW_MESSAGES
        return self.tally.messages > 0 and (listing.count > len(listing.messages) or all_new)

    def _remember(self) -> None:
        """All that is listed has its record: what tells that nothing changed, and until when that is enough."""
        image, limits = self.holding.image, self._limits
        ripe = ripens_at(self._listing, image, keep_s=self._account.keep_s, grace_s=limits.delete_grace_s)
        self.learnt = replace(
            self.learnt, fingerprint=self._fingerprint(image.extent), delete_at=ripe, **self._glimpse()
        )

    def _glimpse(self) -> dict[str, Any]:
        sight = sight_of(self._listing.listing, least=self._limits.glance_from)
        return {"glance": sight and glance_mark(sight), "listed_at": self._now}

    def _fingerprint(self, extent: str) -> str | None:
        listing = self._listing.fingerprint()
        return listing and listing + settled(self._account, extent, self._limits)

    def _left_uncovered(self) -> bool:
        """Whether something listed has no record that covers it, though nothing failed: a twin's may have gone."""
        return bool(new_messages(self._listing, self.holding.image))

    def _listings(self) -> tuple[int, ...]:
        """The complete listings to remember; an empty one shows nothing."""
        if not self._listing.whole or not self._listing.messages:
            return self.learnt.listings
        now = self.holding.image.now_minutes or int(self._now) // SECONDS_PER_MINUTE
        return listings_seen(self.learnt.listings, now, self._limits.pruning)

    # What need not be retrieved

    def _seed(self, new: list[MessageRef], intake: Intake) -> list[MessageRef]:
        """Remember without retrieving what the first poll leaves out, now or in the past."""
        now = self._clock.now()
        seeding = Seeding(
            self._account,
            self.holding,
            self._session,
            listing=self._listing,
            intake=intake,
            pipeline=self._pipeline,
            beat=self._beat,
            now=now,
            within_s=self._limits.pruning.apart_s,
        )
        if self.learnt.first_poll_done:
            left = seeding.again(new, self.learnt.seeded_at)
        else:
            left = seeding.first(new)
            if self.learnt.seeded_at is None:
                self.learnt = replace(self.learnt, seeded_at=now.timestamp())
        self.tally.more = self.tally.more or seeding.broken_off
        return left

    def _pass_by_the_known(self, new: list[MessageRef]) -> list[MessageRef]:
        """Without the messages that have no UIDL, but a header block and a size that the ledger knows.

        What seems to be a skipped one would end the session, so it comes last where its header block is not its own.
        After a failed session nothing is passed by: it may have been TOP that broke it.
        """
        unnamed = [ref for ref in new if ref.uidl is None]
        image = self.holding.image
        if not unnamed or not len(image) or self._session.broken or self._known.failures % 2:
            return new
        seen: Counter[bytes] = Counter()
        known: set[int] = set()
        last: set[int] = set()
        for ref, head in self._session.headers(unnamed):
            digest = header_digest(head.partition(b"\r\n\r\n")[0], ref.size) if head else None
            if digest is not None:
                seen[digest] += 1
                if seen[digest] <= image.covering(digest):
                    known.add(ref.number)
            if any(each.kind is Kind.SKIPPED for each in image.of_uidl(skipped_digest(head, ref.size))):
                (last if digest is None else known).add(ref.number)
            self._beat()
        if self._session.broken:
            raise ProtocolError("a reply to TOP has no end")
        return sorted((ref for ref in new if ref.number not in known), key=lambda ref: ref.number in last)

    def _pass_by_the_large(self, new: list[MessageRef], intake: Intake) -> list[MessageRef]:
        """Skip what LIST already says is over the cap; return the others."""
        cap = self._limits.max_message_bytes
        large = [ref for ref in new if ref.size > cap]
        if self._session.broken or not large:
            return new
        for ref, head in self._session.headers(large):
            intake.skip(ref, head, f"message of {ref.size} octets, the cap is {cap}")
        self.tally.more = self.tally.more or self._session.broken
        return [ref for ref in new if ref.size <= cap]

    # What is to be retrieved

    def _retrieve(self, new: list[MessageRef], intake: Intake, *, sparing: bool) -> None:
        limits, batch = self._limits, self.learnt.batch
        retrieval = Retrieval(
            self._session,
            self.holding,
            self._listing,
            intake,
            spools=self._spools,
            clock=self._clock,
            tally=self.tally,
            max_messages=min(limits.max_messages, batch or limits.max_messages),
            max_bytes=limits.max_bytes,
            max_s=limits.max_s,
            max_message_bytes=limits.max_message_bytes,
            attempts=limits.quarantine_attempts,
            breaks=self._known.failures if self._known.failures or batch else None,
            sparing=sparing,
            beat=self._beat,
            draining=self._draining,
            on_message=self._on_message,
        )
        try:
            retrieval.run(new)
        finally:
            self.learnt = replace(self.learnt, batch=retrieval.bears or batch)

    # Leaving

    def _leave(self, to_delete: list[MessageRef], intake: Intake) -> None:
        """QUIT if that is safe, with the deletions; else drop the connection, which changes nothing at the server."""
        # Gmail's EXPIRE 0 hides from POP3 and deletes nothing; without a QUIT its window would never move on.
        hides = recognise(self._account.host) is Provider.GMAIL
        quit_deletes = self._session.capabilities.expire_days == 0 and self.tally.messages and not hides
        if intake.must_abort or self._session.broken or quit_deletes:
            self._session.abort()
            self._write_down({})
            return
        if to_delete and not self._session.same(to_delete):
            raise ProtocolError("the server renumbered its messages within the session, so nothing can be deleted")
        if to_delete:
            self.holding.rewrite(deleting(self.holding.image, to_delete))
        if to_delete or self.tally.messages:
            # What QUIT makes final must be where a failover finds it.
            self.holding.settle()
            self._beat()
        deleted, confirmed = self._session.delete_and_quit(to_delete)
        if confirmed and self.learnt.batch and self.tally.messages >= self.learnt.batch:
            self.learnt = replace(self.learnt, batch=self.learnt.batch + 1)
        self.tally.deleted = len(deleted) if confirmed else 0
        self.tally.undeleted += len(to_delete) - self.tally.deleted
        gone = {ref.number for ref in deleted}
        kept = {uidl_of(ref) for ref in to_delete if ref.number not in gone}
        outcome = dict.fromkeys(map(uidl_of, deleted), Kind.DELETED if confirmed else Kind.DELETING)
        # Of several under one UIDL some may be kept and some deleted: which, the next listing and the content tell.
        outcome |= {name: Kind.DELETING if name in outcome else Kind.STORED for name in kept}
        self._write_down(outcome)

    def _write_down(self, outcome: Mapping[bytes, Kind]) -> None:
        """What the listing and the end of the session say of the records."""
        records = after_session(
            self._listing, self.holding.image, outcome, earlier=self.learnt.listings, pruning=self._limits.pruning
        )
        if records is not None:
            self.holding.rewrite(records)
        self.learnt = replace(self.learnt, listings=self._listings())
