"""Events that a group's reader could not do anything with, and that nobody has decided about yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ingest.models import OutgoingEvent


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One of them: where it lies, the event, why it is there, and since when, in seconds since the epoch."""

    shard: int
    position: str
    event: OutgoingEvent
    reason: str
    time: float


class DeadLetters(Protocol):
    """The dead letters of one group, all shards. All raise StateUnavailable or StateRefused."""

    def all(self) -> Iterator[DeadLetter]:
        """Those that are there now, by shard, the oldest first; a few at a time are in memory."""
        ...

    def retry(self, letter: DeadLetter) -> bool:
        """Back to the end of the stream, in one step; False where it is a dead letter no more; StateFull."""
        ...

    def discard(self, letter: DeadLetter) -> bool:
        """Forget it; False where it was gone already."""
        ...
