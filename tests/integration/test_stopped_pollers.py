"""A poller is stopped (SIGSTOP) in the middle of a poll, past its lease, and goes on when another one has taken over.

Rules of this room:
- The server is the simulator, whose figures say what each session did. It lets several sessions in at a time: at most
  servers the stopped session's own lock would keep the second poller out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import PASSWORD, mail
from integration.conftest import Cluster, wait_for
from integration.test_keeping import age
from servers.workers import PollProcess

from ingest.simulator.behaviour import Behaviour
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.server import Simulator

USER, OLD, NEW, LATE = "u", 20, 200, 5
NEVER = {"MAILSLUICE_DELETE_GRACE_S": "9999999"}


@pytest.fixture
def maildrop() -> Maildrop:
    return Maildrop(mail(f"old {n}") for n in range(OLD))


@pytest.fixture
def server(cluster: Cluster, maildrop: Maildrop) -> Iterator[Simulator]:
    """With the account registered, and its old mail told of and due to be deleted."""
    password = cluster.directory / "password"
    password.write_text(PASSWORD)
    with Simulator({USER: (PASSWORD, maildrop)}, behaviour=Behaviour(exclusive=False)) as simulator:
        keys = {"host": "127.0.0.1", "port": simulator.port, "tls": "none", "password": f"file:{password}"}
        cluster.write_accounts({USER: keys}, keep="delete")
        done = cluster.cli("accounts", "apply", "accounts.toml")
        assert done.returncode == 0, done.stderr
        assert poll(cluster)["events"] == OLD
        age(cluster, USER, 120)
        yield simulator


def poll(cluster: Cluster, **environment: str) -> dict[str, Any]:
    """Poll, once nobody else holds the account."""
    with cluster.state() as client:
        wait_for(lambda: not client.exists(f"mailsluice:{{s0}}:lease:{USER}"), 30)
    done = cluster.cli("poll", "--json", USER, environment=environment)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def deliver(maildrop: Maildrop, name: str, count: int) -> None:
    for n in range(count):
        maildrop.deliver(mail(f"{name} {n}"))


def assert_each_is_told_of_once(cluster: Cluster) -> None:
    subjects = [f"{name} {n}" for name, count in (("old", OLD), ("new", NEW), ("late", LATE)) for n in range(count)]
    assert Counter(data["subject"] for data in cluster.messages()) == Counter(subjects)
    assert len({event["id"] for event in cluster.events()}) == len(subjects)


@pytest.mark.parametrize("moment", ["listing", "retrieving", "deleting"])
def test_a_poll_stopped_past_its_lease_is_refused_and_leaves_without_quit(
    cluster: Cluster, server: Simulator, maildrop: Maildrop, tmp_path: Path, moment: str
) -> None:
    deliver(maildrop, "new", NEW)
    server.behaviour = Behaviour(exclusive=False, latency_s=0.3)
    lists = server.log.commands["LIST"]
    reached = {
        "listing": lambda: server.log.commands["LIST"] > lists,
        "retrieving": lambda: len(cluster.messages()) >= OLD + 10,
        "deleting": lambda: server.log.commands.get("DELE", 0) == OLD,
    }
    stale = PollProcess(tmp_path / "stale", USER, cluster.environment, reached[moment])
    with stale:
        stale.pause()
        told = len(cluster.messages())
        assert told == OLD + NEW if moment == "deleting" else told < OLD + NEW
        deliver(maildrop, "late", LATE)
        assert poll(cluster, **NEVER)["events"] == OLD + NEW + LATE - told
        assert_each_is_told_of_once(cluster)

        stale.resume()
        wait_for(lambda: not stale.running, 30)
        assert stale.report()["failure"]["code"] == "lease_lost"
    assert server.wait_idle(5)
    assert server.log.sessions == 3  # the first poll, the stale one, the other one
    assert server.log.commands["QUIT"] == 2
    assert server.log.deleted == {}
    assert_each_is_told_of_once(cluster)
    assert poll(cluster)["deleted"] == OLD
    assert len(maildrop) == NEW + LATE
    assert_each_is_told_of_once(cluster)


def test_a_worker_stopped_past_its_lease_is_refused_and_works_on_afterwards(
    cluster: Cluster, server: Simulator, maildrop: Maildrop
) -> None:
    deliver(maildrop, "new", NEW)
    server.behaviour = Behaviour(exclusive=False, latency_s=0.1)
    stale = cluster.start("worker", "-c", "2", environment=NEVER)
    beat = cluster.start("beat")
    wait_for(lambda: len(cluster.messages()) >= OLD + 10, 30)
    stale.pause()
    told = len(cluster.messages())
    assert told < OLD + NEW
    deliver(maildrop, "late", LATE)
    other = cluster.start("worker", "-c", "2", environment=NEVER)
    cluster.wait_for_messages(OLD + NEW + LATE, 40)
    assert stale.log().count('"event": "poll"') == 0

    stale.resume()
    wait_for(lambda: '"code": "lease_lost"' in stale.log(), 30)
    wait_for(lambda: '"outcome": "done"' in stale.log(), 30)  # it has polled again, in order
    beat.stop()
    for worker in (stale, other):
        worker.stop()
    assert server.wait_idle(5)
    assert server.log.sessions - server.log.commands["QUIT"] == 1  # the one that was stopped
    assert server.log.deleted == {}
    assert_each_is_told_of_once(cluster)
