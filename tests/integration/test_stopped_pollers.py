"""A poller is stopped (SIGSTOP) in the middle of a poll, past its lease, and goes on when another one has taken over.

Rules of this room:
- The server is the simulator, whose figures say what each session did. It lets several sessions in at a time: at most
  servers the stopped session's own lock would keep the second poller out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest
from house import PASSWORD, mail
from integration.conftest import Cluster, wait_for
from integration.test_keeping import age
from servers.workers import PollProcess

from ingest.models import PollReport
from ingest.settings import Settings
from ingest.simulator.behaviour import Behaviour
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.server import Simulator
from ingest.wiring import Services, build

USER, OLD, NEW, LATE = "u", 20, 200, 5
NEVER_S = 9_999_999


@pytest.fixture
def maildrop() -> Maildrop:
    return Maildrop(mail(f"old {n}") for n in range(OLD))


@pytest.fixture
def server(cluster: Cluster, maildrop: Maildrop, other: Services) -> Iterator[Simulator]:
    """With the account registered, and its old mail told of and due to be deleted."""
    password = cluster.directory / "password"
    password.write_text(PASSWORD)
    with Simulator({USER: (PASSWORD, maildrop)}, behaviour=Behaviour(exclusive=False)) as simulator:
        keys = {"host": "127.0.0.1", "port": simulator.port, "tls": "none", "password": f"file:{password}"}
        other.apply_accounts_file(cluster.write_accounts({USER: keys}, keep="delete"))
        assert poll(other).events == OLD
        age(cluster, USER, 120)
        yield simulator


@pytest.fixture
def other(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A second poller, in this process; it never deletes."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    services = build(Settings.load().model_copy(update={"delete_grace_s": NEVER_S}))
    yield services
    services.close()


def poll(services: Services) -> PollReport:
    """Poll, once nobody else holds the account."""
    lease = services.keys.of_account("lease", USER)
    wait_for(lambda: not services.redis.exists(lease), 30)
    return services.poller.poll(services.registry.get([USER])[USER])


def deliver(maildrop: Maildrop, name: str, count: int) -> None:
    for n in range(count):
        maildrop.deliver(mail(f"{name} {n}"))


def assert_each_is_told_of_once(cluster: Cluster) -> None:
    subjects = [f"{name} {n}" for name, count in (("old", OLD), ("new", NEW), ("late", LATE)) for n in range(count)]
    assert Counter(data["subject"] for data in cluster.messages()) == Counter(subjects)
    assert len({event["id"] for event in cluster.events()}) == len(subjects)


@pytest.mark.parametrize("moment", ["listing", "retrieving", "deleting"])
def test_a_poll_stopped_past_its_lease_is_refused_and_deletes_nothing_that_was_not_safe(
    cluster: Cluster, server: Simulator, maildrop: Maildrop, other: Services, moment: str
) -> None:
    deliver(maildrop, "new", NEW)
    server.behaviour = Behaviour(exclusive=False, latency_s=0.3)
    lists = server.log.commands["LIST"]
    reached = {
        "listing": lambda: server.log.commands["LIST"] > lists,
        "retrieving": lambda: len(cluster.messages()) >= OLD + 10,
        "deleting": lambda: server.log.commands.get("DELE", 0) == OLD,
    }
    stale = PollProcess(cluster.directory / "stale", USER, cluster.environment, reached[moment])
    with stale:
        stale.pause()
        told = len(cluster.messages())
        assert told == OLD + NEW if moment == "deleting" else told < OLD + NEW
        deliver(maildrop, "late", LATE)
        assert poll(other).events == OLD + NEW + LATE - told
        assert_each_is_told_of_once(cluster)

        stale.resume()
        wait_for(lambda: not stale.running, 30)
        assert stale.report()["failure"]["code"] == "lease_lost"
    assert server.wait_idle(5)
    assert server.log.sessions == 3  # the first poll, the stale one, the other one
    # What was to be deleted was safe, and the ledger said so, before DELE and QUIT left together.
    deleted = OLD if moment == "deleting" else 0
    assert server.log.commands["QUIT"] == (3 if deleted else 2)
    assert len(server.log.deleted) == deleted
    assert_each_is_told_of_once(cluster)
    age(cluster, USER, 120)
    with closing(build(Settings.load())) as deleting:
        assert poll(deleting).deleted == OLD + NEW + LATE - deleted
    assert len(maildrop) == 0
    assert_each_is_told_of_once(cluster)


def test_a_worker_stopped_past_its_lease_is_refused_and_works_on_afterwards(
    cluster: Cluster, server: Simulator, maildrop: Maildrop
) -> None:
    deliver(maildrop, "new", NEW)
    server.behaviour = Behaviour(exclusive=False, latency_s=0.1)
    never = {"MAILSLUICE_DELETE_GRACE_S": str(NEVER_S)}
    stale = cluster.start("worker", "-c", "2", environment=never)
    beat = cluster.start("beat")
    wait_for(lambda: len(cluster.messages()) >= OLD + 10, 30)
    stale.pause()
    told = len(cluster.messages())
    assert told < OLD + NEW
    deliver(maildrop, "late", LATE)
    fresh = cluster.start("worker", "-c", "2", environment=never)
    cluster.wait_for_messages(OLD + NEW + LATE, 40)
    assert stale.log().count('"event": "poll"') == 0

    stale.resume()
    wait_for(lambda: '"code": "lease_lost"' in stale.log(), 30)
    fresh.stop()  # two workers may take turns so evenly that one has all the ticks and the other all the polls
    wait_for(lambda: '"outcome": "done"' in stale.log(), 30)  # it has polled again, in order
    beat.stop()
    stale.stop()
    assert server.wait_idle(5)
    assert server.log.sessions - server.log.commands["QUIT"] == 1  # the one that was stopped
    assert server.log.deleted == {}
    assert_each_is_told_of_once(cluster)
