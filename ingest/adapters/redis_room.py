"""Room in the event streams: what is freed, how much is taken, and who holds the rest.

Rules of this room:
- Only what every group acknowledged is freed, in bounded pieces, so that Redis is never busy for long.
- `events:bytes` is the measure. Entries that somebody else took out are noticed by how the stream stands (how many are
  gone, which is the first), and then it is counted anew.
- A shard that fails is passed by; only if all fail, the failure is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ingest.adapters.redis_client import Client, Keys, lua, translated
from ingest.errors import IngestError
from ingest.ports import ConsumerGroup

_PIECE_ENTRIES = 250  # some milliseconds of Redis
_PIECE_BYTES = 1 << 20
_PIECES = 200
_PIECES_IN_VAIN = 20  # where very many entries wait; the next call goes on from there
_PIECES_FOR_A_COMMIT = 10
_RECOUNT_EVERY_S = 60.0  # if it takes more than one piece
_FIRST = "0-0"
T = TypeVar("T")


class StreamRoom:
    """Makes room and measures it.

    Args:
        client, keys: where the streams lie.
        max_bytes: the cap of each.
        retention_s: age from which acknowledged entries go.
    """

    def __init__(self, client: Client, keys: Keys, *, max_bytes: int, retention_s: float) -> None:
        self._client = client
        self._keys = keys
        self._max_bytes = max_bytes
        self._retention_ms = int(retention_s * 1000)
        self._trim = client.register_script(lua("redis_trim"))
        self._count = client.register_script(lua("redis_recount"))
        self._behind: dict[int, str] = {}  # where trimming goes on, if it was not through; losing it does no harm
        self._counted: dict[int, float] = {}

    def trim(self) -> int:
        return sum(self._each(self._trim_shard).values())

    def make_room(self, account_id: str) -> int:
        """Free what can be freed now, for a commit that found its stream full; how many entries went."""
        return self._free(self._keys.shard_of(account_id), _PIECES_FOR_A_COMMIT)

    def pressure(self) -> dict[int, float]:
        def share(shard: int) -> float:
            with translated(self._client):
                return int(self._client.get(self._keys.of_shard("events:bytes", shard)) or 0) / self._max_bytes

        return self._each(share)

    def groups(self) -> list[ConsumerGroup]:
        found = []
        for shard in range(self._keys.shards):
            stream = self._keys.of_shard("events", shard)
            with translated(self._client):
                if self._client.exists(stream):
                    seconds, micros = self._client.time()
                    groups: Any = self._client.xinfo_groups(stream)
                    found += [self._group(shard, stream, group, seconds + micros / 1e6) for group in groups]
        return sorted(found, key=lambda group: (group.shard, group.name))

    def remove_group(self, name: str) -> int:
        removed = 0
        for shard in range(self._keys.shards):
            stream = self._keys.of_shard("events", shard)
            with translated(self._client):
                if self._client.exists(stream):
                    removed += int(self._client.xgroup_destroy(stream, name))
        return removed

    def _group(self, shard: int, stream: str, group: dict[str, Any], now: float) -> ConsumerGroup:
        client: Any = self._client  # its types don't know what these commands answer
        name, pending, behind = group["name"], int(group["pending"]), group.get("lag")
        idle_ms = [int(consumer["idle"]) for consumer in client.xinfo_consumers(stream, name)]
        octets = int(client.get(self._keys.of_shard("events:bytes", shard)) or 0)
        length = int(client.xlen(stream))
        waiting = length if behind is None else min(length, pending + int(behind))
        first = [client.xrange(stream, min=b"(" + group["last-delivered-id"], count=1)]
        if pending:
            first.append(client.xrange(stream, min=client.xpending(stream, name)["min"], count=1))
        arrived_ms = [int(entries[0][0].partition(b"-")[0]) for entries in first if entries]
        return ConsumerGroup(
            shard=shard,
            name=name.decode("utf-8", "replace"),
            pending=pending,
            behind=None if behind is None else int(behind),
            waiting_bytes=octets * waiting // length if length else 0,
            idle_s=min(idle_ms) / 1000 if idle_ms else None,
            oldest_s=max(0.0, now - min(arrived_ms) / 1000) if arrived_ms else None,
        )

    def _trim_shard(self, shard: int) -> int:
        self._recount(shard)
        return self._free(shard, _PIECES)

    def _free(self, shard: int, pieces: int) -> int:
        gone = vain = 0
        keys = self._stream_keys(shard)
        for _ in range(pieces):
            if vain == _PIECES_IN_VAIN:
                break
            behind = self._behind.get(shard, _FIRST)
            with translated(self._client):
                freed, further = self._trim(
                    keys=keys, args=[self._max_bytes // 2, self._retention_ms, _PIECE_ENTRIES, _PIECE_BYTES, behind]
                )
            gone += int(freed)
            vain += not freed
            if not further:
                self._behind.pop(shard, None)
                if behind == _FIRST:
                    break
                continue  # it began in the middle: once more, from the oldest on
            self._behind[shard] = further.decode()
        return gone

    def _recount(self, shard: int) -> None:
        """Nothing, where the stream stands as trimming left it."""
        at = self._count_piece(shard, (b"", 0, b""))
        if not at[0] or self._counted.get(shard, 0.0) > time.monotonic():
            return  # consumers that take entries out themselves would have a long stream counted all the time
        self._counted[shard] = time.monotonic() + _RECOUNT_EVERY_S
        while at[0]:
            at = self._count_piece(shard, at)

    def _count_piece(self, shard: int, at: tuple[bytes, int, bytes]) -> tuple[bytes, int, bytes]:
        with translated(self._client):
            behind, octets, standing = self._count(
                keys=self._stream_keys(shard), args=[_PIECE_ENTRIES, _PIECE_BYTES, *at]
            )
        return behind, octets, standing

    def _stream_keys(self, shard: int) -> list[str]:
        return [self._keys.of_shard(kind, shard) for kind in ("events", "events:bytes", "events:standing")]

    def _each(self, ask: Callable[[int], T]) -> dict[int, T]:
        answers: dict[int, T] = {}
        failure: IngestError | None = None
        for shard in range(self._keys.shards):
            try:
                answers[shard] = ask(shard)
            except IngestError as error:
                failure = error
        if failure is not None and not answers:
            raise failure
        return answers
