"""A consumer beside others, in memory: what it holds on to, and what it leaves alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from ingest.adapters.clock import SystemClock
from ingest.adapters.memory_events import MemoryEvents
from ingest.adapters.memory_group import MemoryGroup
from ingest.adapters.memory_state import MemoryState
from ingest.consumer.loop import Consumer
from ingest.consumer.reader import Reader
from ingest.errors import StateFull, StateRefused
from ingest.models import StreamEntry
from ingest.ports import Clock, Delivery, EventGroup
from ingest.testing import MadeContents, as_entry, make_event


class House:
    """A stream of three events, and another consumer of the group."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.events = [make_event(subject=str(n)) for n in range(3)]
        self.ids = [event.id for event in self.events]
        self.state = MemoryState(clock or SystemClock(), events=[as_entry(event) for event in self.events])
        self.log = MemoryEvents(self.state)
        self.other = self.member("other")

    def member(self, name: str, kind: type[MemoryGroup] = MemoryGroup) -> MemoryGroup:
        return kind(self.state, self.log, group="g", consumer=name, from_start=True)

    def reader(self, group: EventGroup, *, idle_s: float, stopping: threading.Event) -> Reader:
        return Reader(group, None, stopping, batch=10, idle_s=idle_s, attempts=3, timeout_s=0.01)

    def consumer(self, group: EventGroup, *, idle_s: float = 3600.0) -> Consumer:
        def open_reader(stopping: threading.Event) -> tuple[Reader, Callable[[], None]]:
            return self.reader(group, idle_s=idle_s, stopping=stopping), group.close

        return Consumer(open_reader, MadeContents(), types=None, attempts=3, signals=False)


class OwnClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


def taken(house: House) -> list[str]:
    return [delivery.entry.event.id for delivery in house.other.claim(10, 0)]


def test_of_a_batch_that_others_took_over_only_the_event_in_hand_is_handled() -> None:
    house = House()
    one = house.member("one")
    entries = house.reader(one, idle_s=1e-6, stopping=threading.Event()).entries()
    assert next(entries).event.id == house.ids[0]
    house.other.acknowledge([delivery.entry for delivery in house.other.claim(10, 0)])
    assert list(entries) == []


def test_an_event_that_another_took_over_while_it_failed_is_neither_tried_nor_acknowledged_here() -> None:
    house = House()
    one, tries = house.member("one"), []

    def fail_once(event: object) -> None:
        tries.append(event)
        if len(tries) == 1:
            assert taken(house) == house.ids
            raise ValueError("too slow")

    house.consumer(one).handle(fail_once)
    assert (len(tries), one.acknowledged) == (1, [])


def test_an_event_that_waited_in_its_batch_still_has_idle_s_to_be_handled_in() -> None:
    clock = OwnClock()
    house, stopping = House(clock), threading.Event()
    reader = house.reader(house.member("one"), idle_s=3600, stopping=stopping)
    entries = reader.entries()
    reader.done(next(entries))
    clock.time += timedelta(seconds=1190)
    next(entries)
    clock.time += timedelta(seconds=3590)
    assert list(house.reader(house.other, idle_s=3600, stopping=stopping).entries()) == []


def test_a_reason_that_no_encoding_can_hold_is_buried_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "ingest")  # no process that runs tests could report the traceback
    house = House()
    group = house.member("one")

    def refuse(event: object) -> None:
        raise ValueError("x\udcff")

    house.consumer(group).handle(refuse)
    assert [reason for _, reason in group.dead] == ["ValueError: x?"] * 3


class Full(MemoryGroup):
    """Redis has no room for dead letters."""

    def bury(self, entry: StreamEntry, reason: str) -> bool:
        raise StateFull("Redis is full")


def test_what_can_not_be_buried_stays_and_the_others_go_on() -> None:
    house = House()
    group = house.member("one", Full)

    def refuse(event: object) -> None:
        if getattr(event, "id", "") == house.ids[0]:
            raise ValueError("no")

    house.consumer(group).handle(refuse)
    assert [entry.event.id for entry in group.acknowledged] == house.ids[1:]
    assert taken(house) == house.ids[:1]


class Refusing(MemoryGroup):
    """Redis no longer takes anything back."""

    closed = False

    def release(self, entries: Sequence[StreamEntry]) -> None:
        raise StateRefused("no")

    def close(self) -> None:
        self.closed = True


def test_what_could_not_be_given_back_is_not_followed_by_further_questions() -> None:
    house = House()
    group = house.member("one", Refusing)
    house.reader(group, idle_s=3600, stopping=threading.Event()).close()
    assert not group.closed


class Slow(MemoryGroup):
    """Claiming takes longer than the consumer waits for events."""

    def claim(self, count: int, idle_s: float, after: str = "") -> list[Delivery]:
        time.sleep(0.05)
        return super().claim(count, idle_s, after)


def test_a_redis_that_is_slow_ends_no_consumer_before_it_has_looked() -> None:
    house = House()
    seen: list[str] = []
    house.consumer(house.member("one", Slow)).handle(lambda event: seen.append(event.id))
    assert seen == house.ids
