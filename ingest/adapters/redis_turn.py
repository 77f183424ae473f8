"""Whose turn it is to relay a shard: a key with a TTL, so that a dead relay's turn ends by itself."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import suppress

from ingest.adapters.redis_client import Client, Keys, lua, translated
from ingest.errors import IngestError


class RedisTurn:
    """Implements `ports.ShardTurn`.

    A thread extends it at each third of its time, however long its owner sends or rests; it ends with the turn.

    Args:
        client, keys: where the key lies.
        group, shard: what it is about.
        ttl_s: after which a dead relay's turn is over.
    """

    def __init__(self, client: Client, keys: Keys, *, group: str, shard: int, ttl_s: float) -> None:
        self._client = client
        self._key = keys.of_shard(f"relay:{group}", shard)
        self._token = secrets.token_hex(16)
        self._ttl_s = ttl_s
        self._until = 0.0
        self._over = threading.Event()
        self._lock = threading.Lock()  # so that none is extended that was given back
        self._take = client.register_script(lua("redis_turn"))

    def take(self) -> bool:
        if self.ours():
            return True
        self._over.set()  # whoever kept an earlier one
        with self._lock:
            if not self._extended():
                return False
            self._over = threading.Event()
            threading.Thread(target=self._keep, args=[self._over], name="turn", daemon=True).start()
        return True

    def ours(self) -> bool:
        return time.monotonic() < self._until

    def give_back(self) -> None:
        self._over.set()
        with self._lock:
            self._until = 0.0
            with suppress(IngestError), translated(self._client):
                self._take(keys=[self._key], args=[self._token, 0])

    def _keep(self, over: threading.Event) -> None:
        while not over.wait(self._ttl_s / 3):
            with self._lock:
                if over.is_set() or not self.ours():
                    return
                with suppress(IngestError):  # the next third is another chance
                    if not self._extended():
                        return

    def _extended(self) -> bool:
        now = time.monotonic()  # as it was before we asked: never later than Redis has it
        with translated(self._client):
            ours = bool(self._take(keys=[self._key], args=[self._token, int(self._ttl_s * 1000)]))
        self._until = now + self._ttl_s if ours else 0.0
        return ours
