"""What a consumer works with, from plain arguments: no settings, no environment.

Rules of this room:
- Nothing is connected before `join`, and no store is opened before its first object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ingest.adapters.clock import SystemClock
from ingest.adapters.memory_events import MemoryEvents
from ingest.adapters.memory_group import MemoryGroup
from ingest.adapters.memory_state import MemoryState
from ingest.adapters.redis_client import Client, Keys, connect, translated
from ingest.adapters.redis_group import RedisGroup
from ingest.adapters.redis_handled import RedisHandled
from ingest.adapters.stores import StoredContents
from ingest.errors import ConfigurationError
from ingest.models import OutgoingEvent, StreamEntry
from ingest.ports import Contents, EventGroup, HandledEvents

_TIMEOUT_S = 5.0
_FORMS = "not one of redis://, rediss://, redis+sentinel://, redis+cluster://"


@dataclass(frozen=True, slots=True)
class Joined:
    """A place in a consumer group; `handled` is None where nothing is to be remembered. `close` when done."""

    group: EventGroup
    handled: HandledEvents | None
    close: Callable[[], None]


def join(
    redis_url: str,
    *,
    key_prefix: str,
    shards: int,
    group: str,
    consumer: str,
    from_start: bool,
    remember_s: float | None,
) -> Joined:
    """Connect, and read as this consumer. ConfigurationError for a wrong URL, and if there are more shards."""
    try:
        client = connect(redis_url, _TIMEOUT_S)
    except ValueError:  # the client's own, which may repeat a password
        raise ConfigurationError([f"Redis URL: {_FORMS}"]) from None
    keys = Keys(key_prefix, shards)
    try:
        _check_shards(client, keys)
    except BaseException:
        client.close()
        raise
    one = RedisGroup(client, keys, group=group, consumer=consumer, from_start=from_start, timeout_s=_TIMEOUT_S)
    handled = (
        None
        if remember_s is None
        else RedisHandled(client, keys, group=group, consumer=consumer, remember_s=remember_s)
    )
    return Joined(one, handled, client.close)


def join_memory(
    events: Iterable[OutgoingEvent],
) -> tuple[Joined, list[StreamEntry], list[tuple[StreamEntry, str]]]:
    """A group of one over these events, for tests; and what it acknowledged, and its dead letters with the reasons."""
    state = MemoryState(SystemClock(), events=list(events))
    one = MemoryGroup(state, MemoryEvents(state), group="test", consumer="test", from_start=True)
    return Joined(one, None, one.close), one.acknowledged, one.dead


def _check_shards(client: Client, keys: Keys) -> None:
    """Events of a shard that nobody reads would wait for ever."""
    beyond = keys.of_shard("events", keys.shards)
    with translated(client):
        more = client.exists(beyond)
    if more:
        raise ConfigurationError([f"shards: {keys.shards} are too few, there is {beyond} (MAILSLUICE_SHARDS)"])


def contents() -> Contents:
    """What events point to, wherever it lies: S3 by the standard AWS chain, or files."""
    return StoredContents()
