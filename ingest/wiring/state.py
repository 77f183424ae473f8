"""What lies in Redis: the half of the wiring that shares state with the cluster."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

from ingest.adapters.clock import SystemClock
from ingest.adapters.redis_accounts import RedisAccounts
from ingest.adapters.redis_client import Client, Keys, check_state, connect, state_problem
from ingest.adapters.redis_dead import RedisDeadLetters
from ingest.adapters.redis_events import RedisEvents
from ingest.adapters.redis_group import RedisGroup
from ingest.adapters.redis_hosts import RedisHosts
from ingest.adapters.redis_lease import RedisLease
from ingest.adapters.redis_ledger import RedisLedger
from ingest.adapters.redis_refusals import RedisRefusals
from ingest.adapters.redis_room import StreamRoom
from ingest.adapters.redis_schedule import RedisSchedule
from ingest.adapters.redis_turn import RedisTurn
from ingest.adapters.telemetry import LogTelemetry, make_logger
from ingest.errors import IngestError, StateUnavailable
from ingest.models import Failure
from ingest.once import once
from ingest.ports import (
    AccountRegistry,
    Clock,
    DeadLetters,
    EventGroup,
    EventLog,
    Hosts,
    Lease,
    Ledger,
    Refusals,
    Schedule,
    ShardTurn,
    Telemetry,
)
from ingest.settings import Settings

_WAIT_S = 2.0


class StateServices:
    """The parts that are kept in Redis, and what all parts share."""

    def __init__(self, settings: Settings, drain: threading.Event) -> None:
        self.settings = settings
        self.drain = drain
        self.clock: Clock = SystemClock()
        self.making = threading.RLock()
        self._closing: list[Callable[[], None]] = []

    @once
    def telemetry(self) -> Telemetry:
        return LogTelemetry(make_logger(self.settings.log_level, self.settings.log_format))

    @once
    def keys(self) -> Keys:
        return Keys(self.settings.key_prefix, self.settings.shards)

    @once
    def redis(self) -> Client:
        client = connect(self.settings.redis_url, self.settings.redis_timeout_s)
        self._closing.append(client.close)
        return client

    @once
    def state(self) -> Client:
        """The same client, once it is known that this Redis may hold state."""
        check_state(self.redis)
        return self.redis

    @once
    def registry(self) -> AccountRegistry:
        return RedisAccounts(self.state, self.keys)

    @once
    def schedule(self) -> Schedule:
        return RedisSchedule(self.state, self.keys, claim_ttl_s=self.settings.claim_ttl_s)

    @once
    def lease(self) -> Lease:
        settings = self.settings
        return RedisLease(self.state, self.keys, ttl_s=settings.lease_ttl_s, claim_ttl_s=settings.claim_ttl_s)

    @once
    def hosts(self) -> Hosts:
        return RedisHosts(self.state, self.keys, self.clock)

    @once
    def ledger(self) -> Ledger:
        settings = self.settings
        return RedisLedger(
            self.state,
            self.keys,
            lease_ttl_s=settings.lease_ttl_s,
            stream_max_bytes=settings.stream_max_bytes,
            min_replicas=settings.min_replicas,
            settle_s=settings.redis_timeout_s / 2,
            make_room=StreamRoom(
                self.state, self.keys, max_bytes=settings.stream_max_bytes, retention_s=settings.events_retention_s
            ).make_room,
        )

    @once
    def refusals(self) -> Refusals:
        return RedisRefusals(self.state, self.keys)

    @once
    def events(self) -> EventLog:
        return RedisEvents(
            self.state,
            self.keys,
            timeout_s=self.settings.redis_timeout_s,
            max_bytes=self.settings.stream_max_bytes,
            retention_s=self.settings.events_retention_s,
        )

    def group(self, shard: int) -> EventGroup:
        """The relay's side of one shard's stream; a group that is new begins with the oldest event."""
        return RedisGroup(
            self.state,
            self.keys,
            group=self.settings.relay_group,
            consumer=f"{socket.gethostname()}-{os.getpid()}",
            from_start=True,
            timeout_s=self.settings.redis_timeout_s,
            shards=[shard],
        )

    def turn(self, shard: int) -> ShardTurn:
        settings = self.settings
        return RedisTurn(self.state, self.keys, group=settings.relay_group, shard=shard, ttl_s=settings.lease_ttl_s)

    def dead_letters(self, group: str | None = None) -> DeadLetters:
        """Those of a group; of the relay's where none is given."""
        settings = self.settings
        return RedisDeadLetters(
            self.state, self.keys, group=group or settings.relay_group, max_bytes=settings.stream_max_bytes
        )

    def wait_for_state(self) -> None:
        """Return once Redis may hold state; raise what is wrong if that is for a person to mend."""
        while True:
            try:
                check_state(self.redis)
            except StateUnavailable as error:
                self.telemetry.step_failed("waiting for Redis", Failure.of(error))
                if self.drain.wait(_WAIT_S):
                    raise
            else:
                return

    def state_problem(self) -> IngestError | None:
        """What stands in the way of holding state in this Redis."""
        return state_problem(self.redis)

    def close(self) -> None:
        """Give everything back, newest first."""
        while self._closing:
            self._closing.pop()()
