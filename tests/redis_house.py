"""A house whose state is in a real Redis: the poller, the simulator and the store in this process, the rest outside."""

from __future__ import annotations

import contextlib
import json
import time
from types import TracebackType
from typing import Any, Self

from house import House
from redis.exceptions import ConnectionError as RedisConnectionError

from ingest.adapters.redis_client import Keys, connect
from ingest.adapters.redis_events import RedisEvents
from ingest.adapters.redis_lease import RedisLease
from ingest.adapters.redis_ledger import RedisLedger
from ingest.adapters.redis_schedule import RedisSchedule
from ingest.ledger import HEADER_BYTES, decode, encode
from ingest.models import PollReport, Record

_STREAM = "t:{s0}:events"


class RedisSide:
    """Moves a house into a Redis; a context manager that closes the connection.

    Args:
        house: its lease, ledger and schedule are replaced.
        url: of the Redis, in any form that the product takes.
        min_replicas, settle_s: what must have the writes before a QUIT.
    """

    def __init__(self, house: House, url: str, *, min_replicas: int = 0, settle_s: float = 0.5) -> None:
        self.house = house
        self.client, keys = connect(url, 2), Keys("t", 1)
        house.lease = RedisLease(self.client, keys, ttl_s=60, claim_ttl_s=120)  # type: ignore[assignment]  # same port
        house.ledger = RedisLedger(  # type: ignore[assignment]  # the same port
            self.client,
            keys,
            lease_ttl_s=60,
            stream_max_bytes=1 << 30,
            min_replicas=min_replicas,
            settle_s=settle_s,
        )
        house.schedule = RedisSchedule(self.client, keys, claim_ttl_s=120)  # type: ignore[assignment]  # the same port
        house.schedule.add(["a"])
        self.log = RedisEvents(self.client, keys, timeout_s=2, max_bytes=1 << 30, retention_s=3600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.client.close()

    def events(self) -> list[dict[str, Any]]:
        """The whole stream, in order."""
        return [json.loads(fields[b"event"]) for _, fields in self.client.xrange(_STREAM)]

    def ids(self) -> list[str]:
        return [event["id"] for event in self.events()]

    def subjects(self) -> list[str]:
        return [event["data"]["subject"] for event in self.events()]

    def by_subject(self) -> dict[str, str]:
        """Event ids by the subjects of their messages; a second id for one message fails."""
        found: dict[str, str] = {}
        for event in self.events():
            assert found.setdefault(event["data"]["subject"], event["id"]) == event["id"]
        return found

    def records(self) -> list[Record]:
        return decode(self.client.get("t:{s0}:ledger:a") or b"")

    def age(self, minutes: int) -> None:
        """Let time pass for the ledger: every record becomes older by so many minutes."""
        value = self.client.get("t:{s0}:ledger:a") or b""
        records = [Record(r.uidl, r.identity, r.kind, r.minutes - minutes) for r in decode(value)]
        self.client.set("t:{s0}:ledger:a", value[:HEADER_BYTES] + encode(records))

    def poll_once_redis_is_back(self, timeout_s: float = 30, **limits: float) -> PollReport:
        """Poll until a poll has no quarrel with Redis: connections notice a restart or a failover one by one."""
        end = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(RedisConnectionError):
                self.client.ping()
            report = self.house.poll(**limits)
            unavailable = report.failure is not None and report.failure.code == "state_unavailable"
            if not unavailable or time.monotonic() > end:
                return report
