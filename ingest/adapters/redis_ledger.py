"""The ledger in Redis: one string an account, changed only by the scripts beside this file.

Rules of this room:
- Every write names the fencing token, the generation and the length it read: a stale writer is refused.
- Scripts are retried freely: a lost reply is recognised and answers success.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ingest.adapters.redis_client import Client, Keys, lua, node_of, translated
from ingest.adapters.redis_state import encode_refusal, event_fields, refusal_field
from ingest.errors import LeaseLost, LedgerMoved, StateFull, StateRefused, StateUnavailable
from ingest.ledger import LedgerImage, encode, next_header
from ingest.models import OutgoingEvent, Record, Refusal

_LOAD = """#!lua flags=no-writes
return {redis.call('GET', KEYS[1]), math.floor(redis.call('TIME')[1] / 60)}
"""
# KEYS 1 lease 2 ledger; ARGV 1 token 2 lease TTL in ms 3 header as known 4 expected length
_SETTLE = """#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'fenced' end
local length = redis.call('STRLEN', KEYS[2])
if length ~= tonumber(ARGV[4]) or (length > 0 and redis.call('GETRANGE', KEYS[2], 0, 15) ~= ARGV[3]) then
  return 'moved'
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'done'
"""
# KEYS 1 lease 2 suspects; ARGV 1 token 2 digest
_MARK = """#!lua
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], 'in hand', ARGV[2])
return 1
"""
# KEYS 1 lease 2 suspects; ARGV 1 token 2 digest 3 by how much
_COUNT = """#!lua
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
return redis.call('HINCRBY', KEYS[2], ARGV[2], ARGV[3])
"""


class RedisLedger:
    """Implements `ports.Ledger`.

    Args:
        client, keys: where it lies.
        lease_ttl_s: what a commit extends the lease to.
        stream_max_bytes: cap of a shard's event stream; a commit that would pass it is refused.
        min_replicas, settle_s: how many replicas must have the writes before a QUIT, and how long to wait for them.
        make_room: frees what it can of an account's stream, and says how much: between two ticks it may run full of
            what consumers have acknowledged.
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
        make_room: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._make_room = make_room
        self._stream_max_bytes = stream_max_bytes
        self._client = client
        self._keys = keys
        self._lease_ttl_ms = int(lease_ttl_s * 1000)
        self._min_replicas = min_replicas
        self._settle_ms = int(settle_s * 1000)
        self._commit = client.register_script(lua("redis_commit"))
        self._rewrite = client.register_script(lua("redis_rewrite"))
        self._load = client.register_script(_LOAD)
        self._settle = client.register_script(_SETTLE)
        self._mark = client.register_script(_MARK)
        self._count = client.register_script(_COUNT)

    def load(self, account_id: str) -> LedgerImage:
        key = self._keys.of_account("ledger", account_id)
        with translated(self._client):
            value, minutes = self._load(keys=[key])
        try:
            return LedgerImage(value or b"", int(minutes))
        except ValueError as error:
            raise StateRefused(f"{key} is damaged: {error}", todo="restore it, or erase the account's state") from None

    def commit(
        self,
        account_id: str,
        token: str,
        image: LedgerImage,
        records: Sequence[Record],
        event: OutgoingEvent | None,
        *,
        finished: bytes | None = None,
        following: bytes | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        heads = b"".join(record.uidl + record.identity + bytes((record.kind,)) for record in records)
        shard = self._keys.shard_of(account_id)
        with translated(self._client):
            answer, minutes = self._roomy(
                account_id,
                self._commit,
                keys=[
                    self._keys.of_account("lease", account_id),
                    self._keys.of_account("ledger", account_id),
                    self._keys.of_shard("events", shard),
                    self._keys.of_account("suspects", account_id),
                    self._keys.of_shard("events:bytes", shard),
                    self._keys.of_shard("refusals", shard),
                ],
                args=[
                    token,
                    image.header,
                    image.value_bytes,
                    self._lease_ttl_ms,
                    heads,
                    *event_fields(event),
                    self._stream_max_bytes,
                    finished or b"",
                    following or b"",
                    *((refusal_field(refusal), encode_refusal(refusal)) if refusal else ("", "")),
                ],
            )
        self._judge(account_id, answer)
        image.follow(replace(record, minutes=int(minutes)) for record in records)

    def rewrite(
        self,
        account_id: str,
        token: str,
        image: LedgerImage,
        records: Sequence[Record],
        *,
        event: OutgoingEvent | None = None,
        resolved: Refusal | None = None,
    ) -> None:
        header = next_header(image.header)
        shard = self._keys.shard_of(account_id)
        with translated(self._client):
            answer = self._roomy(
                account_id,
                self._rewrite,
                keys=[
                    self._keys.of_account("lease", account_id),
                    self._keys.of_account("ledger", account_id),
                    self._keys.of_shard("events", shard),
                    self._keys.of_shard("events:bytes", shard),
                    self._keys.of_shard("refusals", shard),
                ],
                args=[
                    token,
                    image.header,
                    image.value_bytes,
                    header + encode(records),
                    *event_fields(event),
                    self._stream_max_bytes,
                    refusal_field(resolved) if resolved else "",
                ],
            )
        self._judge(account_id, answer)
        image.replace(header, records)

    def mark(self, account_id: str, token: str, digest: bytes) -> None:
        with translated(self._client):
            held = self._mark(keys=self._lease_and_suspects(account_id), args=[token, digest])
        if not held:
            raise LeaseLost("the lease ran out, or another poller took over")

    def count(self, account_id: str, token: str, digest: bytes, by: int) -> int:
        with translated(self._client):
            answer = self._count(keys=self._lease_and_suspects(account_id), args=[token, digest, by])
        if answer is None:
            raise LeaseLost("the lease ran out, or another poller took over")
        return int(answer)

    def _lease_and_suspects(self, account_id: str) -> list[str]:
        return [self._keys.of_account("lease", account_id), self._keys.of_account("suspects", account_id)]

    def settle(self, account_id: str, token: str, image: LedgerImage) -> None:
        keys = [self._keys.of_account("lease", account_id), self._keys.of_account("ledger", account_id)]
        args: list[str | int | bytes] = [token, self._lease_ttl_ms, image.header, image.value_bytes]
        if not self._min_replicas:
            with translated(self._client):
                answer = self._settle(keys=keys, args=args)
            self._judge(account_id, answer)
            return
        # WAIT covers the writes of its own connection: a write in the same flight makes it cover all before.
        with translated(self._client), node_of(self._client, keys[0]).pipeline(transaction=False) as flight:
            self._settle(keys=keys, args=args, client=flight)
            flight.wait(self._min_replicas, self._settle_ms)
            answer, replicas = flight.execute()
        self._judge(account_id, answer)
        if int(replicas) < self._min_replicas:
            raise StateUnavailable(
                f"{replicas} of {self._min_replicas} replicas have the ledger",
                todo="bring the replicas back or lower MAILSLUICE_MIN_REPLICAS",
            )

    def _roomy(self, account_id: str, script: Callable[..., Any], *, keys: list[str], args: list[Any]) -> Any:  # noqa: ANN401  # a script's answer
        """Run it; where it finds the stream full and room can be made, once more."""
        answer = script(keys=keys, args=args)
        if b"full" in (answer, answer[0]) and self._make_room(account_id):
            answer = script(keys=keys, args=args)
        return answer

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
