"""Back-pressure on real servers: consumers that keep up, one that stands still, and polls that find the stream full."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from house import PASSWORD, House, house, mail
from integration.conftest import Cluster, wait_for

from ingest.adapters.redis_client import Client, Keys, connect
from ingest.adapters.redis_events import RedisEvents
from ingest.adapters.redis_lease import RedisLease
from ingest.adapters.redis_ledger import RedisLedger
from ingest.adapters.redis_room import StreamRoom
from ingest.adapters.redis_schedule import RedisSchedule
from ingest.models import Outcome

CAP = 200_000
BODY = "A line of sixty-two octets, so that a message takes some room.\r\n" * 80


@dataclass
class Reader:
    """A consumer that reads its group and acknowledges, when asked to."""

    client: Client
    stream: str
    told: Counter[str] = field(default_factory=Counter)
    octets: int = 0

    def __post_init__(self) -> None:
        self.client.xgroup_create(self.stream, "reader", id="0", mkstream=True)

    def catch_up(self, *_: object) -> None:
        while reply := self.client.xreadgroup("reader", "c", {self.stream: ">"}, count=100):
            for position, fields in reply[0][1]:
                event = json.loads(fields[b"event"])
                if "subject" in event["data"]:
                    self.told[event["data"]["subject"]] += 1
                self.octets += len(fields[b"event"])
                self.client.xack(self.stream, "reader", position)


@dataclass
class Street:
    """A house whose state is in a real Redis, with a small cap, and a reader of its events."""

    house: House
    events: RedisEvents
    reader: Reader


@pytest.fixture
def street(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    client, keys = connect(redis_url, 5), Keys("t", 1)
    room = StreamRoom(client, keys, max_bytes=CAP, retention_s=3600)
    with house() as h:
        h.lease = RedisLease(client, keys, ttl_s=60, claim_ttl_s=120)
        h.ledger = RedisLedger(
            client,
            keys,
            lease_ttl_s=60,
            stream_max_bytes=CAP,
            min_replicas=0,
            settle_s=1,
            make_room=room.make_room,
        )
        h.schedule = RedisSchedule(client, keys, claim_ttl_s=120)
        h.schedule.add(["a"])
        events = RedisEvents(client, keys, timeout_s=5, max_bytes=CAP, retention_s=3600)
        yield Street(h, events, Reader(client, "t:{s0}:events"))
    client.close()


def test_a_consumer_that_keeps_up_never_stops_a_poll_however_much_mail_there_is(street: Street) -> None:
    for n in range(600):
        street.house.maildrop.deliver(mail(f"no. {n}", BODY))
    # No tick trims here: commits make room for themselves.
    report = street.house.poller().poll(street.house.account, street.reader.catch_up)
    street.reader.catch_up()
    assert (report.outcome, report.failure, report.events) == (Outcome.DONE, None, 600)
    assert street.reader.told == Counter(f"no. {n}" for n in range(600))
    assert street.reader.octets > 15 * CAP
    street.events.trim()
    assert street.events.pressure()[0] <= 0.5


def test_a_poll_that_finds_the_stream_full_ends_without_quit_and_all_of_it_comes_once_there_is_room(
    street: Street,
) -> None:
    for n in range(100):
        street.house.maildrop.deliver(mail(f"no. {n}", BODY))
    full = street.house.poll()
    assert full.failure is not None
    assert full.failure.code == "state_full"
    assert 0 < full.events < 100
    assert street.house.server.wait_idle(5)
    assert street.house.server.log.commands.get("QUIT", 0) == 0
    street.events.trim()
    assert street.events.pressure()[0] > 0.8  # nothing that waits was trimmed

    polls = [street.house.poll()]
    assert polls[0].events == 0  # nor does another poll get anything in
    while polls[-1].failure is not None:
        assert len(polls) < 20
        street.reader.catch_up()
        polls.append(street.house.poll())
    street.reader.catch_up()
    assert street.reader.told == Counter(f"no. {n}" for n in range(100))
    assert street.house.server.wait_idle(5)
    assert street.house.server.log.commands["QUIT"] == 1


def test_a_consumer_that_stands_still_stops_dispatch_and_when_it_goes_on_everything_arrives_once(
    cluster: Cluster, fresh_users: Iterator[str], tmp_path: Path
) -> None:
    users = [next(fresh_users) for _ in range(2)]
    for user in users:
        for n in range(25):
            cluster.dovecot.deliver(user, mail(f"{user} {n}", BODY))
    cluster.environment |= {"MAILSLUICE_STREAM_MAX_BYTES": str(CAP), "MAILSLUICE_EVENT_MAX_BYTES": "16384"}
    client = redis.Redis.from_url(cluster.environment["MAILSLUICE_REDIS_URL"])
    reader = Reader(client, "mailsluice:{s0}:events")
    cluster.apply(users)
    cluster.start("beat")
    cluster.start("worker", "-c", "2")

    wait_for(lambda: "dispatch stopped" in cluster.log(), 60, cluster.log)
    stopped = cluster.cli("doctor")
    assert stopped.returncode == 1
    assert "stream: dispatch has stopped" in stopped.stderr
    taken = int(client.get("mailsluice:{s0}:events:bytes") or 0)
    assert taken >= 0.8 * CAP
    assert len(cluster.messages()) < 50

    def all_there() -> bool:
        reader.catch_up()
        return reader.told.total() >= 50

    wait_for(all_there, 60, lambda: f"{reader.told.total()} of 50\n{cluster.log()[-3000:]}")
    assert reader.told == Counter(f"{user} {n}" for user in users for n in range(25))
    wait_for(lambda: cluster.cli("doctor").returncode == 0, 30, lambda: cluster.cli("doctor").stderr)
    client.close()
