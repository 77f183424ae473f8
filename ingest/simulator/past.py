"""What a server remembers of a user from one session to the next.

Rules of this room:
- Kept whatever the behaviour is; only a behaviour that asks for it makes a difference.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from ingest.simulator.maildrop import Message


class Past:
    """One user's earlier sessions; safe to use from several threads.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions = 0
        self._listings = 0
        self._last_login: float | None = None
        self._last_end: float | None = None
        self._hidden: set[Message] = set()

    def ended_within(self, seconds: float | None) -> bool:
        """Whether a session ended less than so long ago; never within None."""
        with self._lock:
            return seconds is not None and self._last_end is not None and self._clock() - self._last_end < seconds

    def admit(self, delay_s: int | None) -> bool:
        """Note a login, unless the last one is less than `delay_s` ago."""
        with self._lock:
            now, last = self._clock(), self._last_login
            if delay_s is not None and last is not None and now - last < delay_s:
                return False
            self._last_login = now
            return True

    def begin(self) -> int:
        """A session begins; the how many-th it is, from 1."""
        with self._lock:
            self._sessions += 1
            return self._sessions

    def end(self) -> None:
        """A session that was logged in ends, either way."""
        with self._lock:
            self._last_end = self._clock()

    def count_listing(self) -> int:
        """A LIST, in whatever session; how many there were before."""
        with self._lock:
            self._listings += 1
            return self._listings - 1

    def hide(self, messages: Iterable[Message]) -> None:
        """These were retrieved in a session that ended with QUIT."""
        with self._lock:
            self._hidden.update(messages)

    def hidden(self) -> frozenset[Message]:
        """What `hide` was told."""
        with self._lock:
            return frozenset(self._hidden)
