"""Ends the reading of a message that takes too long, from within: a thread can't be stopped from outside.

Rules of this file:
- Cost is linear in size, so this is the second lock: for machines that are slow, and for what nobody thought of.
- Small messages never ask for the time.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.errors import MessageUnprocessable

_STEPS = (
    8  # a step is an entity or a window of some KiB; on some systems a thread's CPU time takes a microsecond to get
)


class Deadline:
    """How long one message may take; it counts from its first look at the clock, a few steps after the start.

    Args:
        seconds: from then on.
        clock: seconds that never go back. The CPU time of the calling thread (`time.thread_time`) is fair to a message
            whose thread has to wait for others.
    """

    __slots__ = ("_clock", "_left", "_seconds", "_until")

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._clock = seconds, clock
        self._until: float | None = None
        self._left = _STEPS

    def step(self) -> None:
        """To be called again and again; MessageUnprocessable when the time is over."""
        self._left -= 1
        if self._left:
            return
        self._left = _STEPS
        now = self._clock()
        if self._until is None:
            self._until = now + self._seconds
        elif now > self._until:
            raise MessageUnprocessable(f"reading the message took more than {self._seconds:g} s")
