"""A tick and a batch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from house import MovableClock, Silent

from ingest.adapters.memory_events import MemoryEvents
from ingest.adapters.memory_state import MemoryAccounts, MemoryLease, MemorySchedule, MemoryState
from ingest.dispatch import BatchRunner, Ticker, TickLimits
from ingest.errors import BrokerUnavailable, StateRefused, StateUnavailable
from ingest.models import Account, AccountState, Failure, Outcome, OutgoingEvent, PollReport


class Queue:
    """Keeps what was submitted."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.down = False

    def submit(self, account_ids: Sequence[str], *, expires_s: float) -> None:
        if self.down:
            raise BrokerUnavailable("down")
        self.batches.append(list(account_ids))

    def ping(self) -> None: ...

    def close(self) -> None: ...


class Polls:
    """Takes the lease and gives it back; each poll takes ten seconds of the clock."""

    def __init__(self, state: MemoryState, clock: MovableClock) -> None:
        self.lease = MemoryLease(state, ttl_s=60, claim_ttl_s=120)
        self.clock = clock
        self.polled: list[str] = []

    def poll(self, account: Account, on_message: object = None, *, claimed: bool = False) -> PollReport:
        grant = self.lease.acquire(account.id, claimed=claimed)
        if grant is None:
            return PollReport(account.id, Outcome.BUSY)
        self.polled.append(account.id)
        self.clock.forward(seconds=10)
        self.lease.release(account.id, grant.token, due_in_s=600, state=AccountState())
        return PollReport(account.id, Outcome.DONE)


class Cluster:
    """Ticker and batch runner over memory."""

    def __init__(self, accounts: int, **limits: int) -> None:
        self.clock, self.queue, self.telemetry, self.draining = MovableClock(), Queue(), Silent(), False
        self.state = MemoryState(self.clock)
        self.schedule, self.registry = MemorySchedule(self.state, claim_ttl_s=120), MemoryAccounts(self.state)
        self.ids = [f"a{n:03}" for n in range(accounts)]
        self.registry.put(Account(id_, "h", 995, "u", "env:P") for id_ in self.ids)
        self.schedule.add(self.ids)
        self.polls = Polls(self.state, self.clock)
        self.events = MemoryEvents(self.state)
        self.ticker = Ticker(
            schedule=self.schedule,
            events=self.events,
            dispatcher=self.queue,
            telemetry=self.telemetry,
            limits=TickLimits(**limits),
        )

    def run(self, ids: Sequence[str], budget_s: float = 1000) -> list[PollReport]:
        runner = BatchRunner(
            registry=self.registry,
            schedule=self.schedule,
            poller=self.polls,  # type: ignore[arg-type]
            clock=self.clock,
            telemetry=self.telemetry,
            budget_s=budget_s,
            draining=lambda: self.draining,
        )
        return runner.run(ids)


@pytest.mark.parametrize(
    ("due", "batches", "largest"), [(0, 0, 0), (1, 1, 1), (49, 49, 1), (120, 60, 2), (999, 100, 10)]
)
def test_few_due_accounts_go_one_a_task_and_many_in_batches(due: int, batches: int, largest: int) -> None:
    cluster = Cluster(due)
    ticked = cluster.ticker.tick()
    assert (ticked.claimed, ticked.batches) == (due, batches)
    assert max(map(len, cluster.queue.batches), default=0) == largest
    assert sorted(id_ for batch in cluster.queue.batches for id_ in batch) == cluster.ids


def test_a_second_tick_queues_nothing_that_the_first_one_claimed() -> None:
    cluster = Cluster(5)
    cluster.ticker.tick()
    assert cluster.ticker.tick().claimed == 0
    assert len(cluster.queue.batches) == 5


def test_what_could_not_be_queued_is_due_again_when_its_claim_runs_out() -> None:
    cluster = Cluster(3)
    cluster.queue.down = True
    with pytest.raises(BrokerUnavailable):
        cluster.ticker.tick()
    cluster.queue.down = False
    assert cluster.ticker.tick().claimed == 0
    cluster.clock.forward(seconds=121)
    assert cluster.ticker.tick().claimed == 3


def test_a_batch_polls_each_account_it_claimed() -> None:
    cluster = Cluster(3)
    cluster.schedule.claim(3)
    assert [report.outcome for report in cluster.run(cluster.ids)] == [Outcome.DONE] * 3


def test_a_task_that_comes_twice_polls_once() -> None:
    cluster = Cluster(2)
    cluster.schedule.claim(2)
    cluster.run(cluster.ids)
    assert [report.outcome for report in cluster.run(cluster.ids)] == [Outcome.BUSY] * 2
    assert cluster.polls.polled == cluster.ids


def test_what_a_batch_did_not_reach_is_due_at_once() -> None:
    cluster = Cluster(4)
    cluster.schedule.claim(4)
    cluster.run(cluster.ids, budget_s=15)
    assert cluster.polls.polled == cluster.ids[:2]
    assert cluster.schedule.claim(4) == cluster.ids[2:]


def test_a_slow_first_account_does_not_keep_a_batch_from_polling_it() -> None:
    cluster = Cluster(1)
    cluster.schedule.claim(1)
    assert len(cluster.run(cluster.ids, budget_s=0)) == 1


def test_asked_to_drain_a_batch_gives_its_accounts_back() -> None:
    cluster = Cluster(3)
    cluster.schedule.claim(3)
    cluster.draining = True
    assert cluster.run(cluster.ids) == []
    assert cluster.schedule.claim(3) == cluster.ids


def test_a_removed_account_is_forgotten_by_the_schedule() -> None:
    cluster = Cluster(2)
    cluster.schedule.claim(2)
    cluster.registry.remove(["a000"])
    assert [report.account for report in cluster.run(cluster.ids)] == ["a001"]
    assert "a000" not in cluster.schedule.due_in(cluster.ids)


def test_one_account_that_can_not_be_read_does_not_stop_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(3)
    cluster.schedule.claim(3)
    get = cluster.registry.get

    def damaged(ids: Sequence[str]) -> dict[str, Account]:
        if "a001" in ids:
            raise StateUnavailable("damaged")
        return get(ids)

    monkeypatch.setattr(cluster.registry, "get", damaged)
    assert [report.account for report in cluster.run(cluster.ids)] == ["a000", "a002"]
    assert cluster.telemetry.failed == ["state_unavailable"]


def fill(cluster: Cluster, share: float) -> None:
    """Take this share of the cap with events that nobody acknowledged."""
    cluster.state.stream_max_bytes = 1000
    cluster.state.events.append(OutgoingEvent("e", "t", b"x" * round(1000 * share)))


@pytest.mark.parametrize(("share", "claimed"), [(0.79, 3), (0.8, 0), (1.0, 0)])
def test_a_stream_that_is_nearly_full_stops_dispatch(share: float, claimed: int) -> None:
    cluster = Cluster(3)
    fill(cluster, share)
    ticked = cluster.ticker.tick()
    assert ticked.claimed == claimed
    assert ticked.stopped == (() if claimed else (0,))
    assert cluster.telemetry.failed == ([] if claimed else ["state_full"])


def test_each_tick_says_that_dispatch_has_stopped_and_which_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(3)
    fill(cluster, 0.9)
    said: list[tuple[str, Failure]] = []
    monkeypatch.setattr(cluster.telemetry, "step_failed", lambda *line: said.append(line))
    cluster.ticker.tick()
    cluster.ticker.tick()
    assert [step for step, _ in said] == ["dispatch stopped"] * 2
    assert said[0][1].what == "events that are not acknowledged take 90% of shard 0's cap"


def test_dispatch_goes_on_by_itself_once_consumers_have_acknowledged() -> None:
    cluster = Cluster(3)
    fill(cluster, 0.9)
    assert cluster.ticker.tick().claimed == 0
    list(cluster.events.tail(from_start=True, group="g", consumer="c", timeout_s=0))
    assert cluster.ticker.tick().claimed == 3
    assert cluster.state.events == []


def test_trimming_that_fails_is_said_and_stops_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(3)

    def refused() -> int:
        raise StateRefused("no right to XDEL")

    monkeypatch.setattr(cluster.events, "trim", refused)
    assert cluster.ticker.tick().claimed == 3
    assert cluster.telemetry.failed == ["state_refused"]
