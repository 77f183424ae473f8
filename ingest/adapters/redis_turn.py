"""Whose turn it is to relay a shard: a key with a TTL, so that a dead relay's turn ends by itself."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress

from ingest.adapters.redis_client import Client, Keys, lua, translated
from ingest.errors import IngestError


class RedisTurn:
    """Implements `ports.ShardTurn`.

    Args:
        client, keys: where the key lies.
        group, shard: what it is about.
        ttl_s: after which a dead relay's turn is over; it is extended from a third of that on.
    """

    def __init__(self, client: Client, keys: Keys, *, group: str, shard: int, ttl_s: float) -> None:
        self._client = client
        self._key = keys.of_shard(f"relay:{group}", shard)
        self._token = secrets.token_hex(16)
        self._ttl_s = ttl_s
        self._taken: float | None = None
        self._take = client.register_script(lua("redis_turn"))

    def take(self) -> bool:
        now = time.monotonic()
        if self._taken is not None and now - self._taken < self._ttl_s / 3:
            return True
        self._taken = None
        with translated(self._client):
            if self._take(keys=[self._key], args=[self._token, int(self._ttl_s * 1000)]):
                self._taken = now  # as it was before we asked: never later than Redis has it
        return self._taken is not None

    def give_back(self) -> None:
        self._taken = None
        with suppress(IngestError), translated(self._client):
            self._take(keys=[self._key], args=[self._token, 0])
