"""Reading one shard by position, as a relay does: on memory and on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract.test_event_group import World, memory_world, redis_world

from ingest.adapters.redis_client import connect


@pytest.fixture(params=["memory", "redis"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield memory_world()
        return
    client = connect(request.getfixturevalue("redis_url"), 5)
    yield redis_world(client, 1)
    client.close()


def test_what_a_predecessor_left_is_claimed_piece_by_piece_in_order(world: World) -> None:
    ids = [f"e{n}" for n in range(10)]
    for id_ in ids:
        world.tell(id_, 0)
    world.consumer("dead").read(10, 0)
    group, found, after = world.consumer(), list[str](), ""
    while piece := group.claim(4, 0, after):
        found += [delivery.entry.event.id for delivery in piece]
        after = piece[-1].entry.position
    assert found == ids


def test_what_was_read_is_looked_up_again_and_what_is_gone_is_acknowledged(world: World) -> None:
    for n in range(5):
        world.tell(f"e{n}", 0)
    group = world.consumer()
    entries = group.read(5, 0)
    positions = [entry.position for entry in entries]
    assert group.again(positions[2:4]) == entries[2:4]
    world.forget(0)
    assert group.again(positions[:2]) == entries[1:2]
    assert [delivery.entry for delivery in group.claim(9, 0)] == entries[1:]
