"""Whose turn it is to relay a shard, in a real Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from integration.conftest import wait_for

from ingest.adapters.redis_client import Client, Keys, connect
from ingest.adapters.redis_turn import RedisTurn

TTL_S = 0.6
KEY = "t:{s0}:relay:g"


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    client = connect(redis_url, 5)
    yield client
    client.config_set("maxmemory", 0)
    client.close()


def turn(client: Client) -> RedisTurn:
    return RedisTurn(client, Keys("t", 1), group="g", shard=0, ttl_s=TTL_S)


def test_while_its_owner_is_busy_for_longer_than_its_time_nobody_else_gets_it(client: Client) -> None:
    owner, other = turn(client), turn(client)
    assert owner.take()
    until = time.monotonic() + 3 * TTL_S
    while time.monotonic() < until:
        assert not other.take()
        time.sleep(TTL_S / 10)
    assert owner.ours()
    owner.give_back()
    assert not owner.ours()
    assert other.take()
    other.give_back()


def test_it_is_kept_in_a_redis_that_is_full(client: Client) -> None:
    client.config_set("maxmemory", 1)
    owner, other = turn(client), turn(client)
    assert owner.take()
    time.sleep(2 * TTL_S)
    assert owner.ours()
    assert not other.take()
    owner.give_back()


def test_an_owner_who_lost_it_knows_it_and_does_not_take_it_back_unasked(client: Client) -> None:
    owner, other = turn(client), turn(client)
    assert owner.take()
    client.set(KEY, "somebody", px=int(TTL_S * 1000))
    wait_for(lambda: not owner.ours(), 10)
    wait_for(other.take, 10)
    assert not owner.ours()
    assert not owner.take()
    other.give_back()


def test_what_was_given_back_is_extended_no_more(client: Client) -> None:
    owner = turn(client)
    assert owner.take()
    owner.give_back()
    time.sleep(TTL_S)
    assert not client.exists(KEY)
