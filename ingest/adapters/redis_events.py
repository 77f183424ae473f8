"""The event stream in Redis: one stream a shard, entries with the fields `id`, `type` and `event`.

Rules of this room:
- Reading waits in Redis (BLOCK), at most a second at a time, so that a reader can stop.
- With a group an entry is acknowledged only when the reader asks for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ingest.adapters.redis_client import Client, Keys, translated
from ingest.adapters.redis_room import StreamRoom
from ingest.models import OutgoingEvent, StreamEntry
from ingest.ports import ConsumerGroup

_COUNT = 100


class RedisEvents:
    """Implements `ports.EventLog`."""

    def __init__(self, client: Client, keys: Keys, *, timeout_s: float, max_bytes: int, retention_s: float) -> None:
        self._room = StreamRoom(client, keys, max_bytes=max_bytes, retention_s=retention_s)
        self._block_s = min(1.0, timeout_s / 2)
        self._client = client
        self._keys = keys

    def length(self) -> int:
        with translated(self._client):
            return sum(int(self._client.xlen(stream)) for stream in self._streams())

    def trim(self) -> int:
        return self._room.trim()

    def pressure(self) -> dict[int, float]:
        return self._room.pressure()

    def groups(self) -> list[ConsumerGroup]:
        return self._room.groups()

    def remove_group(self, name: str) -> int:
        return self._room.remove_group(name)

    def tail(
        self, *, from_start: bool, group: str | None, consumer: str, timeout_s: float | None
    ) -> Iterator[StreamEntry | None]:
        positions = {stream: self._start(stream, group, from_start=from_start) for stream in self._streams()}
        block_s = self._block_s if timeout_s is None else min(self._block_s, timeout_s)
        block_ms = max(1, int(block_s * 1000) // len(positions))
        quiet_since = time.monotonic()
        while True:
            found = False
            for shard, stream in enumerate(self._streams()):
                for position, fields in self._read(stream, positions[stream], group, consumer, block_ms):
                    found = True
                    if not fields:  # a pending entry that was trimmed meanwhile
                        self._acknowledge(stream, group, position)
                        continue
                    event = OutgoingEvent(fields[b"id"].decode(), fields[b"type"].decode(), fields[b"event"])
                    yield StreamEntry(shard, position, event)
                    quiet_since = time.monotonic()
                    if group is None:
                        positions[stream] = position
                    self._acknowledge(stream, group, position)
            if found:
                continue
            if group is not None and ">" not in positions.values():
                positions = dict.fromkeys(positions, ">")  # what was left pending is done: only new ones now
                continue
            if timeout_s is not None and time.monotonic() - quiet_since >= timeout_s:
                return
            yield None

    def _acknowledge(self, stream: str, group: str | None, position: str) -> None:
        if group is not None:
            with translated(self._client):
                self._client.xack(stream, group, position)

    def _start(self, stream: str, group: str | None, *, from_start: bool) -> str:
        if group is not None:
            try:
                with translated(self._client):
                    self._client.xgroup_create(stream, group, id="0" if from_start else "$", mkstream=True)
            except Exception as error:
                if "BUSYGROUP" not in str(error):
                    raise
            return "0"  # what this consumer left pending comes first
        if from_start:
            return "0"
        try:
            with translated(self._client):
                return str(self._client.xinfo_stream(stream)["last-generated-id"].decode())
        except Exception as error:
            if "no such key" not in str(error):
                raise
            return "0"

    def _read(
        self, stream: str, position: str, group: str | None, consumer: str, block_ms: int
    ) -> list[tuple[str, dict[bytes, bytes]]]:
        with translated(self._client):
            reply: Any
            if group is None:
                reply = self._client.xread({stream: position}, count=_COUNT, block=block_ms)
            else:
                reply = self._client.xreadgroup(group, consumer, {stream: position}, count=_COUNT, block=block_ms)
        entries = reply[0][1] if reply else []
        return [(position.decode(), fields or {}) for position, fields in entries]

    def _streams(self) -> list[str]:
        return [self._keys.of_shard("events", shard) for shard in range(self._keys.shards)]
