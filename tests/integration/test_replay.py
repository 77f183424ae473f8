"""Redis lost whole, on real servers: stream and ledger are built again from object storage and the POP3 server."""

from __future__ import annotations

import json
import poplib
import ssl
from typing import Any

import pytest
import redis
from integration.conftest import Cluster
from integration.test_keeping import age, poll
from integration.test_straight_line import message

from ingest.ledger import uidl_digest
from ingest.models import Kind


def replay(cluster: Cluster, *arguments: str) -> list[dict[str, Any]]:
    done = cluster.cli("replay", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def lose_redis(cluster: Cluster) -> list[dict[str, Any]]:
    """Everything in it is gone, as with a new one; what its stream held."""
    events = cluster.events()
    with redis.Redis.from_url(cluster.environment["MAILSLUICE_REDIS_URL"]) as client:
        client.flushall()
    return events


def delete_by_another_client(cluster: Cluster, user: str, count: int) -> None:
    """The first messages of a maildrop go, and nobody tells us."""
    context = ssl.create_default_context(cafile=str(cluster.dovecot.ca_file))
    session = poplib.POP3_SSL("localhost", cluster.dovecot.tls_port, timeout=10, context=context)
    session.user(user)
    session.pass_(cluster.dovecot.users[user])
    for number in range(1, count + 1):
        session.dele(number)
    session.quit()


def ids(events: list[dict[str, Any]]) -> list[str]:
    return sorted(event["id"] for event in events)


def kinds(cluster: Cluster, user: str) -> dict[bytes, Kind]:
    """What the ledger says, by UIDL digest."""
    return {record.uidl: record.kind for record in age(cluster, user, 0)}


@pytest.fixture
def lost(cluster: Cluster, dovecot_user: str) -> list[dict[str, Any]]:
    """Ten messages polled, four of them deleted by another client, Redis lost, one more arrived; the events of then."""
    for n in range(10):
        cluster.dovecot.deliver(dovecot_user, message(dovecot_user, n))
    cluster.apply([dovecot_user], keep="delete")
    assert poll(cluster, dovecot_user)["events"] == 10
    delete_by_another_client(cluster, dovecot_user, 4)
    assert cluster.dovecot.messages(dovecot_user) == 6
    events = lose_redis(cluster)
    cluster.dovecot.deliver(dovecot_user, message(dovecot_user, 10))
    return events


def test_replay_and_then_polls_rebuild_stream_and_ledger_and_tell_of_nothing_twice(
    cluster: Cluster, dovecot_user: str, lost: list[dict[str, Any]]
) -> None:
    user = dovecot_user
    cluster.apply([user], keep="delete")
    [report] = replay(cluster)
    assert (report["account"], report["replayed"], report["refused"]) == (user, 10, 0)
    assert ids(cluster.events()) == ids(lost)
    for event in cluster.events():
        assert event["data"]["replay"] is True

    report = poll(cluster, user)
    assert (report["events"], report["deleted"]) == (1, 0)
    [new] = [event for event in cluster.events() if event["id"] not in ids(lost)]
    assert (new["data"]["subject"], new["data"]["replay"]) == (f"{user} no. 10", False)
    assert ids(cluster.events()) == sorted([*ids(lost), new["id"]])
    assert poll(cluster, user)["new"] == 0

    # The ledger covers the maildrop, its records are of today, and only the grace lets anything go.
    recorded = kinds(cluster, user)
    assert all(recorded[uidl_digest(uidl)] is Kind.STORED for uidl in cluster.dovecot.uidls(user))
    assert poll(cluster, user)["deleted"] == 0
    assert cluster.dovecot.messages(user) == 7
    age(cluster, user, 61)
    assert poll(cluster, user)["deleted"] == 7
    assert ids(cluster.events()) == sorted([*ids(lost), new["id"]])


def test_polls_and_then_replay_repeat_only_under_the_same_ids(
    cluster: Cluster, dovecot_user: str, lost: list[dict[str, Any]]
) -> None:
    user = dovecot_user
    cluster.apply([user], keep="delete")
    assert poll(cluster, user)["events"] == 7
    [report] = replay(cluster, "--account", user)
    assert (report["replayed"], report["recorded"]) == (11, 7)
    told = cluster.events()
    assert set(ids(told)) > set(ids(lost))
    assert len(set(ids(told))) == 11
    assert len([event for event in told if event["data"]["replay"]]) == 11
    recorded = kinds(cluster, user)
    assert sorted(recorded.values()) == [Kind.STORED] * 7 + [Kind.GONE] * 4
    report = poll(cluster, user)
    assert (report["new"], report["events"], report["deleted"]) == (0, 0, 0)


def test_a_replay_of_a_time_restores_lost_attachments_and_leaves_out_the_rest(
    cluster: Cluster, dovecot_user: str
) -> None:
    user = dovecot_user
    cluster.dovecot.deliver(user, message(user, 10))
    cluster.apply([user])
    assert poll(cluster, user)["attachments"] == 2
    [event] = lose_redis(cluster)
    [first, second] = event["data"]["attachments"]
    bucket, _, key = first["url"].removeprefix("s3://").partition("/")
    cluster.seaweed.client().delete_object(Bucket=bucket, Key=key)
    assert replay(cluster, "--until", "2020-01-01")[0]["replayed"] == 0
    assert cluster.events() == []
    assert replay(cluster, "--since", event["data"]["first_seen"])[0]["replayed"] == 1
    [again] = cluster.events()
    assert again["data"]["attachments"] == [first, second]
    assert len(cluster.object(first["url"])) == first["size"]


def test_a_damaged_object_is_named_and_stops_no_other(cluster: Cluster, dovecot_user: str) -> None:
    user = dovecot_user
    for n in range(3):
        cluster.dovecot.deliver(user, message(user, n))
    cluster.apply([user])
    assert poll(cluster, user)["events"] == 3
    event = lose_redis(cluster)[1]
    bucket, _, key = event["data"]["raw"]["url"].removeprefix("s3://").partition("/")
    cluster.seaweed.client().put_object(Bucket=bucket, Key=key, Body=b"no metadata")
    done = cluster.cli("replay")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert event["data"]["sha256"] in line
    assert "metadata is missing" in line
    assert "2 replayed, 0 quarantined, 0 already had a record, 1 failed" in done.stdout.splitlines()[0]
    assert event["id"] not in ids(cluster.events())
    assert len(cluster.events()) == 2
