"""What a remembered UIDL costs in a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from ingest.adapters.redis_client import Client, Keys, connect
from ingest.adapters.redis_lease import RedisLease
from ingest.adapters.redis_ledger import RedisLedger
from ingest.ledger import uidl_digest
from ingest.models import AccountState, Kind, Record

UIDLS = 20_000
KEYS = Keys("t", 1)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    client = connect(redis_url, 5)
    yield client
    client.close()


def remember(client: Client, *, at_a_time: int) -> int:
    """Octets that the ledger takes once a lease under which so many records were committed is given back."""
    lease = RedisLease(client, KEYS, ttl_s=60, claim_ttl_s=120)
    ledger = RedisLedger(client, KEYS, lease_ttl_s=60, stream_max_bytes=1 << 30, min_replicas=0, settle_s=1)
    grant = lease.acquire("a")
    assert grant is not None
    image = ledger.load("a")
    for start in range(0, UIDLS, at_a_time):
        names = [uidl_digest(b"%d" % n) for n in range(start, start + at_a_time)]
        ledger.commit("a", grant.token, image, [Record(name, name[::-1], Kind.STORED) for name in names], None)
    lease.release("a", grant.token, due_in_s=0, state=AccountState())
    assert ledger.load("a").records() == image.records()
    return int(client.memory_usage(KEYS.of_account("ledger", "a")))


@pytest.mark.parametrize("at_a_time", [10, 2000])
def test_a_uidl_takes_at_most_24_octets_once_its_session_is_over(client: Client, at_a_time: int) -> None:
    assert remember(client, at_a_time=at_a_time) <= 24 * UIDLS


def test_where_memory_is_not_ours_to_ask_the_lease_is_given_back_all_the_same(client: Client, redis_url: str) -> None:
    client.acl_setuser("modest", enabled=True, passwords=["+word"], keys=["*"], commands=["+@all", "-memory"])
    modest = redis.Redis.from_url(redis_url, username="modest", password="word")
    try:
        with pytest.raises(redis.exceptions.NoPermissionError):
            modest.memory_usage("t")
        lease = RedisLease(modest, KEYS, ttl_s=60, claim_ttl_s=120)
        grant = lease.acquire("a")
        assert grant is not None
        assert lease.release("a", grant.token, due_in_s=0, state=AccountState())
        assert lease.acquire("a") is not None
    finally:
        modest.close()
        client.acl_deluser("modest")
