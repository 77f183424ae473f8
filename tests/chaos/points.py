"""Where a poll may be killed, and the fuse that kills it.

Rules of this room:
- A point is a call of a port or something said on the wire, never a line of the product: the product knows none of it.
- Its n-th arrival kills: SIGKILL, sent by the process to itself, so nothing of it runs any more.
"""

from __future__ import annotations

import enum
import os
import signal


class Point(enum.StrEnum):
    """In the order of a session."""

    LEASE_TAKEN = "after the lease was taken"
    CONNECTED = "after connect"
    LOGGED_IN = "after login"
    IN_HAND = "after a message was taken in hand"
    COUNTED = "after a suspect was counted"
    ALONE = "while a suspect runs alone"
    RETRIEVED = "after RETR, nothing stored"
    PUTTING_ATTACHMENT = "during an attachment's put"
    PUT_ATTACHMENT = "after an attachment's put"
    PUTTING_RAW = "during the raw put"
    PUT_RAW = "after the raw put, before the commit"
    COMMIT_SENT = "commit sent, perhaps not executed"
    COMMIT_UNREAD = "commit executed, reply unread"
    COMMITTED = "after commit"
    SETTLING = "before the settle"
    DELETING = "before DELE"
    MARKED = "between DELE and QUIT"
    QUIT_SENT = "after QUIT, reply unread"
    QUIT_ANSWERED = "after QUIT's reply"
    REWRITING = "before a ledger rewrite"
    REWRITTEN = "after a ledger rewrite"
    RELEASING = "before the lease's release"
    RELEASED = "after the lease's release"


ALWAYS = frozenset({Point.LEASE_TAKEN, Point.CONNECTED, Point.LOGGED_IN, Point.RELEASING, Point.RELEASED})
EACH_MESSAGE = frozenset(
    {
        Point.RETRIEVED,
        Point.PUTTING_RAW,
        Point.PUT_RAW,
        Point.COMMIT_SENT,
        Point.COMMIT_UNREAD,
        Point.COMMITTED,
    }
)
EACH_ATTACHMENT = frozenset({Point.PUTTING_ATTACHMENT, Point.PUT_ATTACHMENT})
WITH_NEW_MAIL = EACH_MESSAGE | {Point.IN_HAND, Point.SETTLING}
WITH_A_SUSPECT = frozenset({Point.COUNTED, Point.ALONE})
# Whoever is killed here leaves a message in hand: a suspect for the next poll.
LEAVES_A_SUSPECT = WITH_A_SUSPECT | EACH_ATTACHMENT | {Point.IN_HAND, Point.RETRIEVED, Point.PUTTING_RAW, Point.PUT_RAW}
WITH_DELETIONS = frozenset(
    {
        Point.SETTLING,
        Point.DELETING,
        Point.MARKED,
        Point.QUIT_SENT,
        Point.QUIT_ANSWERED,
        Point.REWRITING,
        Point.REWRITTEN,
    }
)


class Fuse:
    """Burns down at the n-th arrival at its point. Without a point it never does."""

    def __init__(self, point: Point | None, nth: int = 1) -> None:
        self.point = point
        self._left = nth

    def arrive(self, point: Point) -> None:
        """Die here, if this is the time."""
        if self.strikes(point):
            self.blow()

    def strikes(self, point: Point) -> bool:
        """Whether to die at this arrival: for points that lie within a step."""
        if point is not self.point:
            return False
        self._left -= 1
        return self._left == 0

    def blow(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
