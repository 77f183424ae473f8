"""What frees the event stream in a real Redis: acknowledged entries only, by age and above half the cap."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streams import CAP, EACH, OCTETS, STREAM, Stream, opened

from ingest.adapters.redis_client import Keys
from ingest.adapters.redis_events import RedisEvents
from ingest.errors import StateFull, StateRefused
from ingest.models import AccountState


@pytest.fixture
def stream(redis_url: str) -> Iterator[Stream]:
    with opened(redis_url) as made:
        yield made


def test_what_every_group_acknowledged_goes_down_to_half_the_cap(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    stream.read("g", 10, acknowledge=True)
    assert stream.events.trim() == 5
    assert stream.length() == 5
    assert stream.events.trim() == 0


def test_a_full_stream_takes_events_again_once_they_are_acknowledged(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    with pytest.raises(StateFull):
        stream.fill(1)
    assert stream.events.trim() == 0
    stream.read("g", 10, acknowledge=True)
    stream.events.trim()
    stream.fill(5)
    assert stream.length() == 10


def test_what_one_group_has_not_read_stays_for_it(stream: Stream) -> None:
    stream.group("quick")
    stream.group("slow")
    stream.fill()
    stream.read("quick", 10, acknowledge=True)
    stream.read("slow", 2, acknowledge=True)
    assert stream.events.trim() == 2
    assert stream.length() == 8


def test_what_was_delivered_and_not_acknowledged_stays(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    stream.read("g", 8, acknowledge=False)
    stream.read("g", 2, acknowledge=True)
    assert stream.events.trim() == 2
    assert stream.length() == 8


def test_without_a_group_only_age_trims(stream: Stream) -> None:
    stream.fill()
    assert stream.events.trim() == 0
    aged = RedisEvents(stream.client, Keys("t", 1), timeout_s=5, max_bytes=CAP, retention_s=0)
    stream.client.xadd(STREAM, {"id": "future", "type": "t", "event": b"x" * EACH}, id="9999999999999-0")
    stream.client.incrby(OCTETS, EACH)
    assert aged.trim() == 10
    assert stream.length() == 1


def test_age_trims_what_is_acknowledged_even_below_half_the_cap(stream: Stream) -> None:
    stream.group("g")
    stream.fill(3)
    stream.read("g", 2, acknowledge=True)
    aged = RedisEvents(stream.client, Keys("t", 1), timeout_s=5, max_bytes=CAP, retention_s=-1)
    assert aged.trim() == 2
    assert stream.length() == 1


def test_trimming_and_giving_leases_back_work_in_a_redis_that_is_full(stream: Stream) -> None:
    stream.group("g")
    stream.fill()
    stream.read("g", 10, acknowledge=True)
    grant = stream.lease.acquire("b")
    assert grant is not None
    stream.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StateFull):
            stream.fill(1)
        assert stream.events.trim() == 5
        assert stream.lease.release("b", grant.token, due_in_s=1, state=AccountState())
    finally:
        stream.client.config_set("maxmemory", 0)


def test_trimming_where_there_is_no_stream_does_nothing(stream: Stream) -> None:
    assert stream.events.trim() == 0


def test_a_damaged_state_is_taken_for_a_fresh_one_and_mended_by_the_next_poll(stream: Stream) -> None:
    state = "t:{s0}:state:a"
    stream.client.hset(state, mapping={"failures": "many", "interval_s": "\xff", "last_poll": "nan", "refusals": "2"})
    grant = stream.lease.acquire("a")
    assert grant is not None
    assert grant.state == AccountState(refusals=2)
    assert stream.lease.release("a", grant.token, due_in_s=1, state=grant.state)
    assert stream.client.hget(state, "failures") == b"0"


@pytest.mark.parametrize("kind", ["ledger", "state", "suspects"])
def test_a_key_of_the_wrong_type_fails_before_the_lease_is_taken(stream: Stream, kind: str) -> None:
    stream.client.rpush(f"t:{{s0}}:{kind}:a", "x")
    with pytest.raises(StateRefused, match="WRONGTYPE"):
        stream.lease.acquire("a")
    stream.client.delete(f"t:{{s0}}:{kind}:a")
    assert stream.lease.acquire("a") is not None


@pytest.mark.parametrize("key", [STREAM, OCTETS, "t:{s0}:refusals"])
def test_a_key_of_the_wrong_type_refuses_the_commit_whole(stream: Stream, key: str) -> None:
    stream.client.rpush(key, "x")
    with pytest.raises(StateRefused, match="wrong type"):
        stream.fill(1)
    stream.client.delete(key)
    assert len(stream.ledger.load("a")) == 0
    stream.fill(1)
    assert stream.length() == 1
