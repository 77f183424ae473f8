"""Dead letters in Redis: a stream beside each shard's events, one for each group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ingest.adapters.redis_client import Client, Keys, lua, translated
from ingest.errors import StateFull
from ingest.models import OutgoingEvent
from ingest.ports import DeadLetter

_PIECE = 10  # an event may be megabytes
_GONE, _FULL = 0, 2


class RedisDeadLetters:
    """Implements `ports.DeadLetters`.

    Args:
        client, keys: where they lie.
        group: whose they are.
        max_bytes: the cap of a shard's stream.
    """

    def __init__(self, client: Client, keys: Keys, *, group: str, max_bytes: int) -> None:
        self._client = client
        self._keys = keys
        self._group = group
        self._max_bytes = max_bytes
        self._revive = client.register_script(lua("redis_revive"))

    def all(self) -> Iterator[DeadLetter]:
        lasts = [self._last(shard) for shard in range(self._keys.shards)]
        for shard, last in enumerate(lasts):
            if last:
                yield from self._of(shard, last)

    def retry(self, letter: DeadLetter) -> bool:
        keys = [
            self._key(letter.shard),
            *(self._keys.of_shard(kind, letter.shard) for kind in ("events", "events:bytes")),
        ]
        with translated(self._client):
            done = int(self._revive(keys=keys, args=[letter.position, self._max_bytes]))
        if done == _FULL:
            raise StateFull(f"the stream of shard {letter.shard} is full", todo="let consumers catch up")
        return done != _GONE

    def discard(self, letter: DeadLetter) -> bool:
        with translated(self._client):
            return bool(self._client.xdel(self._key(letter.shard), letter.position))

    def _last(self, shard: int) -> str:
        """So that one that is retried and refused again meanwhile does not come twice."""
        with translated(self._client):
            entries: Any = self._client.xrevrange(self._key(shard), count=1)
        return entries[0][0].decode() if entries else ""

    def _of(self, shard: int, last: str) -> Iterator[DeadLetter]:
        after = "-"
        while True:
            with translated(self._client):
                entries: Any = self._client.xrange(self._key(shard), min=after, max=last, count=_PIECE)
            for position, fields in entries:
                yield _letter(shard, position.decode(), fields)
                after = f"({position.decode()}"
            if len(entries) < _PIECE:
                return

    def _key(self, shard: int) -> str:
        return self._keys.of_shard(f"dead:{self._group}", shard)


def _letter(shard: int, position: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    id_, type_, reason = (fields.get(name, b"").decode("utf-8", "replace") for name in (b"id", b"type", b"reason"))
    event = OutgoingEvent(id_, type_, fields.get(b"event", b""))
    return DeadLetter(shard, position, event, reason, int(position.partition("-")[0]) / 1000)
