"""A few steps of one message at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from ingest.errors import LeaseLost, StoreRefused
from ingest.hands import Hands

Move = Callable[[], None]


def nothing() -> None:
    pass


def test_one_hand_works_in_order_and_in_the_caller_s_thread() -> None:
    ran: list[tuple[int, int]] = []
    with Hands(1, nothing) as hands:
        for number in range(3):
            hands.do(lambda _, number=number: ran.append((number, threading.get_ident())))
    assert ran == [(number, threading.get_ident()) for number in range(3)]


def test_several_hands_work_at_once_and_no_more_than_they_are() -> None:
    together = threading.Barrier(3)
    busy: list[int] = []
    most = 0

    def job(_: Move) -> None:
        nonlocal most
        busy.append(1)
        most = max(most, len(busy))
        together.wait(10)
        busy.pop()

    with Hands(3, nothing) as hands:
        for _ in range(6):
            hands.do(job)
    assert most == 3


def test_a_job_s_result_is_there_once_all_are_over() -> None:
    with Hands(2, nothing) as hands:
        results = [hands.do(lambda _, number=number: number * number) for number in range(5)]
    assert [result.result() for result in results] == [0, 1, 4, 9, 16]


def test_the_lease_is_kept_in_the_caller_s_thread_while_something_moves() -> None:
    beats: list[int] = []
    with Hands(2, lambda: beats.append(threading.get_ident())) as hands:
        for _ in range(8):
            hands.do(lambda move: move())
    assert set(beats) == {threading.get_ident()}


def test_nothing_that_moves_is_nothing_to_keep_a_lease_for() -> None:
    with Hands(2, lambda: pytest.fail("nothing moved")) as hands:
        for _ in range(4):
            hands.do(lambda _: None)


def test_the_first_failure_is_raised_and_ends_the_others_at_their_next_move() -> None:
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

    with pytest.raises(StoreRefused, match="no space left"), Hands(2, nothing) as hands:  # noqa: PT012 - who waits
        hands.do(goes_on)
        hands.do(fails)
        while True:
            hands.do(lambda _: None)
    assert ended.is_set()


def test_a_lost_lease_ends_what_is_under_way() -> None:
    ended = threading.Event()

    def lost() -> None:
        raise LeaseLost("another poller took over")

    def goes_on(move: Move) -> None:
        try:
            while True:
                move()
        finally:
            ended.set()

    with pytest.raises(LeaseLost), Hands(2, lost) as hands:
        hands.do(goes_on)
    assert ended.is_set()


def test_a_job_that_had_not_begun_when_another_failed_never_begins() -> None:
    gate = threading.Event()

    def fails(_: Move) -> None:
        gate.wait(10)
        raise StoreRefused("no")

    with pytest.raises(StoreRefused), Hands(2, nothing) as hands:  # noqa: PT012 - the last one must find no hand
        hands.do(fails)
        hands.do(fails)
        gate.set()
        hands.do(lambda _: pytest.fail("it began"))
