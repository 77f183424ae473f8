"""From the stream to a sink: ONE shard, read as one of a consumer group.

Rules of this room:
- Only what the sink confirmed, or what is buried as a dead letter, is acknowledged. Whatever happens in between comes
  again, with the same id.
- An account's event never overtakes the one before it: of an account that has to wait nothing is sent, while the others
  go on. So only one relay at a time reads a shard; it takes over what its predecessor left before it reads what is new.
- Nothing is dropped because a sink is down: the stream fills, and polling stops. One that refuses everything is down,
  too, whatever it says of each event.
- While the sink is down, one event of one account is tried at a time, another account's each time: where it is one
  account that the sink can't bear, that one alone is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.backlog import Backlog
from ingest.errors import EventRefused, IngestError, SinkRefused, StateFull
from ingest.events.order import NOT_BEGUN, account_of
from ingest.models import Failure, StreamEntry
from ingest.ports import Clock, EventGroup, EventSink, ShardTurn, Telemetry
from ingest.retry import Backoff

_START = "0-0"  # before the first position
_IDLE_S = 1.0
_WINDOW_BYTES = 64 << 20
_REFUSED_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """`batch` events are handed over at a time, `window` are in hand at most. The others are in seconds."""

    batch: int = 100
    window: int = 1000
    max_wait_s: float = 60
    give_up_s: float = 86_400


@dataclass
class Relayed:
    """What a relay did. `failure` is the first thing that went wrong; `busy`: another one has this shard."""

    sent: int = 0
    dead: int = 0
    left: int = 0
    busy: bool = False
    failure: IngestError | None = None


@dataclass
class _Held:
    """An account that has to wait: until when; what the sink had taken when that began; since when it takes others."""

    backoff: Backoff
    sent: int
    since: float | None = None
    until: float = 0.0


class Relay:
    """Relays until it is asked to stop.

    Args:
        group: reads the shard.
        turn: whose turn it is.
        sink: where events go.
        clock, telemetry: what it works with.
        limits: how much at a time, how long to wait.
        rest: wait so many seconds, less where a stop is asked for; whether it is. Sinks ask it from their threads.
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
        self._backlog = Backlog(group.again)
        self._held: dict[str, _Held] = {}
        self._taken_over = False
        self._claimed = _START
        self._down = False
        self._refused = 0  # events in a row, with none confirmed between them
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
            if not self._turn.ours():
                self._forget()
                if not self._turn.take():
                    self._did.busy, self._rest_s = True, _IDLE_S
                    return not once
            self._did.busy = False
            read = self._fetch(0 if once else _IDLE_S)
            batch = self._ready()
            if batch:
                self._settle(batch, self._sink.send([entry.event for entry in batch], self._go_on))
            return not once or (bool(read or batch) and not self._down)
        except IngestError as error:  # Redis: what was sent and not acknowledged comes again
            self._forget()
            self._fail(error)
            return not once

    def _go_on(self) -> bool:
        """Whether to begin with another event."""
        return not self._rest(0) and self._turn.ours()

    def _fetch(self, wait_s: float) -> int:
        """Read what there is room for; how much that was."""
        room = min(self._limits.window - self._backlog.in_hand, self._limits.batch)
        if room <= 0 or self._backlog.octets >= _WINDOW_BYTES:
            return 0
        entries: list[StreamEntry] = []
        if not self._taken_over:
            entries = [delivery.entry for delivery in self._group.claim(room, 0, self._claimed)]
            self._taken_over = len(entries) < room
            self._claimed = entries[-1].position if entries else _START
        if not entries:
            entries = self._group.read(room, min(wait_s, self._next_s()))
        self._backlog.take(entries, self._held)
        return len(entries)

    def _next_s(self) -> float:
        """Until there is something to send, a second at most."""
        if self._backlog.in_hand:
            return 0
        now = self._clock.monotonic()
        waits = (self._held[each].until - now if each in self._held else 0 for each in self._backlog.away())
        return min([_IDLE_S, *(max(0.01, wait_s) if wait_s > 0 else 0 for wait_s in waits)])

    def _ready(self) -> list[StreamEntry]:
        """The next to send, in order: of an account that failed one, and behind the others; of one that waits none."""
        now = self._clock.monotonic()
        room = min(self._limits.window + self._limits.batch - self._backlog.in_hand, self._limits.batch)
        for account in self._backlog.away():
            held = self._held.get(account)
            if room > 0 and (held is None or held.until <= now):
                room -= self._backlog.bring_back(account, room if held is None else 1)
        return self._backlog.first(1 if self._down else self._limits.batch)

    def _settle(self, batch: Sequence[StreamEntry], outcomes: Sequence[IngestError | None]) -> None:
        """Acknowledge what is done, bury what is refused, let the rest wait."""
        done = [entry for entry, outcome in zip(batch, outcomes, strict=True) if outcome is None]
        if done:
            self._group.acknowledge(done)
            self._hand_over(done)
            self._did.sent += len(done)
        failed = self._not_done(batch, outcomes)
        errors = sorted((error for _, error in failed.values()), key=lambda error: -(error.after_s or 0))
        if done:
            self._down = False
            self._trouble.reset()
        elif errors and self._is_down(errors[0], list(failed)):
            self._fail(errors[0])
            if not self._down:
                self._down = True
                return
        for account, (entry, error) in failed.items():
            if not self._down:
                self._note(f"relay of {account or 'an event'}", error)
            self._hold(account, entry, error)

    def _is_down(self, error: IngestError, accounts: Sequence[str]) -> bool:
        """Whether it is the sink, not an account. One that is held and fails again, alone, says nothing of the sink."""
        return self._down or len(accounts) > 1 or bool(error.after_s and accounts[0] not in self._held)

    def _not_done(
        self, batch: Sequence[StreamEntry], outcomes: Sequence[IngestError | None]
    ) -> dict[str, tuple[StreamEntry, IngestError]]:
        """Bury what is refused for itself. Of each account the first that has to wait, and why."""
        last = {account_of(entry.event): at for at, entry in enumerate(batch) if outcomes[at] is None}
        failed: dict[str, tuple[StreamEntry, IngestError]] = {}
        for at, (entry, outcome) in enumerate(zip(batch, outcomes, strict=True)):
            account, obstacle = account_of(entry.event), outcome
            if outcome is None:
                self._refused = 0
            if isinstance(outcome, EventRefused):
                if self._refused < _REFUSED_IN_A_ROW or last.get(account, -1) > at:  # those behind it are through
                    self._refused += 1
                    obstacle = self._bury(entry, outcome)
                else:
                    todo = "see why it takes nothing, and MAILSLUICE_SINK_URL"
                    obstacle = SinkRefused(f"one event after the other is refused: {outcome.what}", todo=todo)
            if obstacle is not None and obstacle is not NOT_BEGUN:
                failed.setdefault(account, (entry, obstacle))
        return failed

    def _hand_over(self, done: Sequence[StreamEntry]) -> None:
        self._backlog.drop(done)
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
        """Let it wait; where the sink takes others for so long, give the event up."""
        now = self._clock.monotonic()
        held = self._held.setdefault(account, _Held(Backoff(self._limits.max_wait_s), self._did.sent))
        if self._did.sent > held.sent and not self._down:
            held.since = now if held.since is None else held.since
            if now - held.since >= self._limits.give_up_s:
                given_up = EventRefused(f"not taken for {self._limits.give_up_s:.0f} s: {error}")
                if self._bury(entry, given_up) is None:
                    return
        held.until = now + held.backoff.next_s(error.after_s)
        self._backlog.put_away(account)

    def _fail(self, error: IngestError) -> None:
        self._rest_s = self._trouble.next_s(error.after_s)
        self._note("relay", error)

    def _note(self, step: str, error: IngestError) -> None:
        self._did.failure = self._did.failure or error
        self._telemetry.step_failed(step, Failure.of(error))

    def _forget(self) -> None:
        """It is not ours any more, or we don't know: what was left is taken over anew."""
        self._backlog.clear()
        self._held.clear()
        self._taken_over, self._claimed = False, _START

    def _end(self) -> None:
        self._did.left = len(self._backlog)
        self._turn.give_back()
        self._group.close()
