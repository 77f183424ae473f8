"""Poison mail on real servers: it kills its worker, is quarantined alone, and is told of once the fault is mended."""

from __future__ import annotations

import json
import os
import poplib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
from integration.conftest import Cluster, wait_for
from integration.test_straight_line import message

from ingest.ledger import decode

POISON = (
    b"From: a@example.com\r\nTo: b@example.com\r\nMessage-ID: <poison@example.com>\r\nSubject: deadly\r\n\r\ntext\r\n"
)
# Stands for a fault in the reader, which every process that is started with it has.
PATCH = """
import os, signal
from ingest import pipeline

reader = pipeline.read_message

def read_message(buffer, limits, deadline):
    if b"Subject: deadly" in bytes(buffer):
        {does}
    return reader(buffer, limits, deadline)

pipeline.read_message = read_message
"""


def faulty(directory: Path, does: str) -> dict[str, str]:
    """The environment of a process with a fault."""
    (directory / "faulty").mkdir()
    (directory / "faulty" / "sitecustomize.py").write_text(PATCH.format(does=does))
    return {"PYTHONPATH": os.pathsep.join([str(directory / "faulty"), *filter(None, sys.path)])}


def kinds(cluster: Cluster, user: str) -> list[str]:
    with redis.Redis.from_url(cluster.environment["MAILSLUICE_REDIS_URL"]) as client:
        return [record.kind.name for record in decode(client.get(f"mailsluice:{{s0}}:ledger:{user}") or b"")]


def listed(cluster: Cluster) -> list[dict[str, Any]]:
    done = cluster.cli("quarantine", "list", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def told(cluster: Cluster, kind: str) -> list[dict[str, Any]]:
    return [event["data"] for event in cluster.events() if event["type"] == f"mailsluice.message.{kind}.v1"]


def poll(cluster: Cluster, user: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    done = cluster.cli("poll", "--json", user, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_message_that_kills_its_worker_is_quarantined_and_told_of_once_that_is_mended(
    cluster: Cluster, dovecot_user: str
) -> None:
    user = dovecot_user
    for n in range(6):
        cluster.dovecot.deliver(user, POISON if n == 2 else message(user, n))
    cluster.apply([user])
    beat = cluster.start("beat")
    worker = cluster.start("worker", "-c", "2", environment=faulty(cluster.directory, "os.kill(os.getpid(), 9)"))
    wait_for(lambda: not worker.running, 60, lambda: "the worker lives")
    assert told(cluster, "quarantined") == []
    worker.kill()  # what is left of it
    worker.start()
    wait_for(lambda: told(cluster, "quarantined") != [], 90, lambda: worker.log()[-2000:])
    assert worker.running
    [refused] = told(cluster, "quarantined")
    assert (refused["reason"], refused["subject"]) == ("message_unprocessable", "deadly")
    assert "ended its process: SIGKILL" in refused["detail"]
    assert worker.log().count('"code": "message_unprocessable"') == 3  # each time alone in a process
    assert cluster.object(refused["raw"]["url"]) == POISON
    cluster.wait_for_messages(5, 30)  # nobody behind it was stopped
    worker.stop()
    beat.stop()

    [entry] = listed(cluster)
    assert (entry["account"], entry["kind"], entry["raw"]) == (user, "quarantined", refused["raw"]["url"])
    assert refused["raw"]["url"] in cluster.cli("quarantine", "show", entry["id"][:10]).stdout
    still = cluster.cli("quarantine", "retry", entry["id"][:10], environment=dict(worker.environment_variables))
    assert still.returncode == 1
    assert still.stderr.startswith(f"{entry['id']}: it still fails: processed alone")
    assert len(still.stderr.splitlines()) == 1
    assert [each["id"] for each in listed(cluster)] == [entry["id"]]

    done = cluster.cli("quarantine", "retry", entry["id"][:10])
    assert (done.returncode, done.stderr) == (0, "")
    data = cluster.messages()[-1]
    assert (data["message_id"], data["uidl"], data["raw"]) == ("<poison@example.com>", refused["uidl"], refused["raw"])
    assert len(cluster.messages()) == 6
    assert listed(cluster) == []
    assert kinds(cluster, user) == ["STORED"] * 6
    assert poll(cluster, user)["events"] == 0


def test_a_message_that_was_deleted_from_its_server_is_retried_from_storage(
    cluster: Cluster, dovecot_user: str
) -> None:
    user = dovecot_user
    cluster.dovecot.deliver(user, POISON)
    cluster.dovecot.deliver(user, message(user, 1))
    cluster.apply([user])
    broken = faulty(cluster.directory, "raise ValueError")
    for _ in range(3):
        poll(cluster, user, broken)
    assert kinds(cluster, user) == ["STORED", "QUARANTINED"]
    session = poplib.POP3("127.0.0.1", cluster.dovecot.port, timeout=10)
    session.user(user)
    session.pass_(cluster.dovecot.users[user])
    session.dele(1)
    session.quit()
    poll(cluster, user)
    assert kinds(cluster, user) == ["STORED", "GONE"]
    done = cluster.cli("quarantine", "retry", "--account", user)
    assert (done.returncode, done.stderr) == (0, "")
    assert [data["subject"] for data in cluster.messages()] == [f"{user} no. 1", "deadly"]
    assert cluster.object(cluster.messages()[-1]["raw"]["url"]) == POISON
    assert listed(cluster) == []


def test_a_skipped_message_is_received_after_the_cap_was_raised(cluster: Cluster, dovecot_user: str) -> None:
    user = dovecot_user
    cluster.dovecot.deliver(user, message(user, 5))  # with an attachment of 32 KB
    cluster.apply([user])
    small = {"MAILSLUICE_MAX_MESSAGE_BYTES": "2000"}
    assert poll(cluster, user, small)["skipped"] == 1
    [entry] = listed(cluster)
    assert (entry["kind"], entry["raw"]) == ("skipped", None)
    still = cluster.cli("quarantine", "retry", "--all", environment=small)
    assert still.returncode == 1
    assert "the cap is still 2000" in still.stderr
    assert [each["id"] for each in listed(cluster)] == [entry["id"]]
    done = cluster.cli("quarantine", "retry", "--all")
    assert (done.returncode, done.stdout) == (0, f"{entry['id']}: the next poll retrieves it\n")
    assert listed(cluster) == []
    assert poll(cluster, user)["events"] == 1
    assert [data["message_id"] for data in cluster.messages()] == [f"<{user}.5@example.com>"]
    assert kinds(cluster, user) == ["STORED"]


def test_a_discarded_message_is_listed_no_more_and_not_fetched_again(cluster: Cluster, dovecot_user: str) -> None:
    user = dovecot_user
    cluster.dovecot.deliver(user, message(user, 5))
    cluster.apply([user])
    poll(cluster, user, {"MAILSLUICE_MAX_MESSAGE_BYTES": "2000"})
    [entry] = listed(cluster)
    assert cluster.cli("quarantine", "discard", entry["id"]).returncode == 0
    assert listed(cluster) == []
    assert poll(cluster, user)["new"] == 0
    assert cluster.dovecot.messages(user) == 1
