"""For those downstream: a typed, idempotent consumer of the event stream. docs/events.md says how to use it.

Rules of this room:
- Its users have this package, a Redis URL and the docs: no settings, no environment but the AWS chain's.
- Importing it loads no boto3 and no Celery.
"""

from __future__ import annotations

import platform
import secrets
import threading
from collections.abc import Callable, Collection
from os import getpid

from ingest.consumer.events import AccountEvent, Attachment, Event, Received, StoredObject, UnknownEvent, Unprocessed
from ingest.consumer.loop import Consumer, TryLater
from ingest.consumer.reader import Reader
from ingest.errors import ConfigurationError

__all__ = [
    "AccountEvent",
    "Attachment",
    "Consumer",
    "Event",
    "Received",
    "StoredObject",
    "TryLater",
    "UnknownEvent",
    "Unprocessed",
    "consume",
]


def consume(
    redis_url: str,
    *,
    group: str,
    consumer: str | None = None,
    from_start: bool = True,
    types: Collection[str] | None = None,
    shards: int = 1,
    key_prefix: str = "mailsluice",
    batch: int = 100,
    idle_s: float = 60.0,
    attempts: int = 5,
    remember_s: float | None = None,
    timeout_s: float | None = None,
    signals: bool = True,
) -> Consumer:
    """Read the events as one of a consumer group: a loop over it has events, its `handle` calls a function with each.

    Args:
        redis_url: as MAILSLUICE_REDIS_URL.
        group: whose place in the stream it is; programs that share the work share it.
        consumer: this one's name, unlike those of others that run; made up by default.
        from_start: where a group that is new begins: with the oldest event that is kept, or with the next one.
        types: only events of these types; others count as handled.
        shards: as MAILSLUICE_SHARDS.
        key_prefix: as MAILSLUICE_KEY_PREFIX.
        batch: events read at once, each of up to 1 MiB.
        idle_s: longer than handling an event takes; after it others take over what a dead consumer left.
        attempts: failures, or deliveries that nobody came through, after which an event goes to the dead letters.
        remember_s: remember for so long which events were handled, and pass over repeats.
        timeout_s: end after so long without an event.
        signals: let SIGTERM and SIGINT stop it, where it runs in the main thread.
    """
    wrong = {"shards": shards < 1, "batch": batch < 1, "idle_s": idle_s <= 0, "attempts": attempts < 1}
    if any(wrong.values()):
        raise ConfigurationError(f"{name}: too small" for name, is_wrong in wrong.items() if is_wrong)
    from ingest.wiring import consuming  # noqa: PLC0415 - see the rules

    name = consumer or f"{platform.node()}-{getpid()}-{secrets.token_hex(3)}"

    def open_reader(stopping: threading.Event) -> tuple[Reader, Callable[[], None]]:
        joined = consuming.join(
            redis_url,
            key_prefix=key_prefix,
            shards=shards,
            group=group,
            consumer=name,
            from_start=from_start,
            remember_s=remember_s,
        )
        reader = Reader(
            joined.group,
            joined.handled,
            stopping,
            batch=batch,
            idle_s=idle_s,
            attempts=attempts,
            timeout_s=timeout_s,
        )
        return reader, joined.close

    return Consumer(open_reader, consuming.contents(), types=types, attempts=attempts, signals=signals)
