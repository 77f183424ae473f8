"""From the stream to a sink: ONE shard, read as one of a consumer group.

Rules of this room:
- Only what the sink confirmed, or what is buried as a dead letter, is acknowledged. Whatever happens in between comes
  again, with the same id.
- An account's event never overtakes the one before it: of an account that has to wait nothing is sent, while the others
  go on. So only one relay at a time reads a shard; it takes over what its predecessor left before it reads what is new.
- Nothing is dropped because a sink is down: the stream fills, and polling stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ingest.errors import EventRefused, IngestError, StateFull
from ingest.events.order import account_of
from ingest.models import Failure, StreamEntry
from ingest.ports import Clock, EventGroup, EventSink, ShardTurn, Telemetry
from ingest.retry import Backoff

_IDLE_S = 1.0
_WINDOW_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """`batch` events are handed over at a time, `window` are in hand at most. The others are in seconds."""

    batch: int = 100
    window: int = 1000
    max_wait_s: float = 60
    give_up_s: float = 86_400


@dataclass
class Relayed:
    """What a relay did. `failure` is why it ended early, if it did; `busy`: another one has this shard."""

    sent: int = 0
    dead: int = 0
    left: int = 0
    busy: bool = False
    failure: IngestError | None = None


@dataclass
class _Held:
    """An account that has to wait: until when, since when, how often the sink took something when this began."""

    backoff: Backoff
    since: float
    sent: int
    until: float = 0.0


@dataclass
class _Waiting:
    entry: StreamEntry
    account: str


@dataclass
class _Hand:
    """What was read and not acknowledged, in order."""

    entries: dict[str, _Waiting] = field(default_factory=dict)
    octets: int = 0

    def take(self, entries: Sequence[StreamEntry]) -> None:
        for entry in entries:
            self.entries[entry.position] = _Waiting(entry, account_of(entry.event))
            self.octets += len(entry.event.json)

    def drop(self, entries: Sequence[StreamEntry]) -> None:
        for entry in entries:
            if self.entries.pop(entry.position, None) is not None:
                self.octets -= len(entry.event.json)

    def clear(self) -> None:
        self.entries.clear()
        self.octets = 0


class Relay:
    """Relays until it is asked to stop.

    Args:
        group: reads the shard.
        turn: whose turn it is.
        sink: where events go.
        clock, telemetry: what it works with.
        limits: how much at a time, how long to wait.
        rest: wait so many seconds, less where a stop is asked for; whether it is.
    """

    def __init__(
        self,
        *,
        group: EventGroup,
        turn: ShardTurn,
        sink: EventSink,
        clock: Clock,
        telemetry: Telemetry,
        limits: RelayLimits,
        rest: Callable[[float], bool],
    ) -> None:
        self._group = group
        self._turn = turn
        self._sink = sink
        self._clock = clock
        self._telemetry = telemetry
        self._limits = limits
        self._rest = rest
        self._hand = _Hand()
        self._held: dict[str, _Held] = {}
        self._taken_over = False
        self._down = False
        self._trouble = Backoff(limits.max_wait_s)
        self._rest_s = 0.0
        self._did = Relayed()

    def run(self, *, once: bool = False) -> Relayed:
        """Until a stop is asked for; with `once`, until nothing waits that the sink takes now."""
        try:
            while not self._rest(0) and self._step(once=once):
                if self._rest_s and self._rest(self._rest_s):
                    break
        finally:
            self._end()
        return self._did

    def _step(self, *, once: bool) -> bool:
        """Read, send, acknowledge; whether to go on."""
        self._rest_s = 0.0
        try:
            if not self._turn.take():
                self._forget()
                self._did.busy, self._rest_s = True, _IDLE_S
                return not once
            self._did.busy = False
            read = self._fetch(0 if once else _IDLE_S)
            batch = self._ready()
            if batch:
                self._settle(batch, self._sink.send([entry.event for entry in batch]))
            if once:
                return bool(read or batch) and self._did.failure is None
        except IngestError as error:  # Redis: what was sent and not acknowledged comes again
            self._forget()
            self._did.failure = error
            self._fail(error)
            return not once
        return True

    def _fetch(self, wait_s: float) -> int:
        """Read what there is room for; how much that was."""
        room = self._limits.window - len(self._hand.entries)
        if not self._taken_over and not self._hand.entries:
            most = self._limits.window + self._limits.batch
            left = [delivery.entry for delivery in self._group.claim(most, 0)]
            self._hand.take(left)
            self._taken_over = len(left) < most
            if left:
                return len(left)
        if not self._taken_over or room <= 0 or self._hand.octets >= _WINDOW_BYTES:
            self._rest_s = 0 if self._ready() else self._next_s()
            return 0
        patience_s = 0 if self._ready() else min(wait_s, self._next_s())
        entries = self._group.read(min(room, self._limits.batch), patience_s)
        self._hand.take(entries)
        return len(entries)

    def _next_s(self) -> float:
        """Until the next account may be tried again, a second at most."""
        now = self._clock.monotonic()
        return min([_IDLE_S, *(max(0.01, held.until - now) for held in self._held.values())])

    def _ready(self) -> list[StreamEntry]:
        """The next to send, in order, without the accounts that wait."""
        now = self._clock.monotonic()
        stopped = {account for account, held in self._held.items() if held.until > now}
        found: list[StreamEntry] = []
        for waiting in self._hand.entries.values():
            if waiting.account not in stopped:
                found.append(waiting.entry)
                if len(found) == self._limits.batch:
                    break
        return found

    def _settle(self, batch: Sequence[StreamEntry], outcomes: Sequence[IngestError | None]) -> None:
        """Acknowledge what is done, bury what is refused, let the rest wait."""
        done = [entry for entry, outcome in zip(batch, outcomes, strict=True) if outcome is None]
        if done:
            self._group.acknowledge(done)
            self._hand_over(done)
            self._did.sent += len(done)
        failed: dict[str, tuple[StreamEntry, IngestError]] = {}
        dead_before = self._did.dead
        for entry, outcome in zip(batch, outcomes, strict=True):
            obstacle = outcome
            if isinstance(outcome, EventRefused):
                obstacle = self._bury(entry, outcome)
            if obstacle is not None:
                failed.setdefault(account_of(entry.event), (entry, obstacle))
        errors = sorted((error for _, error in failed.values()), key=lambda error: -(error.after_s or 0))
        self._did.failure = errors[0] if errors else None
        if len(done) + self._did.dead > dead_before:
            self._down = False
            self._trouble.reset()
        elif errors and (self._down or errors[0].after_s or len(errors) > 1):  # it is the sink, not an account
            self._down = True
            self._fail(errors[0])
            return
        for account, (entry, error) in failed.items():
            self._telemetry.step_failed(f"relay of {account or 'an event'}", Failure.of(error))
            self._hold(account, entry, error)

    def _hand_over(self, done: Sequence[StreamEntry]) -> None:
        self._hand.drop(done)
        for entry in done if self._held else ():
            self._held.pop(account_of(entry.event), None)

    def _bury(self, entry: StreamEntry, error: IngestError) -> IngestError | None:
        """What stands in the way of that, if anything: a Redis that is full takes no dead letter."""
        try:
            self._group.bury(entry, str(error))
        except StateFull as full:
            return full
        self._telemetry.message_failed(account_of(entry.event), error.code, f"event {entry.event.id}: {error}")
        self._hand_over([entry])
        self._did.dead += 1
        return None

    def _hold(self, account: str, entry: StreamEntry, error: IngestError) -> None:
        now = self._clock.monotonic()
        held = self._held.setdefault(account, _Held(Backoff(self._limits.max_wait_s), now, self._did.sent))
        if now - held.since >= self._limits.give_up_s and self._did.sent > held.sent:
            given_up = EventRefused(f"not taken for {self._limits.give_up_s:.0f} s: {error}")
            if self._bury(entry, given_up) is None:
                return
        held.until = now + held.backoff.next_s(error.after_s)

    def _fail(self, error: IngestError) -> None:
        self._rest_s = self._trouble.next_s(error.after_s)
        self._telemetry.step_failed("relay", Failure.of(error))

    def _forget(self) -> None:
        """It is not ours any more, or we don't know: what was left is taken over anew."""
        self._hand.clear()
        self._held.clear()
        self._taken_over = False

    def _end(self) -> None:
        self._did.left = len(self._hand.entries)
        self._turn.give_back()
        self._group.close()
