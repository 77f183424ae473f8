"""Which events a group has handled: a key each in Redis, beside the stream, with a time to live.

Rules of this file:
- Each step is one script: mark and entry agree.
"""

from __future__ import annotations

from ingest.adapters.redis_client import Client, Keys, lua, translated
from ingest.adapters.redis_group import without_group
from ingest.models import StreamEntry
from ingest.ports import Turn


class RedisHandled:
    """Implements `ports.HandledEvents`.

    Args:
        client, keys: where the streams lie.
        group, consumer: as those of the `RedisGroup` that reads.
        remember_s: how long an event counts as handled.
    """

    def __init__(self, client: Client, keys: Keys, *, group: str, consumer: str, remember_s: float) -> None:
        self._client = client
        self._keys = keys
        self._group = group
        self._consumer = consumer
        self._remember_ms = max(1, int(remember_s * 1000))
        self._begin = client.register_script(lua("redis_begin"))
        self._finish = client.register_script(lua("redis_finish"))
        self._give_up = client.register_script(lua("redis_give_up"))

    def begin(self, entry: StreamEntry, for_s: float) -> Turn:
        answer = b"lost"
        with without_group(), translated(self._client):
            answer = self._begin(
                keys=self._both(entry), args=[self._group, self._consumer, entry.position, max(1, int(for_s * 1000))]
            )
        return Turn(answer.decode())

    def finish(self, entry: StreamEntry) -> None:
        with translated(self._client):
            self._finish(keys=self._both(entry), args=[self._group, entry.position, self._remember_ms])

    def give_up(self, entry: StreamEntry) -> None:
        with translated(self._client):
            self._give_up(keys=self._both(entry)[1:], args=[self._consumer])

    def _both(self, entry: StreamEntry) -> list[str]:
        """Stream and mark; of one shard, since all events of an account are."""
        of = self._keys.of_shard
        return [of("events", entry.shard), of(f"handled:{self._group}:{entry.event.id}", entry.shard)]
