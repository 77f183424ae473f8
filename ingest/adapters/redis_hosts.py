"""What is known of POP3 services, in Redis: a profile as JSON, one attempt at a time, refusals by account.

Rules of this room:
- All keys of a place carry one hash tag, since one step reads two of them.
- Most polls ask Redis nothing: a profile is kept in the process for a minute, and whether logins were refused there.
- A profile that is damaged is none: the next session learns it anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ingest.adapters.redis_client import Client, Keys, translated
from ingest.models import HostProfile, Place
from ingest.ports import Clock

PROFILE_TTL_S = 30 * 86_400
TRY_EVERY_S = 300
WINDOW_S = 6 * 3600  # longer than accounts wait between logins that are laid to the host, or they would never meet
REFUSED_CAP = 64
KEPT_S, ABSENT_KEPT_S, KEPT_PLACES = 60.0, 5.0, 4096

# KEYS 1 profile 2 refused
_READ = """#!lua flags=no-writes
return {redis.call('GET', KEYS[1]), redis.call('EXISTS', KEYS[2])}
"""
# KEYS 1 refused; ARGV 1 account 2 window s 3 cap. The oldest go first where there are more than the cap.
_REFUSED = """#!lua
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""


@dataclass(frozen=True, slots=True)
class _Known:
    """What this process knows of a place: its profile, whether logins were refused, and until when to believe that."""

    profile: HostProfile | None
    refused: bool
    until: float


class RedisHosts:
    """Implements `ports.Hosts`.

    Args:
        client, keys: where they lie.
        clock: says how old is what this process knows; windows are by Redis' own.
    """

    def __init__(self, client: Client, keys: Keys, clock: Clock) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._json = TypeAdapter(HostProfile)
        self._known: OrderedDict[Place, _Known] = OrderedDict()  # the one that was asked for longest ago comes first
        self._lock = threading.Lock()
        self._read = client.register_script(_READ)
        self._refused = client.register_script(_REFUSED)

    def profile(self, place: Place) -> HostProfile | None:
        with self._lock:
            known = self._known.get(place)
            if known is not None and self._clock.monotonic() < known.until:
                self._known.move_to_end(place)
                return known.profile
        with translated(self._client):
            value, refused = self._read(keys=[self._keys.of_place(place), self._keys.of_place(place, "refused")])
        read = self._decode(value)
        until = self._clock.monotonic() + (KEPT_S if read else ABSENT_KEPT_S)
        with self._lock:
            if self._known.get(place) is known:  # else somebody learnt meanwhile, and that is newer
                self._keep(place, _Known(read, bool(refused), until))
        return read

    def learn(self, place: Place, profile: HostProfile) -> None:
        with translated(self._client):
            self._client.set(self._keys.of_place(place), self._json.dump_json(profile), ex=PROFILE_TTL_S)
        with self._lock:
            known = self._known.get(place)
            refused = known is not None and known.refused
            self._keep(place, _Known(profile, refused, self._clock.monotonic() + KEPT_S))

    def may_try(self, place: Place) -> bool:
        with translated(self._client):
            return bool(self._client.set(self._keys.of_place(place, "try"), "1", nx=True, ex=TRY_EVERY_S))

    def refused(self, place: Place, account_id: str) -> int:
        self._note(place, refused=True)  # before: a step whose reply is lost may have been done
        with translated(self._client):
            return int(
                self._refused(keys=[self._keys.of_place(place, "refused")], args=[account_id, WINDOW_S, REFUSED_CAP])
            )

    def admitted(self, place: Place) -> None:
        with self._lock:
            known = self._known.get(place)
        if known is None or not known.refused:
            return
        with translated(self._client):
            self._client.delete(self._keys.of_place(place, "refused"))
        self._note(place, refused=False)

    def _note(self, place: Place, *, refused: bool) -> None:
        with self._lock:
            known = self._known.get(place) or _Known(None, refused=False, until=0.0)
            self._keep(place, replace(known, refused=refused))

    def _keep(self, place: Place, known: _Known) -> None:
        """Call with the lock."""
        self._known[place] = known
        self._known.move_to_end(place)
        if len(self._known) > KEPT_PLACES:
            self._known.popitem(last=False)

    def _decode(self, value: Any) -> HostProfile | None:  # noqa: ANN401  # what a script answers
        if value is None:
            return None
        try:
            return self._json.validate_json(value)
        except ValidationError:
            return None
