"""Refusals in Redis: a hash a shard, a field each, written by the step that commits the refusal's record.

Rules of this room:
- What is listed waits for a person. Nothing here expires, and nothing here changes what a poll does.
"""

from __future__ import annotations

from ingest.adapters.redis_client import Client, Keys, translated
from ingest.adapters.redis_state import decode_refusal, refusal_field
from ingest.models import Refusal

_COUNT = 1000


class RedisRefusals:
    """Implements `ports.Refusals`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def all(self, account_id: str | None = None) -> list[Refusal]:
        shards = range(self._keys.shards) if account_id is None else [self._keys.shard_of(account_id)]
        match = None if account_id is None else f"{account_id}:*"
        found: dict[bytes, Refusal | None] = {}
        for shard in shards:
            with translated(self._client):
                fields = self._client.hscan_iter(self._keys.of_shard("refusals", shard), match=match, count=_COUNT)
                found |= {field: decode_refusal(value) for field, value in fields}
        return sorted(filter(None, found.values()), key=lambda refusal: (refusal.time, refusal.id))

    def discard(self, refusal: Refusal) -> bool:
        with translated(self._client):
            key = self._keys.of_shard("refusals", self._keys.shard_of(refusal.account))
            return bool(self._client.hdel(key, refusal_field(refusal)))
