"""Room in the stream of a real Redis: what waits behind what, many pieces, shards, and counts that came out of step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streams import CAP, EACH, OCTETS, STANDING, STREAM, Stream, opened

from ingest.adapters.redis_client import Keys
from ingest.adapters.redis_ledger import RedisLedger
from ingest.adapters.redis_room import StreamRoom
from ingest.adapters.redis_schedule import RedisSchedule
from ingest.errors import StateFull, StateRefused


@pytest.fixture
def stream(redis_url: str) -> Iterator[Stream]:
    with opened(redis_url) as made:
        yield made


def room(stream: Stream, *, max_bytes: int = CAP, retention_s: float = 3600, shards: int = 1) -> StreamRoom:
    return StreamRoom(stream.client, Keys("t", shards), max_bytes=max_bytes, retention_s=retention_s)


def test_the_oldest_go_first(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    there = stream.positions()
    stream.read("g", 8, acknowledge=True)
    assert stream.events.trim() == 5
    assert stream.positions() == there[5:]


def test_what_is_acknowledged_behind_an_entry_that_waits_goes_too(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    there = stream.positions()
    stream.read("g", 1, acknowledge=False)
    stream.read("g", 2, acknowledge=True)
    stream.read("g", 1, acknowledge=False)
    stream.read("g", 6, acknowledge=True)
    assert stream.events.trim() == 5
    assert stream.positions() == [there[0], there[3], *there[7:]]
    assert stream.length() == 5
    assert stream.client.xack(STREAM, "g", there[0], there[3]) == 2


def test_one_event_that_nobody_acknowledges_stops_nothing(stream: Stream) -> None:
    stream.group("g")
    stream.fill(1)
    stream.read("g", 1, acknowledge=False)
    for _ in range(10):
        stream.fill(4)
        stream.read("g", 4, acknowledge=True)
        stream.events.trim()
        assert stream.events.pressure()[0] <= 0.5
    assert stream.client.xpending(STREAM, "g")["pending"] == 1
    assert stream.client.xrange(STREAM, count=1)[0][0] == stream.client.xpending(STREAM, "g")["min"]


def test_what_waits_for_one_of_two_groups_stays_and_the_rest_goes(stream: Stream) -> None:
    stream.group("one")
    stream.group("two")
    stream.fill()
    there = stream.positions()
    for name, waits in (("one", 1), ("two", 4)):
        stream.read(name, waits, acknowledge=True)
        stream.read(name, 1, acknowledge=False)
        stream.read(name, 10, acknowledge=True)
    assert stream.events.trim() == 5
    assert stream.positions() == [there[1], there[4], *there[7:]]


def test_from_half_the_cap_on_the_pressure_is_what_is_not_acknowledged(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    stream.read("g", 2, acknowledge=True)
    stream.events.trim()
    assert stream.events.pressure() == {0: 0.8}
    stream.read("g", 1, acknowledge=True)
    stream.events.trim()
    assert stream.events.pressure() == {0: 0.7}


def test_one_call_trims_more_than_one_piece(stream: Stream) -> None:
    stream.group("g")
    stream.pour(3500)
    stream.read("g", 3500, acknowledge=True)
    assert stream.events.trim() == 3000
    assert stream.octets() == (5000, 5000)


def test_more_entries_than_a_piece_that_wait_do_not_hide_what_is_behind_them(stream: Stream) -> None:
    stream.group("g")
    stream.pour(2500, octets=1)
    stream.read("g", 2500, acknowledge=False)
    stream.pour(500, octets=10)
    stream.read("g", 500, acknowledge=True)
    assert room(stream, max_bytes=5000).trim() == 500
    assert stream.octets() == (2500, 2500)


def test_large_events_are_trimmed_in_pieces_too(stream: Stream) -> None:
    stream.group("g")
    stream.pour(30, octets=1 << 20)
    stream.read("g", 30, acknowledge=True)
    assert stream.events.trim() == 30
    assert stream.events.pressure() == {0: 0.0}


def test_trimming_that_is_not_through_goes_on_where_it_stopped(stream: Stream) -> None:
    stream.group("g")
    stream.pour(3000, octets=1)
    stream.read("g", 3000, acknowledge=False)
    stream.pour(100, octets=1)
    stream.read("g", 100, acknowledge=True)
    patient = room(stream, max_bytes=1000)
    assert patient.make_room("a") == 0  # two and a half thousand that wait are enough for a commit
    assert patient.make_room("a") == 100


def test_very_many_entries_that_wait_hide_nothing_for_long(stream: Stream) -> None:
    stream.group("g")
    stream.pour(8000, octets=1)
    stream.read("g", 8000, acknowledge=False)
    stream.pour(100, octets=1)
    stream.read("g", 100, acknowledge=True)
    patient = room(stream, max_bytes=1000)
    assert [patient.trim(), patient.trim()] == [0, 100]
    assert stream.octets() == (8000, 8000)


def test_a_group_that_was_removed_holds_nothing_back(stream: Stream) -> None:
    stream.group("dead")
    stream.group("g")
    stream.fill()
    stream.read("g", 10, acknowledge=True)
    assert stream.events.trim() == 0
    assert stream.events.remove_group("dead") == 1
    assert stream.events.trim() == 5
    assert stream.events.remove_group("dead") == 0


def test_groups_say_what_waits_for_them(stream: Stream) -> None:
    stream.group("never")
    stream.group("reads")
    stream.fill()
    stream.read("reads", 4, acknowledge=True)
    stream.read("reads", 1, acknowledge=False)
    never, reads = stream.events.groups()
    assert (never.name, never.pending, never.behind, never.waiting_bytes) == ("never", 0, 10, 10 * EACH)
    assert (reads.name, reads.pending, reads.behind, reads.waiting_bytes) == ("reads", 1, 5, 6 * EACH)
    assert never.idle_s is None
    assert reads.idle_s is not None
    assert never.oldest_s is not None
    assert reads.oldest_s is not None
    assert never.oldest_s >= reads.oldest_s >= 0


def test_a_group_that_has_acknowledged_everything_waits_for_nothing(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    stream.read("g", 10, acknowledge=True)
    stream.events.trim()
    (group,) = stream.events.groups()
    assert (group.pending, group.behind, group.waiting_bytes, group.oldest_s) == (0, 0, 0, None)


def test_where_there_is_no_stream_there_are_no_groups_and_no_pressure(stream: Stream) -> None:
    assert stream.events.groups() == []
    assert stream.events.remove_group("g") == 0
    assert stream.events.pressure() == {0: 0.0}


# A commit that finds the stream full


def committing(stream: Stream) -> Stream:
    maker = room(stream).make_room
    ledger = RedisLedger(
        stream.client, Keys("t", 1), lease_ttl_s=30, stream_max_bytes=CAP, min_replicas=0, settle_s=1, make_room=maker
    )
    return Stream(stream.client, stream.events, ledger, stream.lease)


def test_between_two_ticks_a_commit_makes_room_for_itself(stream: Stream) -> None:
    stream = committing(stream)
    stream.group("g")
    for _ in range(5):
        stream.fill(10)
        stream.read("g", 10, acknowledge=True)
    assert stream.length() <= 10


def test_a_commit_that_can_make_no_room_is_refused(stream: Stream) -> None:
    stream = committing(stream)
    stream.group("g")
    stream.fill(10)
    stream.read("g", 10, acknowledge=False)
    with pytest.raises(StateFull):
        stream.fill(1)
    assert stream.length() == 10


# Redis itself is full


def test_in_a_redis_that_is_full_all_that_frees_still_works(stream: Stream) -> None:
    schedule = RedisSchedule(stream.client, Keys("t", 1), claim_ttl_s=120)
    schedule.add(["b"])
    assert schedule.claim(1) == ["b"]
    stream.group("dead")
    stream.group("g")
    stream.fill()
    stream.read("g", 10, acknowledge=True)
    stream.client.xdel(STREAM, stream.positions()[0])
    stream.client.config_set("maxmemory", 1)
    try:
        assert stream.events.remove_group("dead") == 1
        assert [group.name for group in stream.events.groups()] == ["g"]
        assert stream.events.trim() == 4
        assert stream.events.pressure() == {0: 0.5}
        schedule.unclaim(["b"])
        with pytest.raises(StateFull):  # a claim would lead to polls that can commit nothing
            schedule.claim(1)
    finally:
        stream.client.config_set("maxmemory", 0)
    assert schedule.claim(1) == ["b"]


# Octets that came out of step


def test_entries_that_somebody_deleted_or_trimmed_do_not_count_for_ever(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    stream.client.xdel(STREAM, *stream.positions()[2:4])
    stream.events.trim()
    assert stream.octets() == (8 * EACH, 8 * EACH)
    stream.client.xtrim(STREAM, maxlen=3, approximate=False)
    stream.events.trim()
    assert stream.octets() == (3 * EACH, 3 * EACH)


def test_a_stream_that_somebody_deleted_is_empty(stream: Stream) -> None:
    stream.fill()
    stream.client.delete(STREAM)
    stream.events.trim()
    assert stream.events.pressure() == {0: 0.0}


def test_a_stream_that_came_anew_counts_for_what_it_holds(stream: Stream) -> None:
    stream.fill(4)
    stream.events.trim()
    stream.client.delete(STREAM)
    stream.fill(4)
    stream.events.trim()
    assert stream.octets() == (4 * EACH, 4 * EACH)


@pytest.mark.parametrize("count", [None, b"no number"])
def test_a_count_that_is_lost_is_made_anew(stream: Stream, count: bytes | None) -> None:
    stream.fill(4)
    stream.events.trim()
    if count is None:
        stream.client.delete(OCTETS)
    else:
        stream.client.set(OCTETS, count)
    stream.events.trim()
    assert stream.octets() == (4 * EACH, 4 * EACH)


def test_a_stream_that_only_we_change_is_not_counted_again(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    stream.events.trim()
    stream.read("g", 10, acknowledge=True)
    stream.events.trim()
    stream.fill(2)
    stream.client.incrby(OCTETS, 1)  # would be mended by counting
    stream.events.trim()
    assert stream.octets() == (4 * EACH + 1, 4 * EACH)


def test_a_long_stream_is_counted_whole_and_not_at_every_tick(stream: Stream) -> None:
    stream.pour(2500, octets=2)
    maker = room(stream)
    maker.trim()
    stream.client.xdel(STREAM, stream.positions()[1000])
    maker.trim()
    assert stream.octets() == (5000, 4998)
    room(stream).trim()  # another process, or a minute later
    assert stream.octets() == (4998, 4998)


def test_trimming_does_not_hide_that_somebody_took_entries_out(stream: Stream) -> None:
    stream.group("g")
    stream.pour(2500, octets=2)
    room(stream).trim()
    stream.client.xdel(STREAM, stream.positions()[1000])
    stream.read("g", 300, acknowledge=True)
    assert room(stream, max_bytes=9000).make_room("a") == 250  # trims, and counts nothing first
    assert stream.octets() == (4500, 4498)
    room(stream).trim()
    assert stream.octets() == (4498, 4498)


def test_entries_of_others_without_an_event_are_trimmed_and_count_nothing(stream: Stream) -> None:
    stream.client.xadd(STREAM, {"other": "x"}, id="1-1")
    stream.fill(1)
    assert stream.events.trim() == 1
    assert stream.octets() == (EACH, EACH)


# Shards


def test_each_shard_has_its_own_pressure_and_a_broken_one_stops_no_other(stream: Stream) -> None:
    stream.client.set("t:{s1}:events:bytes", 9000)
    stream.client.xadd("t:{s1}:events", {"id": "x", "type": "t", "event": b"x" * 9000})
    stream.client.rpush("t:{s2}:events:bytes", "wrong type")
    three = room(stream, shards=3)
    three.trim()
    assert three.pressure() == {0: 0.0, 1: 0.9}


def test_if_no_shard_answers_it_is_said(stream: Stream) -> None:
    stream.client.rpush(OCTETS, "wrong type")
    stream.client.xadd(STREAM, {"id": "x", "type": "t", "event": b"x"})
    with pytest.raises(StateRefused, match="WRONGTYPE"):
        stream.events.trim()
    with pytest.raises(StateRefused, match="WRONGTYPE"):
        stream.events.pressure()


def test_a_claim_leaves_out_the_shards_it_is_told_to(stream: Stream) -> None:
    keys = Keys("t", 3)
    schedule = RedisSchedule(stream.client, keys, claim_ttl_s=120)
    ids = [f"a{n}" for n in range(30)]
    schedule.add(ids)
    claimed = schedule.claim(100, but=frozenset({1}))
    assert {keys.shard_of(id_) for id_ in claimed} == {0, 2}
    assert sorted(schedule.claim(100)) == sorted(id_ for id_ in ids if keys.shard_of(id_) == 1)


def test_how_the_stream_stood_lies_beside_it_in_the_shard(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    stream.read("g", 10, acknowledge=True)
    stream.events.trim()
    assert stream.client.get(STANDING) == b"5 " + stream.positions()[0]
