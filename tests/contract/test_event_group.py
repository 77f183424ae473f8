"""Reading the stream as one of a consumer group: one suite, on memory, on a real Redis and on a cluster of three."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from servers.redis_cluster import RedisCluster

from ingest.adapters.memory_events import MemoryEvents
from ingest.adapters.memory_group import MemoryGroup
from ingest.adapters.memory_state import MemoryState
from ingest.adapters.redis_client import Client, Keys, connect
from ingest.adapters.redis_group import RedisGroup
from ingest.errors import StateFull, StateRefused
from ingest.models import OutgoingEvent, StreamEntry
from ingest.ports import EventGroup

LONG_S, AGES_S = 60.0, 3600.0


class OwnClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@dataclass
class World:
    """A stream. `tell` adds an event to a shard, `join` makes a consumer, `leave_alone` ages what is delivered."""

    shards: int
    tell: Callable[[str, int], None]
    join: Callable[[str, bool], EventGroup]
    leave_alone: Callable[[], None]
    forget: Callable[[int], None]  # trims the oldest entry of a shard
    remove: Callable[[], None]  # the group
    buried: Callable[[EventGroup], list[tuple[str, str]]]

    def tell_all(self, count: int) -> set[str]:
        ids = [f"e{n}" for n in range(count)]
        for n, id_ in enumerate(ids):
            self.tell(id_, n % self.shards)
        return set(ids)

    def consumer(self, name: str = "one", *, from_start: bool = True) -> EventGroup:
        return self.join(name, from_start)


def memory_world() -> World:
    clock = OwnClock()
    state = MemoryState(clock)
    events = MemoryEvents(state)

    def tell(id_: str, _shard: int) -> None:
        state.events.append(OutgoingEvent(id_, "t", b"{}"))

    def age() -> None:
        clock.time += timedelta(seconds=AGES_S)

    def forget(_shard: int) -> None:
        position, event = events.entries()[0]
        state.events.remove(event)
        events._gone.add(position)

    return World(
        1,
        tell,
        lambda name, from_start: MemoryGroup(state, events, group="g", consumer=name, from_start=from_start),
        age,
        forget,
        lambda: events.remove_group("g") and None,
        lambda group: [(entry.event.id, reason) for entry, reason in group.dead],
    )


def redis_world(client: Client, shards: int) -> World:
    keys = Keys("t", shards)
    streams = [keys.of_shard("events", shard) for shard in range(shards)]

    def age() -> None:
        for stream in streams:
            for entry in client.xpending_range(stream, "g", "-", "+", 1000):
                at, owner = entry["message_id"], entry["consumer"]
                client.xclaim(stream, "g", owner, 0, [at], idle=int(AGES_S * 1000), justid=True)

    def remove() -> None:
        for stream in streams:
            client.xgroup_destroy(stream, "g")

    def buried(_group: EventGroup) -> list[tuple[str, str]]:
        letters = [letter for s in range(shards) for _, letter in client.xrange(keys.of_shard("dead:g", s))]
        return [(letter[b"id"].decode(), letter[b"reason"].decode()) for letter in letters]

    return World(
        shards,
        lambda id_, shard: client.xadd(streams[shard], {"id": id_, "type": "t", "event": b"{}"}) and None,
        lambda name, from_start: RedisGroup(client, keys, group="g", consumer=name, from_start=from_start, timeout_s=5),
        age,
        lambda shard: client.xdel(streams[shard], client.xrange(streams[shard], count=1)[0][0]) and None,
        remove,
        buried,
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    made = connect(redis_url, 5)
    yield made
    made.close()


@pytest.fixture(params=["memory", "redis", "redis-3-shards", "cluster-of-3-masters"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield memory_world()
    elif request.param == "cluster-of-3-masters":
        servers = request.getfixturevalue("cluster")
        servers.flush()
        client = connect(servers.url, 5)
        yield redis_world(client, 3)
        client.close()
    else:
        yield redis_world(request.getfixturevalue("client"), 3 if "3" in request.param else 1)


def ids(entries: list[StreamEntry]) -> set[str]:
    return {entry.event.id for entry in entries}


def read_all(group: EventGroup) -> list[StreamEntry]:
    found: list[StreamEntry] = []
    while more := group.read(100, 0.05):
        found += more
    return found


def test_each_event_goes_to_one_consumer_of_the_group(world: World) -> None:
    told = world.tell_all(9)
    one, two = world.consumer("one"), world.consumer("two")
    first = one.read(3, 1)
    rest = read_all(two)
    assert len(first) == 3
    assert ids(first) | ids(rest) == told
    assert not ids(first) & ids(rest)
    assert {entry.event.json for entry in rest} == {b"{}"}


def test_where_there_is_nothing_a_read_ends_empty(world: World) -> None:
    assert world.consumer().read(10, 0.05) == []
    assert world.consumer().read(10, 0) == []


def test_a_batch_is_no_larger_than_asked_for(world: World) -> None:
    world.tell_all(12)
    assert 0 < len(world.consumer().read(6, 1)) <= 6


def test_a_new_group_begins_where_it_is_told_to(world: World) -> None:
    world.tell("before", 0)
    late = world.consumer(from_start=False)
    assert late.read(10, 0.05) == []
    world.tell("after", 0)
    assert ids(late.read(10, 1)) == {"after"}


def test_what_is_acknowledged_never_comes_back(world: World) -> None:
    world.tell_all(6)
    one = world.consumer()
    one.acknowledge(read_all(one))
    world.leave_alone()
    assert one.claim(10, LONG_S) == []
    one.acknowledge([])


def test_what_a_dead_consumer_left_can_be_claimed_once_it_was_left_long_enough(world: World) -> None:
    told = world.tell_all(6)
    dead, alive = world.consumer("dead"), world.consumer("alive")
    read_all(dead)
    assert alive.claim(10, LONG_S) == []
    world.leave_alone()
    claimed = alive.claim(10, LONG_S)
    assert {delivery.entry.event.id for delivery in claimed} == told
    assert {delivery.count for delivery in claimed} == {2}
    assert alive.claim(10, LONG_S) == []


def test_a_consumer_gets_back_what_it_left_itself_and_how_often_it_had_it(world: World) -> None:
    world.tell("e", 0)
    one = world.consumer()
    one.read(1, 1)
    counts = []
    for _ in range(3):
        world.leave_alone()
        counts += [delivery.count for delivery in one.claim(10, LONG_S)]
    assert counts == [2, 3, 4]


def test_no_more_is_claimed_than_asked_for_and_the_rest_later(world: World) -> None:
    told = world.tell_all(9)
    one = world.consumer()
    read_all(one)
    world.leave_alone()
    first = one.claim(4, LONG_S)
    assert len(first) == 4
    rest = one.claim(10, LONG_S)
    assert {delivery.entry.event.id for delivery in first + rest} == told


def test_what_was_trimmed_meanwhile_is_passed_over_and_acknowledged(world: World) -> None:
    world.tell("trimmed", 0)
    world.tell("kept", 0)
    one = world.consumer()
    read_all(one)
    world.forget(0)
    world.leave_alone()
    assert [delivery.entry.event.id for delivery in one.claim(10, LONG_S)] == ["kept"]
    world.leave_alone()
    assert [delivery.count for delivery in one.claim(10, LONG_S)] == [3]


def test_what_is_kept_stays_out_of_reach_of_others_and_counts_as_no_delivery(world: World) -> None:
    told = world.tell_all(3)
    one, two = world.consumer("one"), world.consumer("two")
    entries = read_all(one)
    world.leave_alone()
    assert ids(one.keep(entries)) == told
    assert two.claim(10, LONG_S) == []
    world.leave_alone()
    assert {delivery.count for delivery in two.claim(10, LONG_S)} == {2}


def test_what_another_took_over_or_acknowledged_is_not_kept(world: World) -> None:
    world.tell_all(3)
    one, two = world.consumer("one"), world.consumer("two")
    entries = read_all(one)
    world.leave_alone()
    taken = [delivery.entry for delivery in two.claim(2, LONG_S)]
    two.acknowledge(taken[:1])
    assert ids(one.keep(entries)) == ids(entries) - ids(taken)
    assert one.keep([]) == []


def test_what_is_given_back_can_be_claimed_at_once_and_was_not_delivered(world: World) -> None:
    world.tell_all(3)
    one, two = world.consumer("one"), world.consumer("two")
    entries = read_all(one)
    one.release(entries[1:])
    claimed = two.claim(10, LONG_S)
    assert ids([delivery.entry for delivery in claimed]) == ids(entries[1:])
    assert {delivery.count for delivery in claimed} == {1}
    one.release(entries)
    assert two.keep(entries) == [entry for entry in entries if entry.event.id in ids(entries[1:])]
    one.release([])


def test_what_is_buried_lies_among_the_dead_letters_and_is_acknowledged(world: World) -> None:
    world.tell("bad", 0)
    one = world.consumer()
    (entry,) = one.read(1, 1)
    assert one.bury(entry, "ValueError: no")
    assert world.buried(one) == [("bad", "ValueError: no")]
    assert not one.bury(entry, "again")
    assert len(world.buried(one)) == 1
    world.leave_alone()
    assert one.claim(10, LONG_S) == []


def test_what_another_took_over_is_not_buried(world: World) -> None:
    world.tell("bad", 0)
    one, two = world.consumer("one"), world.consumer("two")
    (entry,) = one.read(1, 1)
    world.leave_alone()
    assert two.claim(1, LONG_S)
    assert not one.bury(entry, "late")
    assert world.buried(one) == []


def test_a_group_that_was_removed_is_made_again_and_begins_with_the_oldest(world: World) -> None:
    one = world.consumer(from_start=False)
    assert one.read(10, 0.05) == []
    told = world.tell_all(3)
    entries = read_all(one)
    world.remove()
    assert one.keep(entries) == []
    assert not one.bury(entries[0], "gone")
    one.acknowledge(entries)
    one.release(entries)
    assert one.claim(10, LONG_S) == []
    assert ids(read_all(one)) == told


def test_a_consumer_that_leaves_with_something_in_hand_leaves_it_to_others(world: World) -> None:
    told = world.tell_all(3)
    one, two = world.consumer("one"), world.consumer("two")
    read_all(one)
    one.close()
    world.leave_alone()
    assert {delivery.entry.event.id for delivery in two.claim(10, LONG_S)} == told


# What memory has not


@pytest.mark.parametrize("shards", [1, 3])
def test_an_event_of_any_shard_wakes_a_reader_that_waits(client: Client, shards: int) -> None:
    world = redis_world(client, shards)
    for shard in range(shards):
        found: list[StreamEntry] = []
        group = world.consumer()
        group.read(1, 0.01)
        waiting = threading.Thread(target=lambda: found.extend(group.read(10, 20)))  # noqa: B023 - joined below
        waiting.start()
        world.tell(f"e{shard}", shard)
        waiting.join(15)
        assert ids(found) == {f"e{shard}"}


def test_waiting_asks_redis_about_once_a_second_however_many_shards(client: Client) -> None:
    world = redis_world(client, 3)
    group = world.consumer()
    group.read(1, 0.01)
    asked = int(client.info("commandstats")["cmdstat_xreadgroup"]["calls"])
    group.read(1, 2.2)
    assert int(client.info("commandstats")["cmdstat_xreadgroup"]["calls"]) - asked <= 4


def test_a_redis_that_lost_everything_under_a_waiting_reader_is_read_on(client: Client) -> None:
    world = redis_world(client, 3)
    group = world.consumer()
    group.read(1, 0.01)
    found: list[StreamEntry] = []
    waiting = threading.Thread(target=lambda: found.extend(group.read(10, 20)))
    waiting.start()
    client.flushall()
    world.tell("new", 1)
    waiting.join(15)
    assert ids(found) == {"new"}


def test_a_consumer_that_has_nothing_left_is_forgotten(client: Client) -> None:
    world = redis_world(client, 1)
    world.tell("e", 0)
    one = world.consumer()
    entries = one.read(1, 1)
    one.close()
    assert [consumer["name"] for consumer in client.xinfo_consumers("t:{s0}:events", "g")] == [b"one"]
    one.acknowledge(entries)
    one.close()
    assert client.xinfo_consumers("t:{s0}:events", "g") == []


def test_an_entry_of_somebody_else_has_empty_fields(client: Client) -> None:
    world = redis_world(client, 1)
    client.xadd("t:{s0}:events", {"other": b"\xff"})
    assert [entry.event for entry in world.consumer().read(1, 1)] == [OutgoingEvent("", "", b"")]


def test_in_a_redis_that_is_full_reading_goes_on_and_nothing_is_buried_by_halves(client: Client) -> None:
    world = redis_world(client, 1)
    world.tell_all(3)
    one = world.consumer()
    first = one.read(1, 1)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StateFull):
            one.bury(first[0], "bad")
        assert one.keep(first) == first
        rest = one.read(10, 1)
        world.leave_alone()
        assert len(one.claim(10, LONG_S)) == 3
        one.acknowledge(rest)
    finally:
        client.config_set("maxmemory", 0)
    assert one.bury(first[0], "bad")


def test_dead_letters_that_cannot_be_written_leave_the_event_unacknowledged(client: Client) -> None:
    world = redis_world(client, 1)
    world.tell("bad", 0)
    one = world.consumer()
    (entry,) = one.read(1, 1)
    client.rpush("t:{s0}:dead:g", "wrong type")
    with pytest.raises(StateRefused, match="WRONGTYPE"):
        one.bury(entry, "bad")
    assert one.keep([entry]) == [entry]
