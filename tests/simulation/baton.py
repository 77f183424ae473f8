"""Who runs: one thread at a time, and a seeded choice of the next.

Rules of this file:
- A thread gives the baton away inside `step` and nowhere else, so that all between two steps is atomic.
- Time is the baton's, too: it creeps with each step, and jumps where everybody sleeps.
- The world's end is a BaseException: no `except Exception` of the product may keep a thread alive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """This worker is dead: it can touch nothing any more."""


class Halt(BaseException):
    """This world is over, be it that something in it is wrong."""


class SimulatedClock:
    """Implements `ports.Clock`; only the world moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Actor:
    """Somebody who polls: a worker's thread, or the main one while all is quiet."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gate = threading.Lock()
        self.gate.acquire()
        self.wake_at = 0.0
        self.dead = False
        self.done = False
        self.polling = ""  # the account, "" between two polls
        self.poll = 0  # the poll's number in this world
        self.steps = 0  # of this poll
        self.draining = False


class Baton:
    """Hands one baton around.

    Args:
        clock: moves on where all sleep.
        rng: chooses who is next.
        stay: how likely the holder keeps it at a step.
    """

    def __init__(self, clock: SimulatedClock, rng: Random, *, stay: float) -> None:
        self.halted = False
        self.crash: BaseException | None = None
        self._clock = clock
        self._rng = rng
        self._stay = stay
        self._actors: list[Actor] = []
        self._main = threading.Lock()

    def run(self, jobs: Sequence[tuple[Actor, Callable[[], None]]]) -> None:
        """Let all of them run to their ends, in turns."""
        self._actors = [actor for actor, _ in jobs]
        threads = [threading.Thread(target=self._body, args=job, daemon=True) for job in jobs]
        self._main.acquire()
        for thread in threads:
            thread.start()
        self._pass_on()
        self._main.acquire()
        self._main.release()
        for thread in threads:
            thread.join()
        self._actors = []
        if self.crash is not None:
            raise self.crash

    def step(self, actor: Actor) -> None:
        """A point where somebody else may go on; comes back when it is this one's turn again."""
        if actor not in self._actors:
            self._clock.seconds = max(self._clock.seconds, actor.wake_at)  # alone in a quiet world
            return
        if actor.wake_at <= self._clock.seconds and self._rng.random() < self._stay:
            return
        following = self._choose()
        if following is not actor:
            following.gate.release()
            actor.gate.acquire()
        if self.halted:
            raise Halt

    def _choose(self) -> Actor:
        actors = [actor for actor in self._actors if not actor.done]
        if self.halted:
            return actors[0]
        ready = [actor for actor in actors if actor.wake_at <= self._clock.seconds]
        if not ready:
            first = min(actors, key=lambda actor: actor.wake_at)
            self._clock.seconds = first.wake_at
            return first
        return ready[0] if len(ready) == 1 else self._rng.choice(ready)

    def _body(self, actor: Actor, job: Callable[[], None]) -> None:
        actor.gate.acquire()
        try:
            if not self.halted:
                job()
        except Halt:
            self.halted = True
        except BaseException as error:  # noqa: BLE001  # raised again by `run`, in the main thread
            self.crash, self.halted = error, True
        actor.done = True
        self._pass_on()

    def _pass_on(self) -> None:
        if all(actor.done for actor in self._actors):
            self._main.release()
        else:
            self._choose().gate.release()
