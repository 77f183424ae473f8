"""A consumer as a process of its own: `python tests/consuming.py REDIS_URL OPTIONS`, OPTIONS as JSON.

It notes each event's id in the list `noted` when it is handled, and "ready" in `started` when it is there.
`die_at`: it ends itself with SIGKILL when that event comes; `die_after`: behind so many, before the next is noted, or
after it if `noted_first`. Further options go to `consume`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import redis

from ingest.consumer import consume
from ingest.models import OutgoingEvent


def start(url: str, **options: object) -> subprocess.Popen[bytes]:
    """Such a process."""
    return subprocess.Popen([sys.executable, str(Path(__file__)), url, json.dumps(options)])


def tell(client: redis.Redis, events: Iterable[OutgoingEvent], stream: str = "mailsluice:{s0}:events") -> None:
    """Into the stream, as commits would."""
    with client.pipeline(transaction=False) as flight:
        for event in events:
            flight.xadd(stream, {"id": event.id, "type": event.type, "event": event.json})
        flight.execute()


def many(number: int) -> list[OutgoingEvent]:
    """Small events with ids of their own."""
    from ingest.testing import as_entry, make_event  # noqa: PLC0415 - not in the process

    usual = as_entry(make_event())
    return [
        OutgoingEvent(f"{n:032x}", usual.type, usual.json.replace(usual.id.encode(), b"%032x" % n))
        for n in range(number)
    ]


def main(url: str, options: dict[str, object]) -> None:
    notes = redis.Redis.from_url(str(options.pop("notes", url)))
    die_at, die_after, noted_first = (options.pop(name, None) for name in ("die_at", "die_after", "noted_first"))
    notes.rpush("started", os.getpid())
    numbers = count(1)
    for event in consume(url, **options):  # type: ignore[arg-type]
        if noted_first:
            notes.rpush("noted", event.id)
        if event.id == die_at or next(numbers) == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if not noted_first:
            notes.rpush("noted", event.id)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
