"""What a simulated server did, in figures.

Rules of this room:
- Counted, never quoted: no argument of a command is kept, so no password can be. Unknown verbs count as "?".
- Bounded: per-message figures stop at `MAX_MESSAGES` different messages.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

MAX_MESSAGES = 200_000


@dataclass(frozen=True, slots=True)
class Figures:
    """A consistent snapshot.

    `sessions` counts connections that were greeted, `turned_away` those over the limit, `flights` the times that the
    server answered after it had waited for input (the greeting is one), `bytes_sent` octets of replies, before any
    encryption. `commands` is by verb; `retrieved` (asked for and handed to the connection) and `deleted` are by
    user and UIDL.
    """

    sessions: int
    turned_away: int
    logins: int
    refused_logins: int
    flights: int
    bytes_sent: int
    commands: Mapping[str, int]
    retrieved: Mapping[tuple[str, str], int]
    deleted: Mapping[tuple[str, str], int]


class Log:
    """Collects the figures from all connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._commands: Counter[str] = Counter()
        self._retrieved: Counter[tuple[str, str]] = Counter()
        self._deleted: Counter[tuple[str, str]] = Counter()

    def add(self, what: str, count: int = 1) -> None:
        """Count one of the plain figures, by its field's name."""
        with self._lock:
            self._counts[what] += count

    def command(self, verb: str) -> None:
        with self._lock:
            self._commands[verb] += 1

    def retrieved(self, user: str, uidl: str) -> None:
        self._per_message(self._retrieved, (user, uidl))

    def deleted(self, user: str, uidl: str) -> None:
        self._per_message(self._deleted, (user, uidl))

    def figures(self) -> Figures:
        """The figures as they are now."""
        with self._lock:
            return Figures(
                sessions=self._counts["sessions"],
                turned_away=self._counts["turned_away"],
                logins=self._counts["logins"],
                refused_logins=self._counts["refused_logins"],
                flights=self._counts["flights"],
                bytes_sent=self._counts["bytes_sent"],
                commands=dict(self._commands),
                retrieved=dict(self._retrieved),
                deleted=dict(self._deleted),
            )

    def _per_message(self, counter: Counter[tuple[str, str]], key: tuple[str, str]) -> None:
        with self._lock:
            if key in counter or len(counter) < MAX_MESSAGES:
                counter[key] += 1
