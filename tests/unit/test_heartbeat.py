"""When a lease is renewed, and what becomes of a renewal that fails."""

from __future__ import annotations

import pytest
from house import MovableClock

from ingest.errors import IngestError, LeaseLost, StateUnavailable
from ingest.heartbeat import Heartbeat


class Renewing:
    """Fails with these, then renews."""

    def __init__(self, *errors: IngestError) -> None:
        self.errors = list(errors)
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)


def test_it_renews_once_in_a_while() -> None:
    clock, renew = MovableClock(), Renewing()
    beat = Heartbeat(renew, clock, 20)
    for _ in range(12):
        clock.forward(seconds=10)
        beat()
    assert renew.asked == 6


def test_a_lost_lease_is_raised_at_once() -> None:
    clock = MovableClock()
    beat = Heartbeat(Renewing(LeaseLost("another poller took over")), clock, 20)
    clock.forward(seconds=20)
    with pytest.raises(LeaseLost):
        beat()


def test_where_the_state_is_away_the_next_beat_tries_again() -> None:
    clock, renew = MovableClock(), Renewing(StateUnavailable("loading"), StateUnavailable("loading"))
    beat = Heartbeat(renew, clock, 20)
    clock.forward(seconds=20)
    for _ in range(4):
        clock.forward(seconds=1)
        beat()
    assert renew.asked == 3


def test_a_state_that_stays_away_is_raised_while_the_lease_may_still_hold() -> None:
    clock = MovableClock()
    beat = Heartbeat(Renewing(StateUnavailable("down"), StateUnavailable("down")), clock, 20)
    clock.forward(seconds=39)
    beat()
    clock.forward(seconds=2)
    with pytest.raises(StateUnavailable):
        beat()
