"""What a group remembers of the events it handled, in a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingest.adapters.redis_client import Client, Keys, connect
from ingest.adapters.redis_group import RedisGroup
from ingest.adapters.redis_handled import RedisHandled
from ingest.ports import Turn

STREAM, MARK, LONG_S = "t:{s0}:events", "t:{s0}:handled:g:e", 60.0


class One:
    """A consumer of the group, and what the group remembers."""

    def __init__(self, client: Client, name: str) -> None:
        keys = Keys("t", 1)
        self.group = RedisGroup(client, keys, group="g", consumer=name, from_start=True, timeout_s=5)
        self.handled = RedisHandled(client, keys, group="g", consumer=name, remember_s=LONG_S)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    made = connect(redis_url, 5)
    yield made
    made.close()


def tell(client: Client, *ids: str) -> None:
    for id_ in ids:
        client.xadd(STREAM, {"id": id_, "type": "t", "event": b"{}"})


def pending(client: Client) -> int:
    return int(client.xpending(STREAM, "g")["pending"])


def test_an_event_that_was_handled_is_remembered_and_acknowledged(client: Client) -> None:
    tell(client, "e", "e")
    one = One(client, "one")
    first, repeat = one.group.read(10, 1)
    assert one.handled.begin(first, LONG_S) is Turn.GO
    one.handled.finish(first)
    assert pending(client) == 1
    assert one.handled.begin(repeat, LONG_S) is Turn.DONE
    assert pending(client) == 0
    assert 0 < client.ttl(MARK) <= LONG_S


def test_what_is_in_hand_elsewhere_is_left_alone_and_not_acknowledged(client: Client) -> None:
    tell(client, "e", "e")
    one, two = One(client, "one"), One(client, "two")
    (first,), (repeat,) = one.group.read(1, 1), two.group.read(1, 1)
    assert one.handled.begin(first, LONG_S) is Turn.GO
    assert two.handled.begin(repeat, LONG_S) is Turn.BUSY
    assert one.handled.begin(first, LONG_S) is Turn.GO
    assert pending(client) == 2


def test_what_its_consumer_died_over_can_be_begun_again_when_it_can_be_claimed(client: Client) -> None:
    tell(client, "e")
    dead, alive = One(client, "dead"), One(client, "alive")
    (entry,) = dead.group.read(1, 1)
    assert dead.handled.begin(entry, 0.05) is Turn.GO
    assert client.pttl(MARK) < 50
    while not (claimed := alive.group.claim(1, 0.05)):
        alive.group.read(1, 0.01)
    assert alive.handled.begin(claimed[0].entry, LONG_S) is Turn.GO


def test_what_was_given_up_can_be_begun_by_others_at_once(client: Client) -> None:
    tell(client, "e", "e")
    one, two = One(client, "one"), One(client, "two")
    (first,), (repeat,) = one.group.read(1, 1), two.group.read(1, 1)
    assert one.handled.begin(first, LONG_S) is Turn.GO
    two.handled.give_up(repeat)  # not its own
    assert two.handled.begin(repeat, LONG_S) is Turn.BUSY
    one.handled.give_up(first)
    assert two.handled.begin(repeat, LONG_S) is Turn.GO


def test_what_another_took_over_is_not_begun(client: Client) -> None:
    tell(client, "e")
    one, two = One(client, "one"), One(client, "two")
    (entry,) = one.group.read(1, 1)
    assert two.group.claim(1, 0)
    assert one.handled.begin(entry, LONG_S) is Turn.LOST
    client.xgroup_destroy(STREAM, "g")
    assert two.handled.begin(entry, LONG_S) is Turn.LOST
    assert not client.exists(MARK)


def test_in_a_redis_that_is_full_handling_goes_on(client: Client) -> None:
    tell(client, "e")
    one = One(client, "one")
    (entry,) = one.group.read(1, 1)
    client.config_set("maxmemory", 1)
    try:
        assert one.handled.begin(entry, LONG_S) is Turn.GO
        one.handled.finish(entry)
    finally:
        client.config_set("maxmemory", 0)
    assert pending(client) == 0
