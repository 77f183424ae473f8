"""Trimming against a model, on a real Redis: random groups, reads, acknowledgements, trims and hands from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.redis import RedisServer

from ingest.adapters.redis_client import Client, Keys, connect
from ingest.adapters.redis_room import StreamRoom

STREAM, OCTETS = "m:{s0}:events", "m:{s0}:events:bytes"
CAP = 1000
GROUPS = st.sampled_from(["one", "two", "three"])
STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 12), st.integers(1, 60)),
    st.tuples(st.just("group"), GROUPS, st.booleans()),
    st.tuples(st.just("read"), GROUPS, st.integers(1, 15)),
    st.tuples(st.just("acknowledge"), GROUPS, st.integers(0, 5)),
    st.tuples(st.just("acknowledge"), GROUPS, st.integers(0, 5)),
    st.tuples(st.just("remove"), GROUPS, st.none()),
    st.tuples(st.just("delete"), st.integers(0, 30), st.none()),
    st.tuples(st.just("trim"), st.none(), st.none()),
    st.tuples(st.just("trim"), st.none(), st.none()),
)


@dataclass
class Group:
    """What it was given last, and what of that it has yet to acknowledge."""

    last: int
    pending: set[int] = field(default_factory=set)


@dataclass
class Model:
    """Entries by number, oldest first, with their octets; the first ones are past the retention."""

    client: Client
    room: StreamRoom
    aged: int = 0
    came: int = 0
    entries: dict[int, int] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)

    def id(self, n: int) -> str:
        return f"1-{n}" if n <= self.aged else f"9999999999999-{n}"

    def waits(self, n: int) -> bool:
        """Whether some group has yet to acknowledge it."""
        return any(n > group.last or n in group.pending for group in self.groups.values())

    def add(self, count: int, octets: int) -> None:
        for _ in range(count):
            self.came += 1
            self.client.xadd(STREAM, {"id": "i", "type": "t", "event": b"x" * octets}, id=self.id(self.came))
            self.client.incrby(OCTETS, octets)
            self.entries[self.came] = octets

    def group(self, name: str, from_start: bool) -> None:  # drawn by position, as the others
        if name not in self.groups:
            self.client.xgroup_create(STREAM, name, id="0" if from_start else "$", mkstream=True)
            self.groups[name] = Group(0 if from_start else self.came)

    def read(self, name: str, count: int) -> None:
        if (group := self.groups.get(name)) is None:
            return
        reply = self.client.xreadgroup(name, "c", {STREAM: ">"}, count=count)
        given_now = [n for n in self.entries if n > group.last][:count]
        assert [position for _, entries in reply or [] for position, _ in entries] == [
            self.id(n).encode() for n in given_now
        ]
        group.pending.update(given_now)
        group.last = max([group.last, *given_now])

    def acknowledge(self, name: str, keep: int) -> None:
        """All but each so many'th."""
        if (group := self.groups.get(name)) is None:
            return
        done = [n for at, n in enumerate(sorted(group.pending)) if not keep or at % (keep + 1)]
        if done:
            self.client.xack(STREAM, name, *map(self.id, done))
            group.pending.difference_update(done)

    def remove(self, name: str, _: None) -> None:
        assert self.room.remove_group(name) == (self.groups.pop(name, None) is not None)

    def delete(self, at: int, _: None) -> None:
        """Somebody takes one out by hand."""
        if at < len(self.entries):
            n = list(self.entries)[at]
            self.client.xdel(STREAM, self.id(n))
            del self.entries[n]

    def trim(self, _: None, __: None) -> None:
        before = dict(self.entries)
        octets = sum(before.values())
        for n in before:
            ripe = n <= self.aged or (self.groups and octets > CAP // 2)
            if not self.waits(n) and ripe:
                octets -= self.entries.pop(n)
        assert self.room.trim() == len(before) - len(self.entries)
        assert self.there() == list(self.entries.items())
        assert int(self.client.get(OCTETS) or 0) == octets
        assert self.room.pressure() == {0: octets / CAP}

    def there(self) -> list[tuple[int, int]]:
        return [
            (int(position.partition(b"-")[2]), len(fields[b"event"])) for position, fields in self.client.xrange(STREAM)
        ]


@pytest.fixture(scope="module")
def client(redis_server: RedisServer) -> Iterator[Client]:
    made = connect(redis_server.url(), 5)
    yield made
    made.close()


@pytest.fixture(scope="module")
def room(client: Client) -> StreamRoom:
    return StreamRoom(client, Keys("m", 1), max_bytes=CAP, retention_s=3600)


@given(aged=st.integers(0, 20), steps=st.lists(STEPS, min_size=10, max_size=60))
@settings(max_examples=150)
def test_just_what_is_acknowledged_and_ripe_goes_and_the_octets_are_those_of_what_is_left(
    client: Client, room: StreamRoom, aged: int, steps: list[tuple[str, object, object]]
) -> None:
    client.flushall()
    model = Model(client, room, aged)
    for name, first, second in steps:
        step: Callable[[object, object], None] = getattr(model, name)
        step(first, second)
    model.trim(None, None)
