"""Five shards on a Redis Cluster of three masters, the broker elsewhere: worker, beat and commands as ever."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.conftest import Cluster, wait_for
from integration.test_straight_line import message
from servers.redis_cluster import RedisCluster

ACCOUNTS, EACH = 10, 10


@pytest.fixture
def sharded(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    with RedisCluster(tmp_path / "masters") as masters:
        cluster.environment |= {
            "MAILSLUICE_REDIS_URL": masters.url,
            "MAILSLUICE_BROKER_URL": cluster.redis_server.url(1),
            "MAILSLUICE_SHARDS": "5",
        }
        yield cluster
        cluster.stop()


def test_on_a_redis_cluster_every_message_is_told_of_once_and_the_commands_work(
    sharded: Cluster, fresh_users: Iterator[str]
) -> None:
    users = [next(fresh_users) for _ in range(ACCOUNTS)]
    for user in users:
        for n in range(EACH):
            sharded.dovecot.deliver(user, message(user, n))
    sharded.apply(users)
    sharded.start("beat")
    sharded.start("worker", "-c", "4")
    told = sharded.wait_for_messages(ACCOUNTS * EACH, 60)
    assert Counter(data["account"] for data in told) == dict.fromkeys(users, EACH)
    assert len({data["message_id"] for data in told}) == ACCOUNTS * EACH
    with sharded.state() as client:
        filled = [shard for shard in range(5) if client.xlen(f"mailsluice:{{s{shard}}}:events")]
        masters = {client.get_node_from_key(f"mailsluice:{{s{shard}}}:events").port for shard in filled}
    assert len(filled) > 2
    assert len(masters) > 1

    polls = sharded.log().count('"event": "poll"')
    wait_for(lambda: sharded.log().count('"event": "poll"') > polls + ACCOUNTS, 30)
    assert len(sharded.events()) == ACCOUNTS * EACH

    listed = sharded.cli("accounts", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert {account["id"] for account in json.loads(listed.stdout)} == set(users)
    assert sharded.cli("doctor", "--accounts").returncode == 0
    tail = sharded.cli("events", "tail", "--from-start", "--timeout", "2")
    assert tail.returncode == 0, tail.stderr
    assert {json.loads(line)["id"] for line in tail.stdout.splitlines()} == {event["id"] for event in sharded.events()}
