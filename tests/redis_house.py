"""A house whose state is in a real Redis: the poller, the simulator and the store in this process, the rest outside."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any, Self

import redis
from ageing import let_pass
from house import House

from ingest.adapters.redis_client import Keys, connect
from ingest.adapters.redis_lease import RedisLease
from ingest.adapters.redis_ledger import RedisLedger
from ingest.adapters.redis_schedule import RedisSchedule
from ingest.ledger import decode
from ingest.models import PollReport, Record

_STREAM = "t:{s0}:events"


class RedisSide:
    """Moves a house into a Redis; a context manager that closes the connection.

    Args:
        house: its lease, ledger and schedule are replaced.
        url: of the Redis, in any form that the product takes.
        min_replicas: how many must have the writes before a QUIT.
    """

    def __init__(self, house: House, url: str, *, min_replicas: int = 0) -> None:
        self.client, self._keys, self._house = connect(url, 2), Keys("t", 1), house
        self.lease = RedisLease(self.client, self._keys, ttl_s=60, claim_ttl_s=120)
        house.lease = self.lease  # type: ignore[assignment]  # the same port
        house.schedule = RedisSchedule(self.client, self._keys, claim_ttl_s=120)  # type: ignore[assignment]  # likewise
        self.register()
        self.settles_with(min_replicas)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.client.close()

    def register(self) -> None:
        """Make the account known to the schedule, and due."""
        self._house.schedule.add(["a"])

    def settles_with(self, min_replicas: int) -> None:
        """As if the poller were started anew with this setting."""
        self.ledger = RedisLedger(
            self.client,
            self._keys,
            lease_ttl_s=60,
            stream_max_bytes=1 << 30,
            min_replicas=min_replicas,
            settle_s=0.5,
        )
        self._house.ledger = self.ledger  # type: ignore[assignment]  # the same port

    def settle(self) -> None:
        """Return when as many replicas as are asked for have all that was written."""
        grant = self.lease.acquire("a")
        assert grant is not None
        self.ledger.settle("a", grant.token, self.ledger.load("a"))
        self.lease.release("a", grant.token, due_in_s=0, state=grant.state)

    def answers(self) -> bool:
        """Whether Redis does, over a connection that may be an old one."""
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

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
        return list(decode(self.client.get("t:{s0}:ledger:a") or b""))

    def lapse(self) -> None:
        """Let the lease run out, if there is one."""
        self.client.delete("t:{s0}:lease:a")

    def age(self, minutes: int) -> None:
        """Let so many minutes pass for the account."""
        let_pass(self.client, "t:{s0}:ledger:a", "t:{s0}:state:a", minutes)

    def poll_once_redis_is_back(self, timeout_s: float = 30) -> PollReport:
        """Poll until a poll has no quarrel with Redis: it may still load, elect, or hang on an old connection."""
        end = time.monotonic() + timeout_s
        while True:
            report = self._house.poll() if self.answers() else None
            if report is not None and (report.failure is None or report.failure.code != "state_unavailable"):
                return report
            assert time.monotonic() < end, "Redis does not come back"
            time.sleep(0.05)
