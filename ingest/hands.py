"""A few steps of one message at once.

Rules of this room:
- The lease is kept in the caller's thread alone: a job only says that something moved.
- The first failure ends all: no job begins behind it, those under way are told at their next move, and it is raised in
  the caller's thread once all of them are over.
- One hand is the caller's own: without others everything runs in order, in its thread.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from ingest.errors import IngestError

_LOOK_S = 1.0  # between two looks whether the lease is to be kept

T = TypeVar("T")
Job = Callable[[Callable[[], None]], T]


class Hands:
    """Runs jobs, in order of their coming.

    Args:
        count: how many at once; 1 for the caller's thread alone.
        beat: called in the caller's thread while something moves; what it raises ends all.
    """

    def __init__(self, count: int, beat: Callable[[], None]) -> None:
        self._count = count
        self._beat = beat
        self._moved = False
        self._stopped = False
        self._pending: dict[Future[object], None] = {}  # in order
        self._pool = ThreadPoolExecutor(count, "put") if count > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is under way."""
        if self._pool is None:
            return
        try:
            if error is None:
                self._wait(until_fewer_than=1)
        finally:
            self._stopped = True
            self._pool.shutdown(cancel_futures=True)

    def do(self, job: Job[T]) -> Future[T]:
        """Begin a job as soon as a hand is free; it is given what to call when something moves."""
        future: Future[T]
        if self._pool is None:
            future = Future()
            future.set_result(job(self._beat))
            return future
        self._wait(until_fewer_than=self._count)
        future = self._pool.submit(job, self._move)
        self._pending[future] = None  # type: ignore[index]  # a Future of anything is waited for
        return future

    def _move(self) -> None:
        if self._stopped:
            raise IngestError("another step of this message failed")
        self._moved = True

    def _wait(self, *, until_fewer_than: int) -> None:
        while True:
            for future in [future for future in self._pending if future.done()]:
                del self._pending[future]
                future.result()
            if self._moved:
                self._moved = False
                self._beat()
            if len(self._pending) < until_fewer_than:
                return
            concurrent.futures.wait(self._pending, _LOOK_S, FIRST_COMPLETED)
