"""The event stream: what was told, who reads it, how much room is left; and reading it as one of a group."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingest.models import StreamEntry


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """A consumer group of one shard's stream, and what waits for it.

    `pending` entries are delivered and not acknowledged; `behind` are not delivered yet, None if Redis can't tell.
    `waiting_bytes` are about the octets of both (all of the stream's if Redis can't tell). `idle_s` is how long none of
    its consumers asked for anything, None if it never had one; `oldest_s` how long the oldest event waits for it.
    """

    shard: int
    name: str
    pending: int
    behind: int | None
    waiting_bytes: int
    idle_s: float | None
    oldest_s: float | None


class EventLog(Protocol):
    """The event stream, all shards of it."""

    def tail(
        self, *, from_start: bool, group: str | None, consumer: str, timeout_s: float | None
    ) -> Iterator[StreamEntry | None]:
        """Entries as they come, None about once a second while idle; ends after `timeout_s` without an entry.

        With a group, each entry counts as acknowledged when the next one is asked for.
        """
        ...

    def trim(self) -> int:
        """Free acknowledged entries that are past their age, or the oldest above half the cap; how many went.

        Also those that lie behind one that waits for a group, in bounded pieces. Nothing that a group has yet to
        acknowledge goes; without any group age alone trims. A shard that fails is passed by.
        """
        ...

    def pressure(self) -> dict[int, float]:
        """The share of its cap that each shard's stream takes; shards that can't be asked are absent.

        Behind `trim` it counts from half on what is not acknowledged, and nothing else. Without any group all counts.
        """
        ...

    def groups(self) -> list[ConsumerGroup]:
        """The consumer groups of all shards, by shard and name."""
        ...

    def remove_group(self, name: str) -> int:
        """Remove a group: nothing waits for it any more. From how many shards it went."""
        ...

    def length(self) -> int:
        """Entries in all shards."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """An entry, and how many times it was delivered to somebody of the group, this time included."""

    entry: StreamEntry
    count: int


class EventGroup(Protocol):
    """One consumer of a consumer group, over all shards of the stream. Not for several threads at a time.

    The group is made at its first use. If it is lost, it is made again and begins with the oldest event that is there:
    what was delivered and not acknowledged is not known any more, so all of it repeats.
    """

    def read(self, count: int, timeout_s: float) -> list[StreamEntry]:
        """New entries as soon as there are any: at most `count`, or one a shard; none after `timeout_s`."""
        ...

    def claim(self, count: int, idle_s: float, after: str = "") -> list[Delivery]:
        """At most `count` that were delivered and left for `idle_s`, by others or by this consumer itself.

        They are this consumer's from here on. What was trimmed meanwhile counts as acknowledged. Each call looks at
        some thousands of pending entries, and the next one goes on behind them. With `after`, for who reads one shard:
        those behind that position, in order, and all of them looked at.
        """
        ...

    def keep(self, entries: Sequence[StreamEntry]) -> list[StreamEntry]:
        """Those of these that are still this consumer's; nobody else can claim them for another while."""
        ...

    def release(self, entries: Sequence[StreamEntry]) -> None:
        """Give back what was not begun: whoever claims next gets it, and this delivery was none."""
        ...

    def again(self, positions: Sequence[str]) -> list[StreamEntry]:
        """What this consumer has at these positions, for who reads one shard. What is gone counts as acknowledged."""
        ...

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        """The group is done with them, whoever of it has them."""
        ...

    def bury(self, entry: StreamEntry, reason: str) -> bool:
        """Move it to the dead letters of the group and acknowledge it, in one step; no if it is another's by now."""
        ...

    def close(self) -> None:
        """Leave the group, unless something is still unacknowledged. The connection is not closed."""
        ...


class Turn(enum.Enum):
    """Whether to handle an entry.

    GO: nobody did. DONE: its event was handled before, and the entry is acknowledged now. BUSY: another entry with the
    same event is in hand elsewhere. LOST: another consumer has taken the entry over.
    """

    GO = "go"
    DONE = "done"
    BUSY = "busy"
    LOST = "lost"


class HandledEvents(Protocol):
    """Which events a group has handled, by their ids, for one consumer of it.

    Between `begin` and `finish` an event is in hand for a while: should its consumer die, it can be begun again after
    that. So a crash repeats an event, and loses none.
    """

    def begin(self, entry: StreamEntry, for_s: float) -> Turn:
        """Take it in hand. Others can begin or claim it after `for_s`, and not before."""
        ...

    def finish(self, entry: StreamEntry) -> None:
        """It was handled: remember it and acknowledge the entry, in one step."""
        ...

    def give_up(self, entry: StreamEntry) -> None:
        """It is not in hand any more, and was not handled."""
        ...
