"""The straight line on real servers: beat, worker, Dovecot, SeaweedFS, Redis."""

from __future__ import annotations

import email
import email.policy
import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
import redis
from integration.conftest import Cluster, wait_for

from ingest.settings import Settings
from workers.dispatcher import CeleryDispatcher

ACCOUNTS, EACH = 20, 25


def message(account: str, n: int) -> bytes:
    """One message with a body of its own; every fifth with an attachment, every tenth with two."""
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["From"], mail["To"] = f"sender{n}@example.com", f"{account}@example.com"
    mail["Subject"] = f"{account} no. {n}"
    mail["Message-ID"] = f"<{account}.{n}@example.com>"
    mail.set_content(f"Message {n} for {account}\n.a leading dot\n")
    for k in range((n % 5 == 0) + (n % 10 == 0)):
        payload = hashlib.sha256(f"{account}{n}{k}".encode()).digest() * (1000 + n)
        mail.add_attachment(payload, maintype="application", subtype="octet-stream", filename=f"data {k}.bin")
    return mail.as_bytes()


@pytest.fixture
def users(cluster: Cluster, fresh_users: Iterator[str]) -> list[str]:
    return [next(fresh_users) for _ in range(ACCOUNTS)]


def test_five_hundred_messages_of_twenty_accounts_become_five_hundred_events(
    cluster: Cluster, users: list[str]
) -> None:
    originals = {}
    for user in users:
        for n in range(EACH):
            raw = message(user, n)
            originals[f"<{user}.{n}@example.com>"] = raw
            cluster.dovecot.deliver(user, raw)
    cluster.apply(users)
    cluster.start("beat")
    cluster.start("beat")  # two are harmless
    cluster.start("worker", "-c", "8")
    told = cluster.wait_for_messages(ACCOUNTS * EACH, 60)

    assert Counter(data["account"] for data in told) == dict.fromkeys(users, EACH)
    assert {data["message_id"] for data in told} == set(originals)
    for data in told:
        raw = cluster.object(data["raw"]["url"])
        original = originals[data["message_id"]]
        assert raw == original
        assert hashlib.sha256(raw).hexdigest() == data["sha256"]
        parts = list(email.message_from_bytes(original, policy=email.policy.default).iter_attachments())
        assert [a["filename"] for a in data["attachments"]] == [part.get_filename() for part in parts]
        for attachment, part in zip(data["attachments"], parts, strict=True):
            content = cluster.object(attachment["url"])
            assert content == part.get_content()
            assert hashlib.sha256(content).hexdigest() == attachment["sha256"]

    # Nothing again at the next polls, and what arrives now is told of within one interval (and a tick).
    length, sessions = len(cluster.events()), cluster.log().count('"event": "poll"')
    wait_for(lambda: cluster.log().count('"event": "poll"') > sessions + 2 * ACCOUNTS, 30)
    assert len(cluster.events()) == length == ACCOUNTS * EACH
    cluster.dovecot.deliver(users[0], message(users[0], 999))
    cluster.wait_for_messages(length + 1, 5)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_workers_that_race_for_one_account_tell_of_each_message_once(
    cluster: Cluster, users: list[str], count: int
) -> None:
    user = users[0]
    for n in range(60):
        cluster.dovecot.deliver(user, message(user, n))
    cluster.apply([user])
    workers = cluster.start_all("worker", count, "-c", "2")
    for _ in range(40):
        queue_polls(cluster, [user])
    cluster.wait_for_messages(60, 40)
    wait_for(lambda: sum(w.log().count('"event": "poll"') for w in workers) >= 40, 40)
    for worker in workers:
        worker.kill()  # an orderly end of eight takes long, and is not what is tested
    told = cluster.messages()
    assert len(told) == 60
    assert len({data["uidl"] for data in told}) == 60


def queue_polls(cluster: Cluster, users: list[str]) -> None:
    """Claim and queue once more, whoever polls just now, as if beats had gone mad."""
    with redis.Redis.from_url(cluster.environment["MAILSLUICE_REDIS_URL"]) as client:
        client.zadd("mailsluice:{s0}:due", dict.fromkeys(users, time.time() * 1000 // 1 + 60_000.5))
    settings = Settings(redis_url=cluster.environment["MAILSLUICE_REDIS_URL"])
    dispatcher = CeleryDispatcher(settings)
    dispatcher.submit(users, expires_s=60)
    dispatcher.close()


def test_a_wiped_broker_costs_lag_and_no_mail(cluster: Cluster, users: list[str]) -> None:
    for user in users:
        for n in range(10):
            cluster.dovecot.deliver(user, message(user, n))
    cluster.apply(users)
    cluster.start("beat")
    cluster.start("worker", "-c", "2")
    cluster.wait_for_messages(20, 30)
    with redis.Redis.from_url(cluster.redis_server.url(1)) as broker:
        for _ in range(5):
            broker.flushdb()
            time.sleep(0.2)
    told = cluster.wait_for_messages(10 * ACCOUNTS, 60)
    assert len(told) == len({data["message_id"] for data in told}) == 10 * ACCOUNTS


def test_after_kill_nine_in_the_middle_nothing_is_lost_and_nothing_twice(cluster: Cluster, users: list[str]) -> None:
    users = users[:4]
    for user in users:
        for n in range(100):
            cluster.dovecot.deliver(user, message(user, n))
    cluster.apply(users)
    cluster.start("beat")
    worker = cluster.start("worker", "-c", "4")
    for part in (1, 2, 3):
        cluster.wait_for_messages(part * 90, 60)
        worker.kill()
        told = len(cluster.messages())
        assert told < 400
        worker.start()
    told = cluster.wait_for_messages(400, 60)
    polls = cluster.log().count('"event": "poll"')
    wait_for(lambda: cluster.log().count('"event": "poll"') > polls + 8, 30)
    told = cluster.messages()
    assert len(told) == 400
    assert len({data["message_id"] for data in told}) == 400
    assert Counter(data["account"] for data in told) == dict.fromkeys(users, 100)


def test_sigterm_finishes_the_message_in_hand_and_gives_the_lease_back(cluster: Cluster, users: list[str]) -> None:
    user = users[0]
    for n in range(300):
        cluster.dovecot.deliver(user, message(user, n))
    cluster.apply([user])
    cluster.start("beat")
    worker = cluster.start("worker", "-c", "1")
    cluster.wait_for_messages(20, 30)
    worker.stop(timeout_s=30)
    told = len(cluster.messages())
    assert told < 300
    assert '"outcome": "drained"' in worker.log()
    with redis.Redis.from_url(cluster.environment["MAILSLUICE_REDIS_URL"]) as client:
        assert client.exists(f"mailsluice:{{s0}}:lease:{user}") == 0
    worker.start()
    cluster.wait_for_messages(300, 60)
    assert len({data["message_id"] for data in cluster.messages()}) == len(cluster.messages()) == 300
