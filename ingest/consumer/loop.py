"""A consumer in both its forms: a loop over events, and a function that is called with each.

Rules of this file:
- A loop's event is done when the next one is asked for. A function's is done when it returns; when it raises, it is
  tried again, and what fails for good goes to the dead letters.
- An outage is no fault of the event: what says so (`TryLater`, an error of ours that says SOON) is tried without end.
- The first signal asks to stop, and the next one does what it did before.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from types import FrameType
from typing import Any

import tenacity

from ingest.consumer.events import Event, read_event
from ingest.consumer.patience import Patience, Stopped
from ingest.consumer.reader import Reader
from ingest.models import StreamEntry
from ingest.ports import Contents
from ingest.retry import soon

_LOG = logging.getLogger("ingest.consumer")
_FIRST_WAIT_S = 0.1


class TryLater(Exception):
    """Raised by a handler: what it needs is away. The event is tried again until that is back; no failure counts."""


class Consumer:
    """What `consume` makes. Iterate over it, or give it a function; `stop` ends either."""

    def __init__(
        self,
        open_reader: Callable[[threading.Event], tuple[Reader, Callable[[], None]]],
        contents: Contents,
        *,
        types: Collection[str] | None,
        attempts: int,
        signals: bool,
    ) -> None:
        self._open_reader = open_reader
        self._contents = contents
        self._types = types
        self._attempts = attempts
        self._signals = signals
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let it finish the event in hand, acknowledge, give the rest back, and end. From any thread or signal."""
        self._stopping.set()

    def __iter__(self) -> Iterator[Event]:
        with suppress(Stopped), closing(self._turns()) as turns:
            for reader, entry, event in turns:
                yield event
                reader.done(entry)

    def handle(self, function: Callable[[Event], object]) -> None:
        """Call it with each event, until stopped."""
        with suppress(Stopped), closing(self._turns()) as turns:
            for reader, entry, event in turns:
                try:
                    function(event)  # almost always that is all
                except Exception as error:  # noqa: BLE001 - whatever it raises
                    self._again(reader, entry, lambda: function(event), error)  # noqa: B023 - called here
                else:
                    reader.done(entry)

    def _again(self, reader: Reader, entry: StreamEntry, step: Callable[[], object], error: Exception) -> None:
        """Try what failed again, until it goes well, fails for good, or somebody else has it."""
        failures = 0 if _is_outage(error) else 1
        taken = False

        def once_more() -> Exception | None:
            nonlocal failures, taken
            taken = not reader.keep(entry)
            if not taken:
                try:
                    step()
                except Exception as failure:  # noqa: BLE001 - whatever it raises
                    failures += not _is_outage(failure)
                    return failure
            return None

        policy = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda failure: failure is not None),
            stop=lambda _state: failures >= self._attempts or self._stopping.is_set(),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=reader.longest_wait_s),
            sleep=tenacity.sleep_using_event(self._stopping),
            before_sleep=_say(entry),
            retry_error_callback=_last,
        )
        last: Exception | None = error
        if failures < self._attempts and not self._stopping.wait(_FIRST_WAIT_S):
            last = policy(once_more)
        if last is None:
            if not taken:
                reader.done(entry)
        elif failures >= self._attempts:
            reader.bury(entry, f"{type(last).__name__}: {last}", last)
        else:
            reader.give_back(entry)

    def _turns(self) -> Generator[tuple[Reader, StreamEntry, Event]]:
        with self._stopped_by_signals():
            reader, close = Patience(self._stopping)(lambda: self._open_reader(self._stopping))
            try:
                for entry in reader.entries():
                    if self._types is not None and entry.event.type not in self._types:
                        reader.done(entry)
                        continue
                    try:
                        event = read_event(entry.event.type, entry.event.json, self._contents)
                    except ValueError as error:
                        reader.bury(entry, str(error))
                    else:
                        yield reader, entry, event
            finally:
                try:
                    reader.close()
                finally:
                    close()
                    self._contents.close()

    @contextmanager
    def _stopped_by_signals(self) -> Iterator[None]:
        before: dict[int, Any] = {}  # whatever `signal` takes

        def on_signal(number: int, _frame: FrameType | None) -> None:
            self.stop()
            signal.signal(number, before.pop(number))

        if self._signals and threading.current_thread() is threading.main_thread():
            for number in map(int, (signal.SIGTERM, signal.SIGINT)):
                before[number] = signal.getsignal(number) or signal.SIG_DFL
                signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_outage(error: BaseException) -> bool:
    return isinstance(error, TryLater) or soon(error)


def _last(state: tenacity.RetryCallState) -> Exception | None:
    """How the last try failed."""
    failure: Exception | None = state.outcome.result() if state.outcome else None
    return failure


def _say(entry: StreamEntry) -> Callable[[tenacity.RetryCallState], None]:
    def say(state: tenacity.RetryCallState) -> None:
        failure = _last(state)
        _LOG.warning("event %s: %s: %s; trying again", entry.event.id, type(failure).__name__, failure)

    return say
