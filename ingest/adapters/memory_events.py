"""The event stream in memory, for unit tests: the same contract as in Redis.

Rules of this room:
- One shard. Entries have no age here, so only what is above half the cap is trimmed.
- A group has read up to a position, and acknowledged all of it but what is pending.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ingest.adapters.memory_state import MemoryState
from ingest.models import OutgoingEvent, StreamEntry
from ingest.ports import ConsumerGroup


@dataclass
class Held:
    """What a consumer has and has not acknowledged: since when, and how often it was delivered."""

    consumer: str
    since: float
    deliveries: int = 1


@dataclass
class Group:
    """Where it stands, what its consumers have, when one last asked."""

    read: int
    pending: dict[int, Held] = field(default_factory=dict)
    asked: float | None = None


class MemoryEvents:
    """Implements `ports.EventLog`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._events = state.events
        self._gone: set[int] = set()
        self._groups: dict[str, Group] = {}

    def length(self) -> int:
        return len(self._events)

    def trim(self) -> int:
        with self._state.lock:
            gone = 0
            for position, event in self.entries():
                if self._octets() <= self._state.stream_max_bytes // 2:
                    break
                if self._groups and not any(self._waits(group, position) for group in self._groups.values()):
                    self._events.remove(event)
                    self._gone.add(position)
                    gone += 1
            return gone

    def pressure(self) -> dict[int, float]:
        with self._state.lock:
            return {0: self._octets() / self._state.stream_max_bytes}

    def groups(self) -> list[ConsumerGroup]:
        with self._state.lock:
            entries = self.entries()
            found = []
            for name, group in sorted(self._groups.items()):
                waiting = [event for position, event in entries if self._waits(group, position)]
                found.append(
                    ConsumerGroup(
                        shard=0,
                        name=name,
                        pending=len(group.pending),
                        behind=len(waiting) - len(group.pending),
                        waiting_bytes=sum(len(event.json) for event in waiting),
                        idle_s=None if group.asked is None else self._state.now() - group.asked,
                        oldest_s=0.0 if waiting else None,
                    )
                )
            return found

    def remove_group(self, name: str) -> int:
        with self._state.lock:
            return int(self._groups.pop(name, None) is not None)

    def tail(
        self,
        *,
        from_start: bool,
        group: str | None,
        consumer: str,
        timeout_s: float | None,
    ) -> Iterator[StreamEntry | None]:
        at = 0 if from_start else self._end()
        reader = Group(at) if group is None else self.group(group, from_start=from_start)
        while True:
            reader.asked = self._state.now()
            waiting = [entry for entry in self.entries() if self._waits(reader, entry[0])]
            if waiting:
                position, event = waiting[0]
                reader.read = max(reader.read, position)
                reader.pending[position] = Held(consumer, self._state.now())
                yield StreamEntry(0, f"{position}-0", event)
                reader.pending.pop(position, None)
            elif timeout_s is None:
                yield None
            else:
                return

    def group(self, name: str, *, from_start: bool) -> Group:
        """The group of that name; made if it is not there."""
        return self._groups.setdefault(name, Group(0 if from_start else self._end()))

    def entries(self) -> list[tuple[int, OutgoingEvent]]:
        """What is left, each with its position in all that ever came."""
        positions = (position for position in range(1, self._end() + 1) if position not in self._gone)
        return list(zip(positions, self._events, strict=True))

    def _end(self) -> int:
        return len(self._events) + len(self._gone)

    def _octets(self) -> int:
        return sum(len(event.json) for event in self._events)

    @staticmethod
    def _waits(group: Group, position: int) -> bool:
        return position > group.read or position in group.pending
