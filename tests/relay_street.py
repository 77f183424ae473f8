"""A relay over a stream, a turn and a sink in memory. Time is the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ingest.adapters.memory_events import MemoryEvents
from ingest.adapters.memory_group import MemoryGroup
from ingest.adapters.memory_state import MemoryState
from ingest.adapters.sinks.memory import MemorySink
from ingest.errors import IngestError
from ingest.models import Failure, OutgoingEvent, StreamEntry
from ingest.relay import Relay, Relayed, RelayLimits


@dataclass
class OwnClock:
    time: datetime = datetime(2026, 11, 24, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@dataclass
class OwnTurn:
    free: bool = True
    given_back: int = 0

    def take(self) -> bool:
        return self.free

    def ours(self) -> bool:
        return self.free

    def give_back(self) -> None:
        self.given_back += 1


@dataclass
class Notes:
    """Telemetry that remembers."""

    failed: list[tuple[str, str]] = field(default_factory=list)
    messages: list[tuple[str, str]] = field(default_factory=list)

    def step_failed(self, step: str, failure: Failure) -> None:
        self.failed.append((step, failure.code))

    def message_failed(self, account_id: str, code: str, detail: str) -> None:
        self.messages.append((account_id, code))


class WaitingGroup(MemoryGroup):
    """Time passes while it waits in vain."""

    nap: Callable[[float], object]

    def read(self, count: int, timeout_s: float) -> list[StreamEntry]:
        found = super().read(count, timeout_s)
        if timeout_s and not found:
            self.nap(timeout_s)
        return found


@dataclass
class Street:
    """A relay. `rests` are the waits it asked for; they and those for new events pass at once.

    In each `meanwhile` is called; after `most_rests` of them a stop is asked for.
    """

    limits: RelayLimits = field(default_factory=RelayLimits)
    most_rests: int = 50

    def __post_init__(self) -> None:
        self.clock, self.turn, self.sink, self.notes = OwnClock(), OwnTurn(), MemorySink(), Notes()
        self.state = MemoryState(self.clock)
        self.events = MemoryEvents(self.state)
        self.rests: list[float] = []
        self.waits = 0
        self.meanwhile: Callable[[], None] = lambda: None
        self.group = self.joined("one")

    def joined(self, name: str) -> WaitingGroup:
        group = WaitingGroup(self.state, self.events, group="relay", consumer=name, from_start=True)
        group.nap = self._pass
        return group

    def tell(self, *told: OutgoingEvent) -> None:
        self.state.events.extend(told)

    def _rest(self, seconds: float) -> bool:
        if seconds:
            self.rests.append(seconds)
            self._pass(seconds)
        return self.waits >= self.most_rests

    def _pass(self, seconds: float) -> None:
        self.waits += 1
        self.clock.time += timedelta(seconds=seconds)
        self.meanwhile()

    def relay(self) -> Relay:
        return Relay(
            group=self.group,
            turn=self.turn,
            sink=self.sink,
            clock=self.clock,
            telemetry=self.notes,  # type: ignore[arg-type]  # the part of it that is used
            limits=self.limits,
            rest=self._rest,
        )

    def once(self) -> Relayed:
        return self.relay().run(once=True)

    def waiting(self) -> int:
        [group] = self.events.groups()
        return group.pending + (group.behind or 0)


def failing(*ids: str, error: IngestError) -> Callable[[OutgoingEvent], IngestError | None]:
    return lambda told: error if told.id in ids else None
