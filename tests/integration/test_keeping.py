"""What stays on a real server and what goes: `keep`, `first_poll`, and mail that changes under our feet."""

from __future__ import annotations

import json
from typing import Any

import redis
from ageing import let_pass
from integration.conftest import Cluster
from integration.test_straight_line import message

from ingest.models import Record


def poll(cluster: Cluster, user: str, **environment: str) -> dict[str, Any]:
    done = cluster.cli("poll", "--json", user, environment=environment)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def age(cluster: Cluster, user: str, minutes: int) -> list[Record]:
    """Let so many minutes pass for an account; its records."""
    with redis.Redis.from_url(cluster.environment["MAILSLUICE_REDIS_URL"]) as client:
        return let_pass(client, f"mailsluice:{{s0}}:ledger:{user}", f"mailsluice:{{s0}}:state:{user}", minutes)[0]


def test_mail_is_deleted_in_a_later_session_after_the_grace_and_its_record_goes_once_it_is_gone(
    cluster: Cluster, dovecot_user: str
) -> None:
    user = dovecot_user
    for n in range(3):
        cluster.dovecot.deliver(user, message(user, n))
    cluster.apply([user], keep="delete")
    assert poll(cluster, user)["events"] == 3
    assert poll(cluster, user)["deleted"] == 0
    age(cluster, user, 61)
    cluster.dovecot.deliver(user, message(user, 3))
    report = poll(cluster, user)
    assert (report["deleted"], report["events"]) == (3, 1)
    assert cluster.dovecot.messages(user) == 1
    assert len(age(cluster, user, 0)) == 4
    poll(cluster, user)
    assert len(age(cluster, user, 0)) == 1
    assert len(cluster.messages()) == 4


def test_first_poll_new_leaves_old_mail_alone(cluster: Cluster, dovecot_user: str) -> None:
    user = dovecot_user
    for n in range(5):
        cluster.dovecot.deliver(user, message(user, n))
    cluster.apply([user], first_poll="new", keep="delete")
    assert poll(cluster, user)["events"] == 0
    cluster.dovecot.deliver(user, message(user, 5))
    assert poll(cluster, user)["events"] == 1
    age(cluster, user, 100)
    assert poll(cluster, user)["deleted"] == 1
    assert cluster.dovecot.messages(user) == 5


def test_a_maildrop_whose_uidls_were_renumbered_by_a_migration_is_not_told_again(
    cluster: Cluster, dovecot_user: str
) -> None:
    user = dovecot_user
    for n in range(10):
        cluster.dovecot.deliver(user, message(user, n))
    cluster.apply([user])
    assert poll(cluster, user)["events"] == 10
    before = cluster.dovecot.uidls(user)
    cluster.dovecot.renumber(user)
    assert not set(before) & set(cluster.dovecot.uidls(user))
    report = poll(cluster, user)
    assert (report["new"], report["events"]) == (10, 0)
    cluster.dovecot.deliver(user, message(user, 10))
    assert poll(cluster, user)["events"] == 1


def test_starttls_and_plaintext_where_it_is_allowed_work_as_implicit_tls_does(
    cluster: Cluster, dovecot_user: str
) -> None:
    user = dovecot_user
    cluster.dovecot.deliver(user, message(user, 1))
    for tls, expected in (("starttls", 1), ("none", 0)):
        cluster.apply([user], tls=tls, port=cluster.dovecot.port)
        assert poll(cluster, user)["events"] == expected


def test_a_message_over_the_cap_is_skipped_with_its_headers_and_stays(cluster: Cluster, dovecot_user: str) -> None:
    user = dovecot_user
    cluster.dovecot.deliver(user, message(user, 1) + b"x" * 20_000)
    cluster.dovecot.deliver(user, message(user, 2))
    cluster.apply([user], keep="delete")
    report = poll(cluster, user, MAILSLUICE_MAX_MESSAGE_BYTES="10000")
    assert (report["skipped"], report["events"]) == (1, 2)
    [skipped] = [event for event in cluster.events() if event["type"] == "mailsluice.message.skipped.v1"]
    assert skipped["data"]["subject"] == f"{user} no. 1"
    age(cluster, user, 100)
    poll(cluster, user)
    assert cluster.dovecot.messages(user) == 1
