"""An event stream in a real Redis, written by commits and read by consumer groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ingest.adapters.redis_client import Client, Keys, connect
from ingest.adapters.redis_events import RedisEvents
from ingest.adapters.redis_lease import RedisLease
from ingest.adapters.redis_ledger import RedisLedger
from ingest.ledger import uidl_digest
from ingest.models import Kind, OutgoingEvent, Record

STREAM, OCTETS, STANDING = "t:{s0}:events", "t:{s0}:events:bytes", "t:{s0}:events:standing"
CAP, EACH = 10_000, 1_000


@dataclass
class Stream:
    """A stream that holds ten events, each of a tenth of its cap."""

    client: Client
    events: RedisEvents
    ledger: RedisLedger
    lease: RedisLease

    def fill(self, count: int = 10) -> None:
        grant, image = self.lease.acquire("a"), self.ledger.load("a")
        assert grant is not None
        try:
            for n in range(count):
                event = OutgoingEvent(f"{n}", "t", b"x" * EACH)
                at = len(image) + n
                self.ledger.commit(
                    "a", grant.token, image, [Record(uidl_digest(b"%d" % at), b"i" * 8, Kind.STORED)], event
                )
        finally:
            self.client.delete("t:{s0}:lease:a")

    def read(self, group: str, count: int, *, acknowledge: bool) -> None:
        for _, entries in self.client.xreadgroup(group, "c", {STREAM: ">"}, count=count):
            if acknowledge:
                self.client.xack(STREAM, group, *(position for position, _ in entries))

    def group(self, name: str) -> None:
        self.client.xgroup_create(STREAM, name, id="0", mkstream=True)

    def length(self) -> int:
        assert int(self.client.get(OCTETS) or 0) == EACH * int(self.client.xlen(STREAM))
        return int(self.client.xlen(STREAM))

    def pour(self, count: int, *, octets: int = 10) -> None:
        """Many small events at once, as commits would add them."""
        with self.client.pipeline(transaction=False) as flight:
            for n in range(count):
                flight.xadd(STREAM, {"id": f"{n}", "type": "t", "event": b"x" * octets})
            flight.incrby(OCTETS, count * octets)
            flight.execute()

    def positions(self) -> list[bytes]:
        return [position for position, _ in self.client.xrange(STREAM)]

    def octets(self) -> tuple[int, int]:
        """Those that are counted, and those that are there."""
        there = sum(len(fields.get(b"event", b"")) for _, fields in self.client.xrange(STREAM))
        return int(self.client.get(OCTETS) or 0), there


@contextmanager
def opened(url: str) -> Iterator[Stream]:
    """A stream in an empty database."""
    client, keys = connect(url, 5), Keys("t", 1)
    yield Stream(
        client,
        RedisEvents(client, keys, timeout_s=5, max_bytes=CAP, retention_s=3600),
        RedisLedger(client, keys, lease_ttl_s=30, stream_max_bytes=CAP, min_replicas=0, settle_s=1),
        RedisLease(client, keys, ttl_s=30, claim_ttl_s=120),
    )
    client.close()
