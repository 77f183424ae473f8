"""What is remembered without being retrieved: the first poll, and the same mail once more under other UIDLs.

Rules of this room:
- Seeded records have no content to compare. What was missing from a listing and is back is seeded again if it was
  received before the seeding. When most of them go missing at once, so is whatever is new, and an event of the account
  says so. A message without a date is retrieved rather than passed by.
- What can't be known for sure is retrieved: a repeat is better than a loss.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

from ingest.errors import AccountMisconfigured, ListingFailed
from ingest.events.build import account_event
from ingest.events.models import EventType
from ingest.holding import Holding
from ingest.intake import Intake
from ingest.ledger import NO_IDENTITY
from ingest.models import Account, Kind, MessageRef, Record
from ingest.news import Digested, missed, seeding_lost, uidl_of
from ingest.pipeline import Pipeline
from ingest.pop3.session import Session

_TOP_BATCH = 500
RENUMBERED = "renumbered"


class Seeding:
    """Seeds the ledger of one visit.

    Args:
        account, holding, session, listing, intake, pipeline: what it works with.
        beat: keeps the lease.
        now: when the visit began.
        within_s: how long after seeded messages went missing their like is looked for.
    """

    def __init__(
        self,
        account: Account,
        holding: Holding,
        session: Session,
        *,
        listing: Digested,
        intake: Intake,
        pipeline: Pipeline,
        beat: Callable[[], None],
        now: datetime,
        within_s: float,
    ) -> None:
        self._account = account
        self._holding = holding
        self._session = session
        self._listing = listing
        self._intake = intake
        self._pipeline = pipeline
        self._beat = beat
        self._now = now
        self._within_s = within_s
        self.broken_off = False  # something was left unasked

    def first(self, new: list[MessageRef]) -> list[MessageRef]:
        """Remember what `first_poll` leaves out; return what is left to retrieve."""
        since = _since(self._account)
        if self._account.first_poll == "all" or (since is None and self._holding.image.exists):
            return new  # an image means: seeded by an earlier poll that did not come to its end
        if any(ref.uidl is None for ref in new):
            raise AccountMisconfigured(
                f'first_poll = "{self._account.first_poll}" needs UIDLs, and this server lists messages without',
                todo='set it to "all"',
            )
        if since is not None:
            return self._before(since, new)[0]
        if not self._listing.complete:
            raise ListingFailed("the first listing is incomplete, so it can't be seeded")
        # In one step: half a seeding would take the other half for new mail. Also of nothing: a ledger says "seeded".
        self._holding.commit([_seeded(ref) for ref in new])
        return []

    def again(self, new: list[MessageRef], seeded_at: float | None) -> list[MessageRef]:
        """Seed what was seeded before: what was missing and is back, or all under other UIDLs; return what is left."""
        if not self._listing.whole or seeded_at is None:
            return new
        since = _since(self._account) or datetime.fromtimestamp(seeded_at, UTC)
        missing = {ref.number for ref in new if missed(self._holding.image, ref)}
        back = [ref for ref in new if ref.number in missing]
        others = [ref for ref in new if ref.number not in missing]
        left = self._before(since, back)[0] if back else []
        if others and seeding_lost(self._listing, self._holding.image, within_s=self._within_s):
            others, old = self._before(since, others)
            if old:
                self._say(old, since)
        keep = {ref.number for ref in (*left, *others)}
        return [ref for ref in new if ref.number in keep]

    def _say(self, count: int, since: datetime) -> None:
        """A notice, in a step that changes no record."""
        detail = (
            f"most of the messages that the first poll passed by are listed no more: {count} others from before "
            f"{since:%Y-%m-%d %H:%M} UTC were taken for them, and passed by, too"
        )
        event = account_event(EventType.FAILING, self._account, reason=RENUMBERED, detail=detail, time=self._now)
        self._holding.commit([], event)

    def _before(self, since: datetime, new: list[MessageRef]) -> tuple[list[MessageRef], int]:
        """Seed what was received before, by the newest Received header; what was not, and how many were.

        What a record knows by content (after a replay) is not seeded: its content decides.
        """
        image = self._holding.image
        left = [ref for ref in new if any(each.kind is not Kind.MISSED for each in image.of_uidl(uidl_of(ref)))]
        known = set(left)
        new = [ref for ref in new if ref not in known]
        seeded = 0
        for at in range(0, len(new), _TOP_BATCH):
            old: list[MessageRef] = []
            for ref, head in self._session.headers(new[at : at + _TOP_BATCH]):
                received = self._pipeline.received_time(head) if head else None
                if received is not None and received < since:
                    old.append(ref)
                elif self._session.broken:  # TOP itself is over its limit: nothing more can be asked in this session
                    self._intake.skip(ref, head, f"headers of more than {len(head or b'')} octets")
                else:
                    left.append(ref)
                self._beat()
            if old:
                self._holding.commit([_seeded(ref) for ref in old])
                seeded += len(old)
            if self._session.broken:
                self.broken_off = True
                break
        return sorted(left, key=lambda ref: ref.number), seeded


def _since(account: Account) -> datetime | None:
    """The date of `first_poll`, if it is one."""
    if account.first_poll in {"all", "new"}:
        return None
    return datetime.combine(date.fromisoformat(account.first_poll), datetime.min.time(), UTC)


def _seeded(ref: MessageRef) -> Record:
    return Record(uidl_of(ref), NO_IDENTITY, Kind.SEEDED)
