"""One consumer of a consumer group over the event stream in memory, for unit tests: the same contract as in Redis.

Rules of this file:
- Time is the test's own, so nothing comes while a reader waits: an empty read ends at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingest.adapters.memory_events import Group, Held, MemoryEvents
from ingest.adapters.memory_state import MemoryState
from ingest.models import OutgoingEvent, StreamEntry
from ingest.ports import Delivery


class MemoryGroup:
    """Implements `ports.EventGroup`. `acknowledged` and `dead` tell what became of entries, and why."""

    def __init__(
        self, state: MemoryState, events: MemoryEvents, *, group: str, consumer: str, from_start: bool
    ) -> None:
        self._state = state
        self._events = events
        self._name = group
        self._consumer = consumer
        self._from_start = from_start
        self.acknowledged: list[StreamEntry] = []
        self.dead: list[tuple[StreamEntry, str]] = []

    def read(self, count: int, timeout_s: float) -> list[StreamEntry]:  # noqa: ARG002  # see the rules
        with self._state.lock:
            group = self._group()
            new = [(at, event) for at, event in self._events.entries() if at > group.read][:count]
            for at, _ in new:
                group.read = at
                group.pending[at] = Held(self._consumer, self._state.now())
            return [_entry(at, event) for at, event in new]

    def claim(self, count: int, idle_s: float, after: str = "") -> list[Delivery]:
        with self._state.lock:
            group, there = self._group(), dict(self._events.entries())
            group.pending = {at: held for at, held in group.pending.items() if at in there}
            begin, now = int(after.partition("-")[0] or -1), self._state.now()
            ripe = [at for at, held in sorted(group.pending.items()) if at > begin and now - held.since >= idle_s]
            for at in ripe[:count]:
                group.pending[at] = Held(self._consumer, self._state.now(), group.pending[at].deliveries + 1)
            return [Delivery(_entry(at, there[at]), group.pending[at].deliveries) for at in ripe[:count]]

    def keep(self, entries: Sequence[StreamEntry]) -> list[StreamEntry]:
        with self._state.lock:
            pending = self._group().pending
            ours = [entry for entry in entries if self._has(entry)]
            for entry in ours:
                pending[_at(entry)].since = self._state.now()
            return ours

    def release(self, entries: Sequence[StreamEntry]) -> None:
        with self._state.lock:
            pending = self._group().pending
            for at in [_at(entry) for entry in entries if self._has(entry)]:
                pending[at] = Held("(left)", float("-inf"), pending[at].deliveries - 1)

    def again(self, positions: Sequence[str]) -> list[StreamEntry]:
        with self._state.lock:
            there, wanted = dict(self._events.entries()), [int(position.partition("-")[0]) for position in positions]
            for at in set(wanted) - set(there):
                self._group().pending.pop(at, None)
            return [_entry(at, there[at]) for at in wanted if at in there]

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        with self._state.lock:
            for entry in entries:
                self._group().pending.pop(_at(entry), None)
            self.acknowledged += entries

    def bury(self, entry: StreamEntry, reason: str) -> bool:
        with self._state.lock:
            if not self._has(entry):
                return False
            self.dead.append((entry, reason))
            self._group().pending.pop(_at(entry), None)
            return True

    def close(self) -> None:
        """Nothing is held open."""

    def _has(self, entry: StreamEntry) -> bool:
        held = self._group().pending.get(_at(entry))
        return held is not None and held.consumer == self._consumer

    def _group(self) -> Group:
        group = self._events.group(self._name, from_start=self._from_start)
        self._from_start = True  # should it be removed: it begins with the oldest then
        group.asked = self._state.now()
        return group


def _at(entry: StreamEntry) -> int:
    return int(entry.position.partition("-")[0])


def _entry(at: int, event: OutgoingEvent) -> StreamEntry:
    return StreamEntry(0, f"{at}-0", event)
