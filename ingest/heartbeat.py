"""Keeping a lease: renewed when there is progress, never by the mere passing of time, so that who stalls loses it."""

from __future__ import annotations

from collections.abc import Callable

from ingest.ports import Clock


class Heartbeat:
    """Called on each bit of progress; renews once in a while.

    Args:
        renew: renews the lease; raises LeaseLost.
        clock: what tells the time since.
        every_s: least time between two renewals, a third of the lease's TTL or so.
    """

    def __init__(self, renew: Callable[[], None], clock: Clock, every_s: float) -> None:
        self._renew = renew
        self._clock = clock
        self._every_s = every_s
        self._last = clock.monotonic()

    def __call__(self) -> None:
        now = self._clock.monotonic()
        if now - self._last >= self._every_s:
            self._renew()
            self._last = now
