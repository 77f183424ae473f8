"""One chain of polls: deliver, arm, poll, look at what is left; again and again. Then disarmed, until all is at rest.

Rules of this room:
- The seed decides about mail, accounts, points and arrivals, as far as the state that a kill left behind allows.
- Points that were killed at least often come first, among those that the account's state lets a poll reach.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.book import Book
from chaos.mail import write
from chaos.planted import Bug
from chaos.points import (
    ALWAYS,
    EACH_ATTACHMENT,
    EACH_MESSAGE,
    LEAVES_A_SUSPECT,
    WITH_A_SUSPECT,
    WITH_DELETIONS,
    WITH_NEW_MAIL,
    Point,
)
from chaos.pollers import Poller
from chaos.rig import Maildrop, Rig

_UNARMED = 0.1
_ALONE = 0.05
_ALONE_BEATS = 4  # about the time that its imports take
_REST_POLLS = 60


@dataclass
class Tally:
    """What a chain did: kills and polls by the point they were armed with, and failed polls by their code."""

    kills: Counter[Point] = field(default_factory=Counter)
    armed: Counter[Point] = field(default_factory=Counter)
    unarmed: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.kills + other.kills,
            self.armed + other.armed,
            self.unarmed + other.unarmed,
            self.failed + other.failed,
        )


class Chain:
    """Works on maildrops that no other chain touches.

    Args:
        rig, book: servers, and what is known of the mail; shared.
        maildrops: its own.
        poller: where its polls run.
        seed: of its decisions.
    """

    def __init__(self, rig: Rig, book: Book, maildrops: Sequence[Maildrop], poller: Poller, seed: int) -> None:
        self.tally = Tally()
        self._rig = rig
        self._book = book
        self._poller = poller
        self._rng = random.Random(seed)
        self._turns = deque(maildrops)
        self._rng.shuffle(self._turns)
        self._begun: set[str] = set()
        self._suspected: set[str] = set()
        self._serial = 0

    def run(self, enough: Callable[[], bool]) -> None:
        """Kill until told that it is enough."""
        while not enough():
            self._turn(self._next())

    def _next(self) -> Maildrop:
        """Whose lease has run out; if nobody's, whoever waits longest."""
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            if self._rig.is_free(self._turns[-1]):
                break
        else:
            self._turns.rotate(-1)
        self._rig.wait_for_lease(self._turns[-1])
        return self._turns[-1]

    def _turn(self, maildrop: Maildrop) -> None:
        for _ in range(self._rng.randint(0, 2) if maildrop.id in self._begun else 2):
            self.deliver(maildrop)
        point, nth = self._aim(maildrop)
        self._begun.add(maildrop.id)
        meanwhile = self._rng.random() < 1 / 4
        report = self.poll(maildrop, point, nth, meanwhile=meanwhile)
        if report is None and point in LEAVES_A_SUSPECT:
            self._suspected.add(maildrop.id)
        else:
            self._suspected.discard(maildrop.id)
        if point is None:
            self.tally.unarmed += 1
        else:
            self.tally.armed[point] += 1
            self.tally.kills[point] += report is None

    def deliver(self, maildrop: Maildrop) -> None:
        """One more message."""
        self._serial += 1
        self._book.deliver(write(maildrop.id, self._serial, self._rng))

    def poll(
        self,
        maildrop: Maildrop,
        point: Point | None = None,
        nth: int = 1,
        *,
        meanwhile: bool = False,
        planted: Bug | None = None,
    ) -> dict[str, Any] | None:
        """One poll and a look at what it left; its report, None if it was killed."""
        self._book.begin(maildrop)
        self._poller.begin(
            maildrop.id,
            maildrop.settings,
            point=point,
            nth=nth,
            alone=point is Point.ALONE or self._rng.random() < _ALONE,
            planted=planted,
        )
        if meanwhile:
            self.deliver(maildrop)
        report = self._poller.end()
        if report and report["outcome"] != "done":
            self.tally.failed[(report["failure"] or {}).get("code", report["outcome"])] += 1
        self._book.look(maildrop)
        return report

    def _aim(self, maildrop: Maildrop) -> tuple[Point | None, int]:
        """Where to kill the next poll."""
        if self._rng.random() < _UNARMED or (maildrop.grace_s is not None and maildrop.id not in self._begun):
            return None, 1  # a first poll that goes through makes something to delete
        waiting = self._book.waiting(maildrop)[: maildrop.at_once]
        attachments = sum(len(letter.attachments) for letter in waiting)
        within_reach = set(ALWAYS)
        within_reach |= WITH_NEW_MAIL if waiting else set()
        within_reach |= EACH_ATTACHMENT if attachments else set()
        within_reach |= WITH_A_SUSPECT if maildrop.id in self._suspected else set()
        within_reach |= WITH_DELETIONS if self._book.ripe(maildrop) else set()
        point = min(sorted(within_reach), key=lambda each: (self.tally.kills[each], self._rng.random()))
        most = len(waiting) if point in EACH_MESSAGE else attachments if point in EACH_ATTACHMENT else 1
        most = _ALONE_BEATS if point is Point.ALONE else most
        return point, self._rng.randint(1, most)

    def come_to_rest(self) -> None:
        """Disarmed: poll each account until nothing is new and what may go is gone; then close the book on it."""
        for maildrop in self._turns:
            self._rig.wait_for_lease(maildrop)
            for _ in range(_REST_POLLS):
                report = self.poll(maildrop)
                if report and self._is_at_rest(maildrop, report):
                    break
            else:
                self._book.restless(maildrop, f"{self._book.left(maildrop)} messages left, last report {report}")
            self._book.close(maildrop)

    def _is_at_rest(self, maildrop: Maildrop, report: dict[str, Any]) -> bool:
        if report["outcome"] != "done" or report["new"] or report["more"]:
            return False
        return maildrop.grace_s is None or not self._book.left(maildrop)
