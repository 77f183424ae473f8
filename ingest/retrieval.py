"""What is new in a maildrop goes from the session to the intake: in which order, how much, what refusals mean.

Rules of this room:
- What failed before, or was in hand when a worker or a session came to its end, comes behind all others, one by one.
- A temporary refusal is the server's fault, a lasting one of a single message that message's own.
- Where a session breaks off, the next one takes less, so that it comes to its QUIT.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from ingest.errors import ConnectionLost, IngestError, MessageUnprocessable, ProtocolError, ServerTemporary
from ingest.holding import Holding
from ingest.intake import Intake, Tally
from ingest.models import MessageRef
from ingest.news import Digested, uidl_of
from ingest.pop3.session import Refused, Retrieved, Session, TooLarge
from ingest.ports import Clock, SpoolFactory

_PROBE_BYTES = 64 << 10
_GOLDEN = 0.6180339887


class Retrieval:
    """One session's retrieving.

    Args:
        session, holding, listing, intake, spools, clock: what it works with.
        tally: what is counted here.
        max_messages, max_bytes, max_s: what one visit may take.
        max_message_bytes: a larger message is skipped.
        attempts: after how many failures a message goes into quarantine.
        breaks: how many sessions in a row failed; None where the last one did not break off.
        sparing: whether to leave what failed before to the next session.
        beat: keeps the lease; raises LeaseLost.
        draining: whether to stop after the message in hand.
        on_message: told (done, to do, octets) after each message.

    Attributes:
        bears: how many messages a session bears, if this one broke off.
    """

    def __init__(
        self,
        session: Session,
        holding: Holding,
        listing: Digested,
        intake: Intake,
        *,
        spools: SpoolFactory,
        clock: Clock,
        tally: Tally,
        max_messages: int,
        max_bytes: int,
        max_s: float,
        max_message_bytes: int,
        attempts: int,
        breaks: int | None,
        sparing: bool,
        beat: Callable[[], None],
        draining: Callable[[], bool],
        on_message: Callable[[int, int, int], None],
    ) -> None:
        self.bears: int | None = None
        self._session = session
        self._holding = holding
        self._listing = listing
        self._intake = intake
        self._spools = spools
        self._clock = clock
        self._tally = tally
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_s = max_s
        self._max_message_bytes = max_message_bytes
        self._attempts = attempts
        self._breaks = breaks
        self._sparing = sparing
        self._beat = beat
        self._draining = draining
        self._on_message = on_message
        self._started = clock.monotonic()

    def run(self, new: list[MessageRef]) -> None:
        """Retrieve what the budget allows, those that failed before at the end."""
        marks = {ref: mark for ref in new if (mark := self._intake.mark_of(ref, None)) and self._holding.suspects(mark)}
        within = self._within_budget(sorted(self._turned(new), key=lambda ref: ref in marks))
        self._tally.more = self._tally.more or len(within) < len(new)
        suspects = {ref: marks[ref] for ref in within if ref in marks}
        rest = [ref for ref in within if ref not in suspects]
        refused = [(each, 0) for each in self._take(rest)]
        # Another one first each time: one that breaks the session must not hold up the same ones behind it for ever.
        turn = self._clock.now().microsecond % max(1, len(suspects))
        if self._sparing and suspects:
            self._tally.more = True
            suspects = {}
        for ref in (*list(suspects)[turn:], *list(suspects)[:turn]):
            if self._session.broken or self._stop():
                break
            refused += self._take_suspect(ref, suspects[ref])
        self._judge(refused)

    def _turned(self, new: list[MessageRef]) -> list[MessageRef]:
        """After sessions that broke off: those that can't be marked, so that none of them can be put last, turned.

        By the golden section of their count for each failure and each record: soon every one has been early.
        """
        if self._breaks is None:
            return new
        nameless = [ref for ref in new if self._intake.mark_of(ref, None) is None]
        those, count = set(nameless), self._breaks + len(self._holding.image)
        turn = int(count * _GOLDEN * len(nameless)) % max(1, len(nameless))
        return [*(ref for ref in new if ref not in those), *nameless[turn:], *nameless[:turn]]

    def _take_suspect(self, ref: MessageRef, mark: bytes) -> list[tuple[Refused, int]]:
        """Retrieve one that failed before, or that was in hand when a worker or a session came to its end."""
        # Counted before the work: should it end us once more, it stands counted.
        counted = self._holding.count(mark)
        if counted > self._attempts + 1:
            self._intake.failed(ref, None, MessageUnprocessable("each worker that retrieved it died"), counted=counted)
            return []
        try:
            return [(each, counted) for each in self._take([ref], counted)]
        except IngestError:  # not the message's own fault, which raises nothing
            self._holding.uncount(mark)
            raise

    def _take(self, refs: list[MessageRef], counted: int = 0) -> list[Refused]:
        """Retrieve these and hand each to the intake; return those that the server refused."""
        refused: list[Refused] = []
        cap = self._max_message_bytes
        done = 0
        self._in_hand(refs[:1])
        try:
            with closing(self._session.retrieve(refs, self._spools, max_bytes=cap)) as retrieval:
                for got in retrieval:
                    done = refs.index(got.ref, done) + 1  # a temporary refusal comes behind all others
                    following = refs[done] if done < len(refs) else None
                    match got:
                        case Retrieved(ref, spool):
                            with closing(spool):
                                self._intake.take(ref, spool, following=following, counted=counted)
                        case Refused():
                            refused.append(got)
                        case TooLarge(ref, head):
                            self._intake.skip(ref, head, f"more octets came than the cap of {cap}")
                            self._tally.more = True  # the session is spent; the others come in the next one
                    self._on_message(done, len(refs), self._tally.bytes)
                    self._beat()
                    if done < len(refs):
                        if self._stop():
                            break
                        self._in_hand(refs[done : done + 1])
        except (ConnectionLost, ProtocolError):
            if not counted and self._tally.messages:
                self.bears = max(1, self._tally.messages * 3 // 4)
            # At the next one: it is a suspect from here on, so that it comes behind all others, and counts nothing.
            for ref in refs[done : done + 1]:
                self._holding.suspect(self._intake.mark_of(ref, None))
            raise
        return refused

    def _in_hand(self, refs: Sequence[MessageRef]) -> None:
        """Mark what comes next, if it has a mark before it is retrieved."""
        for ref in refs:
            if (mark := self._intake.mark_of(ref, None)) is not None:
                self._holding.take_in_hand(mark)

    def _within_budget(self, new: list[MessageRef]) -> list[MessageRef]:
        """As many as one poll may take, and those besides that have their record but must be looked at once more.

        Those are under a UIDL that is listed more often than it is covered; without UIDLs perhaps all.
        """
        unnamed = any(ref.uidl is None for ref in new)
        image = self._holding.image
        names = {uidl_of(ref) for ref in new if ref.uidl is not None}
        most = self._max_messages + sum(map(image.covering, names)) + (len(image) if unnamed else 0)
        octets = 0
        for count, ref in enumerate(new):
            octets += ref.size
            if count >= most or (count and octets > self._max_bytes and not unnamed):
                return new[:count]
        return new

    def _stop(self) -> bool:
        # Not before anything was committed: without UIDLs what is known is read first, each time anew.
        late = self._holding.committed > 0 and self._clock.monotonic() - self._started > self._max_s
        self._tally.drained = self._draining()
        self._tally.more = self._tally.more or late
        return self._tally.drained or late

    def _judge(self, refused: Sequence[tuple[Refused, int]]) -> None:
        """One message refused is its own fault; all of several is the server's, unless it hands over another one."""
        if len(refused) > 1 and not self._tally.messages and not self._hands_over_another(refused):
            for each, counted in refused:
                if counted:
                    self._holding.uncount(self._intake.mark_of(each.ref, None) or b"")
            raise ServerTemporary(f"{len(refused)} messages refused and none handed over: {refused[0][0].error.what}")
        for each, counted in refused:
            self._intake.failed(each.ref, None, each.error, counted=counted)

    def _hands_over_another(self, refused: Sequence[tuple[Refused, int]]) -> bool:
        """Whether the server hands over a small message that is known. Without QUIT afterwards: it changes nothing."""
        those = {each.ref.number for each, _ in refused}
        probe = next((r for r in self._listing.messages if r.number not in those and r.size <= _PROBE_BYTES), None)
        if probe is None or self._session.broken:
            return False
        self._intake.must_abort = True
        handed = False
        with closing(self._session.retrieve([probe], self._spools, max_bytes=_PROBE_BYTES)) as retrieval:
            for got in retrieval:
                if isinstance(got, Retrieved):
                    got.spool.close()
                    handed = True
        return handed
