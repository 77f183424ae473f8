"""A sink in memory, for unit tests: the same contract as over a wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingest.errors import IngestError
from ingest.events.order import always, in_waves
from ingest.models import OutgoingEvent


class MemorySink:
    """Implements `ports.EventSink`.

    `taken` is what it confirmed. `fault`, where a test sets it, says what stands in the way of an event, if anything.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.taken: list[OutgoingEvent] = []
        self.fault: Callable[[OutgoingEvent], IngestError | None] = lambda _: None
        self.closed = False

    def size(self, event: OutgoingEvent) -> int:
        return len(event.json)

    def send(self, events: Sequence[OutgoingEvent], go_on: Callable[[], bool] = always) -> Sequence[IngestError | None]:
        return in_waves(events, lambda wave: [self._take(event) for event in wave], go_on)

    def ping(self) -> None:
        """It is always there."""

    def close(self) -> None:
        self.closed = True

    def _take(self, event: OutgoingEvent) -> IngestError | None:
        fault = self.fault(event)
        if fault is None:
            self.taken.append(event)
        return fault
