"""One consumer of a consumer group in Redis, over all shards.

Rules of this file:
- Waiting is done in Redis (BLOCK), never by sleeping: on one server for all shards in one command. In a Redis Cluster
  no command takes keys of two shards, so each is asked in turn, and waited for during a share of `_ROUND_S`.
- A group that is gone (removed, or lost with its Redis) is made again, from the oldest entry on.
- A step that needs the entry's owner is one script.
- Events of a shard that nobody reads would wait for ever: they are looked for before a group is made, and each minute.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from ingest.adapters.redis_client import Client, Keys, is_cluster, lua, node_of, translated
from ingest.errors import ConfigurationError, IngestError, StateRefused
from ingest.models import OutgoingEvent, StreamEntry
from ingest.ports import Delivery

_BLOCK_S = 1.0
_ROUND_S = 0.25
_START = b"0-0"
_PIECES = 10  # of about 1,000 pending entries each, that are looked at in a shard for one claim
_BEYOND = 16  # shards that are looked at
_LOOK_BEYOND_EVERY_S = 60.0
T = TypeVar("T")


class RedisGroup:
    """Implements `ports.EventGroup`.

    Args:
        client, keys: where the streams lie.
        group, consumer: their names; no two that read at a time are the same consumer.
        from_start: a group that is new begins with the oldest entry, else with the next one.
        timeout_s: of the client; no wait in Redis comes near it.
        shards: whose streams it reads; None: all.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        *,
        group: str,
        consumer: str,
        from_start: bool,
        timeout_s: float,
        shards: Sequence[int] | None = None,
    ) -> None:
        self._client = client
        self._keys = keys
        self._group = group
        self._consumer = consumer
        self._begin = "0" if from_start else "$"
        self._of = range(keys.shards) if shards is None else tuple(shards)
        streams = [self._stream(shard) for shard in self._of]
        apart = is_cluster(client)
        self._together = [[stream] for stream in streams] if apart else [streams]  # what one command may read
        self._block_s = min(_ROUND_S / len(streams) if apart else _BLOCK_S, timeout_s / 2)
        self._shards = {stream.encode(): shard for shard, stream in zip(self._of, streams, strict=True)}
        self._beyond_at = 0.0
        self._claimed: list[str | bytes] = [_START] * keys.shards  # how far, by shard
        self._claim = client.register_script(lua("redis_claim"))
        self._keep = client.register_script(lua("redis_keep"))
        self._release = client.register_script(lua("redis_release"))
        self._bury = client.register_script(lua("redis_bury"))
        self._leave = client.register_script(lua("redis_leave"))

    def read(self, count: int, timeout_s: float) -> list[StreamEntry]:
        until = time.monotonic() + timeout_s
        found = self._look(count, 0) if len(self._together) > 1 or not timeout_s else []
        while not found and (left_s := until - time.monotonic()) > 0:
            found = self._look(count, max(1, int(min(self._block_s, left_s) * 1000)))
        return found

    def claim(self, count: int, idle_s: float, after: str = "") -> list[Delivery]:
        found: list[Delivery] = []
        for shard in self._of:
            at: str | bytes = f"({after}" if after else self._claimed[shard]
            for piece in itertools.count():
                if len(found) == count or (piece == _PIECES and not after):
                    break
                arguments = [self._group, self._consumer, int(idle_s * 1000), count - len(found), at]
                behind, entries = self._in_group(self._claim_piece(shard, arguments))
                found += [
                    Delivery(
                        _entry(shard, position, dict(zip(fields[::2], fields[1::2], strict=True))), int(deliveries)
                    )
                    for position, deliveries, fields in entries
                ]
                at = behind
                if at == _START:
                    break
            if not after:
                self._claimed[shard] = at  # the next claim goes on there: what others work on is not seen each time
        return found

    def keep(self, entries: Sequence[StreamEntry]) -> list[StreamEntry]:
        kept: set[tuple[int, str]] = set()
        for shard, positions in _by_shard(entries).items():
            with without_group(), translated(self._client):
                ours = self._keep(keys=[self._stream(shard)], args=[self._group, self._consumer, *positions])
                kept |= {(shard, position.decode()) for position in ours}
        return [entry for entry in entries if (entry.shard, entry.position) in kept]

    def release(self, entries: Sequence[StreamEntry]) -> None:
        for shard, positions in _by_shard(entries).items():
            with without_group(), translated(self._client):
                self._release(keys=[self._stream(shard)], args=[self._group, self._consumer, *positions])

    def again(self, positions: Sequence[str]) -> list[StreamEntry]:
        [shard] = self._of
        stream = self._stream(shard)
        with translated(self._client), node_of(self._client, stream).pipeline(transaction=False) as flight:
            for position in positions:
                flight.xrange(stream, position, position)
            found = [_entry(shard, *each) for [*reply] in flight.execute() for each in reply]
            gone = set(positions) - {entry.position for entry in found}
            if gone:
                self._client.xack(stream, self._group, *gone)
        return found

    def acknowledge(self, entries: Sequence[StreamEntry]) -> None:
        for shard, positions in _by_shard(entries).items():
            with translated(self._client):
                self._client.xack(self._stream(shard), self._group, *positions)

    def bury(self, entry: StreamEntry, reason: str) -> bool:
        keys = [self._stream(entry.shard), self._keys.of_shard(f"dead:{self._group}", entry.shard)]
        event = entry.event
        which = [self._group, self._consumer, entry.position]
        buried = 0
        with without_group(), translated(self._client):
            buried = self._bury(keys=keys, args=[*which, reason, event.id, event.type, event.json])
        return bool(buried)

    def close(self) -> None:
        with suppress(IngestError), translated(self._client):  # a name that is left behind does no harm
            for shard in self._of:
                self._leave(keys=[self._stream(shard)], args=[self._group, self._consumer])

    def _look(self, count: int, block_ms: int) -> list[StreamEntry]:
        """What is there, in all shards; where it may wait, from the first that has something."""
        found: list[StreamEntry] = []
        for streams in self._together:
            room = max(1, (count - len(found)) // len(streams))
            found += self._in_group(self._reading(streams, room, block_ms))
            if len(found) >= count or (found and block_ms):
                break
        self._together.append(self._together.pop(0))  # no shard is first for ever
        return found

    def _reading(self, streams: list[str], count: int, block_ms: int) -> Callable[[], list[StreamEntry]]:
        def read() -> list[StreamEntry]:
            reply: Any = self._client.xreadgroup(
                self._group, self._consumer, dict.fromkeys(streams, ">"), count=count, block=block_ms or None
            )
            return [
                _entry(self._shards[stream], position, fields)
                for stream, entries in reply or ()
                for position, fields in entries
            ]

        return read

    def _claim_piece(self, shard: int, arguments: list[Any]) -> Callable[[], tuple[bytes, list[Any]]]:
        return lambda: self._claim(keys=[self._stream(shard)], args=arguments)

    def _in_group(self, ask: Callable[[], T]) -> T:
        """What Redis answers once the group is there. Asked first: a full one refuses to make even what exists."""
        if time.monotonic() >= self._beyond_at:
            self._look_beyond()
            self._beyond_at = time.monotonic() + _LOOK_BEYOND_EVERY_S
        try:
            with translated(self._client):
                answer = ask()
        except StateRefused as error:
            if not _says_no_group(error):
                raise
            self._make(self._begin)
            with translated(self._client):
                answer = ask()
        self._begin = "0"  # should it be lost
        return answer

    def _look_beyond(self) -> None:
        """By length: a consumer that was told of too many shards left empty streams."""
        first = self._keys.shards
        with translated(self._client):
            told = [shard for shard in range(first, first + _BEYOND) if self._client.xlen(self._stream(shard))]
        if told:
            found = f"there are events in {self._stream(told[-1])}"
            least = f"as MAILSLUICE_SHARDS says, {told[-1] + 1} or more"
            raise ConfigurationError([f"shards: {first} are too few, {found}: {least}"])

    def _make(self, begin: str) -> None:
        for shard in self._of:
            try:
                with translated(self._client):
                    self._client.xgroup_create(self._stream(shard), self._group, id=begin, mkstream=True)
            except StateRefused as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def _stream(self, shard: int) -> str:
        return self._keys.of_shard("events", shard)


def _entry(shard: int, position: bytes, fields: dict[bytes, bytes]) -> StreamEntry:
    try:
        event = OutgoingEvent(fields[b"id"].decode(), fields[b"type"].decode(), fields[b"event"])
    except (KeyError, UnicodeDecodeError):  # somebody else's: it stops no reader
        id_, type_ = (fields.get(name, b"").decode("utf-8", "replace") for name in (b"id", b"type"))
        event = OutgoingEvent(id_, type_, fields.get(b"event", b""))
    return StreamEntry(shard, position.decode(), event)


def _by_shard(entries: Sequence[StreamEntry]) -> dict[int, list[str]]:
    positions: dict[int, list[str]] = {}
    for entry in entries:
        positions.setdefault(entry.shard, []).append(entry.position)
    return positions


@contextmanager
def without_group() -> Iterator[None]:
    """Ends the block where the group is gone: nothing is anybody's then."""
    try:
        yield
    except StateRefused as error:
        if not _says_no_group(error):
            raise


def _says_no_group(error: StateRefused) -> bool:
    """Also when the stream went away under a reader that waited for it."""
    return "NOGROUP" in str(error) or "UNBLOCKED" in str(error)
