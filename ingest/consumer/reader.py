"""The way of an entry through a consumer: read or claimed, begun, handled, acknowledged.

Rules of this file:
- Nothing is acknowledged before it was handled. What was read and not begun is given back at the end.
- What others left is claimed one at a time: if handling it ends this process, only its own deliveries grow.
- Redis may go away at any moment: each step is tried again until it is back, or until this consumer is to stop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from ingest.consumer.patience import Patience, Stopped
from ingest.errors import IngestError, StateFull
from ingest.models import StreamEntry
from ingest.ports import EventGroup, HandledEvents, Turn

_LOG = logging.getLogger("ingest.consumer")
_WAIT_S = 1.0  # in Redis, before it is looked whether to stop
_CLAIM_EVERY_S = 5.0
_SETTLE_EVERY_S = 1.0
_GRACE_S = 5.0  # for what was handled, at the end
_REASON_CHARS = 1000
_LONGEST_WAIT_S = 20.0


class Reader:
    """One consumer at work.

    Args:
        group, handled: where it reads; what it remembers, if anything.
        stopping: set when it is to end.
        batch: entries read at once.
        idle_s: for which handling an entry may take before others take it over.
        attempts: deliveries to one that began it, after which an entry goes to the dead letters.
        timeout_s: ends after so long without an entry; None: never.
    """

    def __init__(
        self,
        group: EventGroup,
        handled: HandledEvents | None,
        stopping: threading.Event,
        *,
        batch: int,
        idle_s: float,
        attempts: int,
        timeout_s: float | None,
    ) -> None:
        self._group = group
        self._handled = handled
        self._stopping = stopping
        self._ask = Patience(stopping)
        self._batch = batch
        self._idle_s = idle_s
        self._left_s = idle_s * 4 / 3  # an entry may have waited for a third, since it was last kept, when it begins
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._rest: deque[StreamEntry] = deque()
        self._kept_at = self._settled_at = time.monotonic()
        self._done: list[StreamEntry] = []
        self._in_hand: StreamEntry | None = None

    def entries(self) -> Iterator[StreamEntry]:
        """Each is this consumer's to handle when it comes, and `done` or `bury` ends it."""
        for entry, deliveries in self._deliveries():
            if not self._begin(entry):
                continue
            self._in_hand = entry
            if deliveries > self._attempts + 1:  # the first may have been in a batch that died of another
                self.bury(entry, f"delivered {deliveries} times: its consumers died of it, or left it")
            else:
                yield entry

    def done(self, entry: StreamEntry) -> None:
        """It was handled."""
        self._in_hand = None
        handled = self._handled
        if handled is not None:
            self._ask(lambda: handled.finish(entry), _GRACE_S)
            return
        self._done.append(entry)
        if not self._rest or time.monotonic() - self._settled_at > _SETTLE_EVERY_S:
            self._settle()

    def bury(self, entry: StreamEntry, reason: str, failure: Exception | None = None) -> None:
        """Handling it failed for good. In a Redis that is full it stays, to be claimed and buried later."""
        self._forget()
        reason = reason[:_REASON_CHARS].encode("utf-8", "replace").decode()  # lone surrogates can't be sent
        _LOG.error("event %s goes to the dead letters: %s", entry.event.id, reason, exc_info=failure)
        with suppress(StateFull):
            self._ask(lambda: self._group.bury(entry, reason), _GRACE_S)

    def give_back(self, entry: StreamEntry) -> None:
        """It is no fault of its own that it was not handled: at the end, others get it at once."""
        self._forget()
        self._rest.append(entry)

    def keep(self, entry: StreamEntry) -> bool:
        """Hold on to what is in hand, and what waits behind it; whether it is still ours."""
        self._settle()
        kept = self._ask(lambda: self._group.keep([entry, *self._rest]))
        self._kept_at = time.monotonic()
        ours = entry in kept and (entry != self._in_hand or self._begin(entry))
        self._rest = deque(other for other in kept if other != entry)
        return ours

    @property
    def longest_wait_s(self) -> float:
        """Between two tries of what is in hand: nobody claims it meanwhile."""
        return min(_LONGEST_WAIT_S, self._idle_s / 3)

    def close(self) -> None:
        """Acknowledge what was handled, give back what was not begun. What is in hand waits to be claimed."""
        try:
            self._settle()
            self._forget()
            self._ask(lambda: self._group.release(list(self._rest)), _GRACE_S)
        except (Stopped, IngestError) as error:  # each further step would wait for the same Redis
            _LOG.warning("what was handled last may come again: %s", error)
        else:
            self._group.close()

    def _deliveries(self) -> Iterator[tuple[StreamEntry, int]]:
        claim_at, quiet_since, looked = 0.0, time.monotonic(), False
        while not self._stopping.is_set():
            if time.monotonic() >= claim_at:
                claimed = self._ask(lambda: self._group.claim(1, self._left_s))
                if claimed:
                    yield claimed[0].entry, claimed[0].count
                    quiet_since, looked = time.monotonic(), False
                    continue
                claim_at = time.monotonic() + _CLAIM_EVERY_S
            quiet_s = time.monotonic() - quiet_since
            left_s = _WAIT_S if self._timeout_s is None else min(_WAIT_S, self._timeout_s - quiet_s)
            if left_s <= 0 and looked:  # a Redis that is slow is not without events
                return
            wait_s = max(0.0, left_s)
            self._rest.extend(self._ask(lambda: self._group.read(self._batch, wait_s)))  # noqa: B023 - asked here
            self._kept_at = time.monotonic()
            if self._rest:
                yield from self._new()
                quiet_since, looked = time.monotonic(), False
            else:
                looked = True
                claim_at = 0.0

    def _new(self) -> Iterator[tuple[StreamEntry, int]]:
        while self._rest and not self._stopping.is_set():
            entry = self._rest.popleft()
            if time.monotonic() - self._kept_at < self._idle_s / 3 or self.keep(entry):
                yield entry, 1
        self._settle()

    def _begin(self, entry: StreamEntry) -> bool:
        handled = self._handled
        return handled is None or self._ask(lambda: handled.begin(entry, self._idle_s)) is Turn.GO

    def _settle(self) -> None:
        if self._done:
            self._ask(lambda: self._group.acknowledge(self._done), _GRACE_S)
            self._done = []
        self._settled_at = time.monotonic()

    def _forget(self) -> None:
        """What is in hand is so no more, and was not handled."""
        entry, handled, self._in_hand = self._in_hand, self._handled, None
        if entry is not None and handled is not None:
            self._ask(lambda: handled.give_up(entry), _GRACE_S)
