"""Keeping a lease: renewed on progress or a bounded wait, never by a clock of its own, so that who stalls loses it."""

from __future__ import annotations

from collections.abc import Callable

from ingest.errors import IngestError, Retry
from ingest.ports import Clock


class Heartbeat:
    """Called on each bit of progress; renews once in a while.

    Where the state is only unavailable, the next beat tries again, for as long again.

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
        since_s = now - self._last
        if since_s < self._every_s:
            return
        try:
            self._renew()
        except IngestError as error:
            if error.retry is not Retry.SOON or since_s >= 2 * self._every_s:
                raise
        else:
            self._last = now
