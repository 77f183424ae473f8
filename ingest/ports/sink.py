"""Where events go beside the stream: a queue, a topic, a webhook; and whose turn it is to bring them there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ingest.errors import IngestError
from ingest.models import OutgoingEvent


class EventSink(Protocol):
    """Takes events, at least once each. Safe to share between threads."""

    @property
    def max_bytes(self) -> int | None:
        """The largest event it takes, by its `size`; None where there is no limit. It may have to ask: raises."""
        ...

    def size(self, event: OutgoingEvent) -> int:
        """Octets of the event as it is sent."""
        ...

    def send(self, events: Sequence[OutgoingEvent], go_on: Callable[[], bool] = ...) -> Sequence[IngestError | None]:
        """Hand them over; of each, None once the other side confirmed it, else what stands in the way. Never raises.

        EventRefused is that event's own fault; SinkUnavailable and SinkRefused are the sink's, and say when to try
        again. Of one account no event is handed over before the one ahead of it is confirmed or refused by its own
        fault; those behind one that was not have its error. `go_on` is asked between events, from any thread; once it
        says no, no other is begun, and the outcome of those is `events.order.NOT_BEGUN`.
        """
        ...

    def ping(self) -> None:
        """Raise what is wrong; sends nothing that a consumer would see."""
        ...

    def close(self) -> None: ...


class ShardTurn(Protocol):
    """Who relays a shard's stream for a group now. Two at a time would let an event overtake the one before it."""

    def take(self) -> bool:
        """Whether it is ours from here on, until it is given back or `ours` says no; StateUnavailable, StateRefused."""
        ...

    def ours(self) -> bool:
        """Whether it still is, as far as we know. Asks nobody, and never raises."""
        ...

    def give_back(self) -> None:
        """Let the next one have it at once. Never raises."""
        ...
