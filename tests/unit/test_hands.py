"""Steps of one message that others do, and the lease that is kept meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest import hands as room
from ingest.errors import LeaseLost, StoreRefused, StoreUnavailable
from ingest.hands import Crew
from ingest.retry import Steps

Move = Callable[[], None]


def nothing() -> None:
    pass


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_LOOK_S", 0.01)


def test_without_others_all_is_done_in_order_and_in_the_caller_s_thread() -> None:
    ran: list[tuple[int, int]] = []
    with Crew(at_once=3).hands(nothing, steps=3) as hands:
        for number in range(3):
            hands.do(lambda _, number=number: ran.append((number, threading.get_ident())))
    assert ran == [(number, threading.get_ident()) for number in range(3)]


def test_several_hands_work_at_once_and_no_more_than_they_are(pool: ThreadPoolExecutor) -> None:
    together = threading.Barrier(3)
    busy: list[int] = []
    most = 0

    def job(_: Move) -> None:
        nonlocal most
        busy.append(1)
        most = max(most, len(busy))
        together.wait(10)
        busy.pop()

    with Crew(pool, at_once=3).hands(nothing, steps=6) as hands:
        for _ in range(6):
            hands.do(job)
    assert most == 3


def test_a_job_s_result_is_there_once_all_are_over(pool: ThreadPoolExecutor) -> None:
    with Crew(pool, at_once=2).hands(nothing, steps=9) as hands:
        results = [hands.do(lambda _, number=number: number * number) for number in range(5)]
    assert [result.result() for result in results] == [0, 1, 4, 9, 16]


def test_the_lease_is_kept_in_the_caller_s_thread_while_a_single_step_is_waited_for(pool: ThreadPoolExecutor) -> None:
    beats: list[int] = []
    enough = threading.Event()

    def beat() -> None:
        beats.append(threading.get_ident())
        if len(beats) == 5:
            enough.set()

    assert Crew(pool).wait(beat, lambda _: enough.wait(10))
    assert set(beats) == {threading.get_ident()}


def test_a_step_that_stalls_keeps_no_lease(pool: ThreadPoolExecutor) -> None:
    beats = 0
    looked = threading.Event()

    def beat() -> None:
        nonlocal beats
        beats += 1

    def stalls(move: Move) -> None:
        looked.wait(0.5)

    Crew(pool, patience_s=0.0).wait(beat, stalls)
    assert beats == 0


def test_what_moves_is_waited_for_with_patience_anew(pool: ThreadPoolExecutor) -> None:
    enough = threading.Event()

    def moves(move: Move) -> bool:
        while not enough.is_set():
            move()
        return True

    assert Crew(pool, patience_s=0.5).wait(Countdown(60, enough), moves)


class Countdown:
    """A beat that says when it was called so often."""

    def __init__(self, left: int, enough: threading.Event) -> None:
        self._left = left
        self._enough = enough

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._enough.set()


def test_the_lease_is_kept_while_the_others_come_to_their_end_behind_a_failure(pool: ThreadPoolExecutor) -> None:
    enough, failed = threading.Event(), threading.Event()

    def fails(_: Move) -> None:
        failed.set()
        raise StoreRefused("no space left")

    def is_slow(_: Move) -> None:
        failed.wait(10)
        assert enough.wait(10)

    with pytest.raises(StoreRefused), Crew(pool, at_once=2).hands(Countdown(50, enough), steps=2) as hands:  # noqa: PT012 - who waits
        hands.do(is_slow)
        hands.do(fails)
    assert enough.is_set()


def test_a_lost_lease_is_raised_at_once_however_long_a_step_takes(pool: ThreadPoolExecutor) -> None:
    began, released, waited_in_vain = threading.Event(), threading.Event(), threading.Event()

    def lost() -> None:
        if began.is_set():
            raise LeaseLost("another poller took over")

    def takes_long(_: Move) -> None:
        began.set()
        if not released.wait(10):
            waited_in_vain.set()

    with pytest.raises(LeaseLost):
        Crew(pool).wait(lost, takes_long)
    assert not waited_in_vain.is_set()
    released.set()


def test_a_step_that_waits_to_try_again_ends_when_another_one_failed(pool: ThreadPoolExecutor) -> None:
    waiting = threading.Event()
    waits: list[float] = []

    def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        waiting.set()
        threading.Event().wait(0.01)

    def busy() -> None:
        raise StoreUnavailable("busy", after_s=1000)

    def fails(_: Move) -> None:
        waiting.wait(10)
        raise StoreRefused("no space left")

    steps = Steps(2000, sleep=sleep)
    with pytest.raises(StoreRefused), Crew(pool, at_once=2).hands(nothing, steps=2) as hands:  # noqa: PT012 - who waits
        hands.do(lambda move: steps.beating(move)(busy))
        hands.do(fails)
    assert sum(waits) < 1000


def test_the_first_failure_is_raised_and_ends_the_others_at_their_next_move(
    pool: ThreadPoolExecutor,
) -> None:
    failed, ended = threading.Event(), threading.Event()

    def fails(_: Move) -> None:
        failed.set()
        raise StoreRefused("no space left")

    def goes_on(move: Move) -> None:
        failed.wait(10)
        try:
            while True:
                move()
        finally:
            ended.set()

    with pytest.raises(StoreRefused, match="no space left"), Crew(pool, at_once=2).hands(nothing, steps=9) as hands:  # noqa: PT012 - who waits
        hands.do(goes_on)
        hands.do(fails)
        while True:
            hands.do(lambda _: None)
    assert ended.is_set()


def test_a_lost_lease_ends_what_is_under_way(pool: ThreadPoolExecutor) -> None:
    began, ended = threading.Event(), threading.Event()

    def lost() -> None:
        if began.is_set():
            raise LeaseLost("another poller took over")

    def goes_on(move: Move) -> None:
        began.set()
        try:
            while True:
                move()
        finally:
            ended.set()

    with pytest.raises(LeaseLost), Crew(pool, at_once=2).hands(lost, steps=2) as hands:
        hands.do(goes_on)
    assert ended.wait(10)


def test_a_job_that_had_not_begun_when_another_failed_never_begins(pool: ThreadPoolExecutor) -> None:
    gate = threading.Event()

    def fails(_: Move) -> None:
        gate.wait(10)
        raise StoreRefused("no")

    with pytest.raises(StoreRefused), Crew(pool, at_once=2).hands(nothing, steps=9) as hands:  # noqa: PT012 - the last one must find no hand
        hands.do(fails)
        hands.do(fails)
        gate.set()
        hands.do(lambda _: pytest.fail("it began"))
