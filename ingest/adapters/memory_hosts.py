"""What is known of POP3 services, in memory, for unit tests: the same contract as in Redis."""

from __future__ import annotations

import threading

from ingest.models import HostProfile, Place
from ingest.ports import Clock

_TRY_EVERY_S = 300.0
_WINDOW_S = 6 * 3600.0


class MemoryHosts:
    """Implements `ports.Hosts`; `profiles` and `refusals` may be looked into."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tried: dict[Place, float] = {}
        self.profiles: dict[Place, HostProfile] = {}
        self.refusals: dict[Place, dict[str, float]] = {}

    def profile(self, place: Place) -> HostProfile | None:
        return self.profiles.get(place)

    def learn(self, place: Place, profile: HostProfile) -> None:
        self.profiles[place] = profile

    def may_try(self, place: Place) -> bool:
        with self._lock:
            now = self._clock.monotonic()
            if now - self._tried.get(place, float("-inf")) < _TRY_EVERY_S:
                return False
            self._tried[place] = now
            return True

    def refused(self, place: Place, account_id: str) -> int:
        with self._lock:
            now = self._clock.monotonic()
            lately = {id_: at for id_, at in self.refusals.get(place, {}).items() if now - at < _WINDOW_S}
            self.refusals[place] = lately | {account_id: now}
            return len(self.refusals[place])

    def admitted(self, place: Place) -> None:
        with self._lock:
            self.refusals.pop(place, None)
