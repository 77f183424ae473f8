"""One step and its tries: how long is waited, and when it is given up."""

from __future__ import annotations

import pytest

from ingest.errors import IngestError, LeaseLost, StoreRefused, StoreUnavailable
from ingest.retry import Steps


class Failing:
    """A step that fails with these errors, then works."""

    def __init__(self, *errors: IngestError) -> None:
        self.errors = list(errors)
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def busy(after_s: float | None = None) -> StoreUnavailable:
    return StoreUnavailable("busy", after_s=after_s)


def test_what_is_only_unavailable_is_tried_again_after_short_waits() -> None:
    waits: list[float] = []
    step = Failing(busy(), busy(), busy())
    assert Steps(20, sleep=waits.append)(step) == "done"
    assert step.tries == 4
    assert all(wait <= 3 for wait in waits)


def test_what_the_other_side_asks_for_is_waited_for_at_the_least() -> None:
    waits: list[float] = []
    assert Steps(20, sleep=waits.append)(Failing(busy(7), busy(9), busy())) == "done"
    assert waits[0] == 7
    assert waits[1] >= 9
    assert waits[2] <= 3


@pytest.mark.parametrize("before", [0, 2])
def test_what_asks_for_longer_than_a_step_may_take_is_given_up_at_once(before: int) -> None:
    step = Failing(*[busy()] * before, busy(21))
    with pytest.raises(StoreUnavailable) as caught:
        Steps(20, sleep=lambda _: None)(step)
    assert (caught.value.after_s, step.tries) == (21, before + 1)


def test_a_refusal_is_not_tried_again() -> None:
    step = Failing(StoreRefused("no"))
    with pytest.raises(StoreRefused):
        Steps(20, sleep=lambda _: None)(step)
    assert step.tries == 1


def test_a_wait_beats_every_second_whoever_asked_for_it() -> None:
    waits: list[float] = []
    beats: list[int] = []
    steps = Steps(20, sleep=waits.append).beating(lambda: beats.append(len(waits)))
    assert steps(Failing(busy(7), busy(9.5))) == "done"
    assert max(waits) <= 1
    assert sum(waits) >= 16.5
    assert beats == list(range(1, len(waits) + 1))


def test_a_wait_ends_when_the_beat_says_so() -> None:
    waits: list[float] = []

    def lost() -> None:
        raise LeaseLost("another poller took over")

    with pytest.raises(LeaseLost):
        Steps(20, sleep=waits.append).beating(lost)(Failing(busy(15)))
    assert sum(waits) <= 1
