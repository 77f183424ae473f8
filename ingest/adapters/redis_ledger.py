"""The ledger in Redis: one string an account, changed only by the scripts beside this file.

Rules of this room:
- Every write names the fencing token, the generation and the length it read: a stale writer is refused.
- Scripts are retried freely: a lost reply is recognised and answers success.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ingest.adapters.redis_client import Client, Keys, lua, translated
from ingest.adapters.redis_state import event_fields
from ingest.errors import LeaseLost, LedgerMoved, StateFull, StateRefused, StateUnavailable
from ingest.ledger import LedgerImage, encode, next_header
from ingest.models import OutgoingEvent, Record

_LOAD = """#!lua flags=no-writes
return {redis.call('GET', KEYS[1]), math.floor(redis.call('TIME')[1] / 60)}
"""
_TOUCH = """#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_ATTEMPT = """#!lua
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
if ARGV[3] == '1' then return redis.call('HINCRBY', KEYS[2], ARGV[2], 1) end
return tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or 0)
"""


class RedisLedger:
    """Implements `ports.Ledger`.

    Args:
        client, keys: where it lies.
        lease_ttl_s: what a commit extends the lease to.
        stream_max_bytes: cap of a shard's event stream; a commit that would pass it is refused.
        min_replicas, settle_s: how many replicas must have the writes before a QUIT, and how long to wait for them.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        *,
        lease_ttl_s: float,
        stream_max_bytes: int,
        min_replicas: int,
        settle_s: float,
    ) -> None:
        self._stream_max_bytes = stream_max_bytes
        self._client = client
        self._keys = keys
        self._lease_ttl_ms = int(lease_ttl_s * 1000)
        self._min_replicas = min_replicas
        self._settle_ms = int(settle_s * 1000)
        self._commit = client.register_script(lua("redis_commit"))
        self._rewrite = client.register_script(lua("redis_rewrite"))
        self._load = client.register_script(_LOAD)
        self._touch = client.register_script(_TOUCH)
        self._attempt = client.register_script(_ATTEMPT)

    def load(self, account_id: str) -> LedgerImage:
        key = self._keys.of_account("ledger", account_id)
        with translated(self._client):
            value, minutes = self._load(keys=[key])
        try:
            return LedgerImage(value or b"", int(minutes))
        except ValueError as error:
            raise StateRefused(f"{key} is damaged: {error}", todo="restore it, or erase the account's state") from None

    def commit(
        self, account_id: str, token: str, image: LedgerImage, records: Sequence[Record], event: OutgoingEvent | None
    ) -> None:
        heads = b"".join(record.uidl + record.identity + bytes((record.kind,)) for record in records)
        with translated(self._client):
            answer, minutes = self._commit(
                keys=[
                    self._keys.of_account("lease", account_id),
                    self._keys.of_account("ledger", account_id),
                    self._keys.of_shard("events", self._keys.shard_of(account_id)),
                    self._keys.of_account("attempts", account_id),
                    self._keys.of_shard("events:bytes", self._keys.shard_of(account_id)),
                ],
                args=[
                    token,
                    image.header,
                    image.value_bytes,
                    self._lease_ttl_ms,
                    heads,
                    *event_fields(event),
                    self._stream_max_bytes,
                ],
            )
        self._judge(account_id, answer)
        image.follow(replace(record, minutes=int(minutes)) for record in records)

    def rewrite(self, account_id: str, token: str, image: LedgerImage, records: Sequence[Record]) -> None:
        header = next_header(image.header)
        with translated(self._client):
            answer = self._rewrite(
                keys=[self._keys.of_account("lease", account_id), self._keys.of_account("ledger", account_id)],
                args=[token, image.header, image.value_bytes, header + encode(records)],
            )
        self._judge(account_id, answer)
        image.replace(header, records)

    def attempts(self, account_id: str, token: str, uidl_digest: bytes, *, count: bool) -> int:
        with translated(self._client):
            answer = int(
                self._attempt(
                    keys=[self._keys.of_account("lease", account_id), self._keys.of_account("attempts", account_id)],
                    args=[token, uidl_digest, "1" if count else "0"],
                )
            )
        if answer < 0:
            raise LeaseLost("the lease ran out, or another poller took over")
        return answer

    def settle(self, account_id: str, token: str) -> None:
        if not self._min_replicas:
            return
        # WAIT covers the writes of its own connection: a write in the same flight makes it cover all before.
        with translated(self._client), self._client.pipeline(transaction=False) as flight:
            lease = self._keys.of_account("lease", account_id)
            self._touch(keys=[lease], args=[token, self._lease_ttl_ms], client=flight)
            flight.wait(self._min_replicas, self._settle_ms)
            held, replicas = flight.execute()
        if not held:
            raise LeaseLost("the lease ran out, or another poller took over")
        if int(replicas) < self._min_replicas:
            raise StateUnavailable(
                f"{replicas} of {self._min_replicas} replicas have the ledger",
                todo="bring the replicas back or lower MAILSLUICE_MIN_REPLICAS",
            )

    def _judge(self, account_id: str, answer: bytes) -> None:
        match answer:
            case b"done" | b"already":
                return
            case b"fenced":
                raise LeaseLost("the lease ran out, or another poller took over")
            case b"full":
                raise StateFull(
                    "the event stream is full", todo="let its consumers catch up, or raise MAILSLUICE_STREAM_MAX_BYTES"
                )
            case b"type":
                raise StateRefused(
                    f"a key of {account_id} has the wrong type", todo="look at the keys of its shard in Redis"
                )
            case _:
                raise LedgerMoved("the ledger is not as it was read")
