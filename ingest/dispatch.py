"""ONE tick: trim the stream, claim due accounts, queue their polls in batches. ONE batch: poll its accounts.

Rules of this room:
- A shard whose stream fills with what consumers have not acknowledged gets no polls until they catch up. Trimming comes
  first, so that what they have acknowledged never counts.
- A queued poll is a hint with an expiry: if it is lost or late, the claim runs out and the account is due again.
- A batch has a budget: ids that it did not reach are due again at once, so that one slow account holds up no other.
- Few due accounts go one a task, so that they are polled side by side; many go in batches, since a task costs as much
  as an idle poll.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ingest.errors import IngestError, StateFull
from ingest.models import Failure, PollReport
from ingest.poll import Poller
from ingest.ports import AccountRegistry, Clock, Dispatcher, EventLog, Schedule, Telemetry


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one tick did; `stopped` are the shards that got no polls."""

    claimed: int
    batches: int
    stopped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TickLimits:
    """How much one tick claims, and how it is cut into tasks.

    `side_by_side` is the number of tasks below which an account gets one of its own; `stop_share` the share of its cap
    from which a shard's stream stops dispatch.
    """

    claim: int = 1000
    batch_accounts: int = 10
    side_by_side: int = 50
    expires_s: float = 120
    stop_share: float = 0.8


class Ticker:
    """Trims, claims and queues."""

    def __init__(
        self,
        *,
        schedule: Schedule,
        events: EventLog,
        dispatcher: Dispatcher,
        telemetry: Telemetry,
        limits: TickLimits,
    ) -> None:
        self._schedule = schedule
        self._events = events
        self._dispatcher = dispatcher
        self._telemetry = telemetry
        self._limits = limits

    def tick(self) -> Ticked:
        """Trim the stream, claim once, queue what was claimed; StateUnavailable, BrokerUnavailable.

        What was claimed and could not be queued is due again when its claim runs out.
        """
        stopped = self._stopped()
        ids = self._schedule.claim(self._limits.claim, but=stopped)
        batches = _batches(ids, self._limits)
        for batch in batches:
            self._dispatcher.submit(batch, expires_s=self._limits.expires_s)
        self._telemetry.ticked(len(ids), len(batches))
        return Ticked(len(ids), len(batches), tuple(sorted(stopped)))

    def _stopped(self) -> frozenset[int]:
        """Make room, then find the shards without; one line in the log while there are any."""
        try:
            self._events.trim()
        except IngestError as error:  # that alone stops no mail: a stream that runs full does
            self._telemetry.step_failed("trimming the event stream", Failure.of(error))
        full = {shard: share for shard, share in self._events.pressure().items() if share >= self._limits.stop_share}
        if full:
            self._telemetry.step_failed("dispatch stopped", Failure.of(stream_filling(full)))
        return frozenset(full)


def stream_filling(shares: Mapping[int, float]) -> StateFull:
    """What is said of shards whose streams take these shares of their caps."""
    streams = ", ".join(f"{share:.0%} of shard {shard}'s cap" for shard, share in sorted(shares.items()))
    return StateFull(
        f"events that are not acknowledged take {streams}",
        todo="let consumers catch up, remove groups that nobody reads (mailsluice events groups list), or raise "
        "MAILSLUICE_STREAM_MAX_BYTES",
    )


class BatchRunner:
    """Polls the accounts of one task.

    Args:
        registry, schedule, poller, clock, telemetry: what it works with.
        budget_s: after which no further account of the batch is begun.
        draining: whether the process is asked to stop.
    """

    def __init__(
        self,
        *,
        registry: AccountRegistry,
        schedule: Schedule,
        poller: Poller,
        clock: Clock,
        telemetry: Telemetry,
        budget_s: float,
        draining: Callable[[], bool],
    ) -> None:
        self._registry = registry
        self._schedule = schedule
        self._poller = poller
        self._clock = clock
        self._telemetry = telemetry
        self._budget_s = budget_s
        self._draining = draining

    def run(self, account_ids: Sequence[str]) -> list[PollReport]:
        """Poll each in turn, if it still stands claimed. One that fails here is due again by its claim's TTL."""
        reports: list[PollReport] = []
        started = self._clock.monotonic()
        for at, account_id in enumerate(account_ids):
            late = at > 0 and self._clock.monotonic() - started > self._budget_s
            try:
                if late or self._draining():
                    self._schedule.unclaim(account_ids[at:])
                    break
                account = self._registry.get([account_id]).get(account_id)
                if account is None:
                    self._schedule.drop([account_id])  # removed meanwhile
                else:
                    reports.append(self._poller.poll(account, claimed=True))
            except IngestError as error:
                self._telemetry.step_failed(f"poll of {account_id}", Failure.of(error))
        return reports


def _batches(ids: Sequence[str], limits: TickLimits) -> list[Sequence[str]]:
    size = min(limits.batch_accounts, max(1, len(ids) // limits.side_by_side))
    return [ids[at : at + size] for at in range(0, len(ids), size)]
