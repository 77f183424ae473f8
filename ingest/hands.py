"""Steps of one message that others do, while the caller waits for them and keeps its lease.

Rules of this room:
- The lease is kept in the caller's thread alone, which beats every second while it waits. A job says when something
  moves, and where nothing has for longer than any wait of its own lasts, the caller beats no more: who stalls loses it.
- The first failure ends all: no job begins behind it, those under way are told at their next move, and it is raised in
  the caller's thread once all of them are over. Only what `beat` raises is raised at once.
- Without others everything runs in order, in the caller's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Self, TypeVar

from ingest.errors import IngestError

_LOOK_S = 1.0  # between two beats

T = TypeVar("T")
Move = Callable[[], None]
Job = Callable[[Move], T]


class Hands:
    """Runs jobs, in order of their coming; made by `Crew.hands`.

    Args:
        pool: who does them; None for the caller's thread alone.
        count: how many at once.
        beat: called in the caller's thread; what it raises ends all.
        patience_s: after which without a move it is called no more.
    """

    def __init__(self, pool: Executor | None, count: int, beat: Move, patience_s: float) -> None:
        self._pool = pool
        self._count = count
        self._beat = beat
        self._patience_s = patience_s
        self._moved_at = time.monotonic()
        self._stopped = False
        self._one_ended = threading.Event()
        self._pending: dict[Future[object], None] = {}  # in order

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is under way."""
        try:
            if error is None:
                self._wait(until_fewer_than=1)
        finally:
            self._stopped = True
            for future in self._pending:
                future.cancel()
            if error is None or isinstance(error, Exception):  # Ctrl-C waits for nobody
                self._see_off()

    def do(self, job: Job[T]) -> Future[T]:
        """Begin a job as soon as a hand is free; it is given what to call when something moves."""
        future: Future[T]
        if self._pool is None:
            future = Future()
            future.set_result(job(self._beat))
            return future
        self._wait(until_fewer_than=self._count)
        self._moved_at = time.monotonic()
        future = self._pool.submit(job, self._move)
        future.add_done_callback(lambda _: self._one_ended.set())
        self._pending[future] = None  # type: ignore[index]  # a Future of anything is waited for
        return future

    def _move(self) -> None:
        if self._stopped:
            raise IngestError("another step of this message failed")
        self._moved_at = time.monotonic()

    def _keep(self) -> None:
        if time.monotonic() - self._moved_at < self._patience_s:
            self._beat()

    def _wait(self, *, until_fewer_than: int) -> None:
        while True:
            self._one_ended.clear()
            for future in [future for future in self._pending if future.done()]:
                del self._pending[future]
                future.result()
            self._keep()
            if len(self._pending) < until_fewer_than:
                return
            self._one_ended.wait(_LOOK_S)

    def _see_off(self) -> None:
        """Wait until the others are over; where the lease is lost they end by themselves, and harm nothing."""
        while not all(future.done() for future in self._pending):
            self._keep()
            self._one_ended.wait(_LOOK_S)
            self._one_ended.clear()


class Crew:
    """Lends hands. Shared by all polls of a process.

    Args:
        pool: the threads, enough for all that is lent at once; None where all is done in the caller's.
        at_once: how many steps of one message at once.
        aside: whether even a single step is done by another, since it may wait for another machine.
        patience_s: longer than any wait in which a job does not move.
    """

    def __init__(
        self, pool: Executor | None = None, *, at_once: int = 1, aside: bool = True, patience_s: float = 300
    ) -> None:
        self._pool = pool
        self._at_once = at_once
        self._aside = aside
        self._patience_s = patience_s

    def hands(self, beat: Move, *, steps: int = 1) -> Hands:
        """For so many steps; `beat` is called in the caller's thread while they are waited for."""
        count = min(self._at_once, steps)
        return Hands(self._pool if self._aside or count > 1 else None, count, beat, self._patience_s)

    def wait(self, beat: Move, job: Job[T]) -> T:
        """One step."""
        with self.hands(beat) as hands:
            done = hands.do(job)
        return done.result()
