"""Leases in Redis: who may write for an account now, and what a poll leaves behind when it gives the lease back.

Rules of this room:
- A token is 128 random bits, compared for equality; a lease that is not renewed is free after its TTL.
- Taking and renewing a lease also pushes the account's due time ahead, so a running account is not queued again. A due
  time that a claim set ends in half a millisecond; whoever takes the lease makes it whole, so a claim serves one poll.
- Giving it back writes state, next due time and freedom in one step, also when Redis is full.
"""

from __future__ import annotations

import secrets
from typing import Any

from ingest.adapters.redis_client import Client, Keys, translated
from ingest.adapters.redis_state import decode_state, encode_state, event_fields
from ingest.errors import LeaseLost
from ingest.ledger import extent_of
from ingest.models import AccountState, Grant, OutgoingEvent

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""
# KEYS 1 lease 2 due 3 state 4 ledger 5 suspects; ARGV 1 token 2 TTL ms 3 account 4 claim TTL ms 5 "1": only if claimed
_ACQUIRE = f"""#!lua
-- Read first: what has the wrong type must fail before the lease is taken, since nothing is rolled back.
local due = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[3]) or 0)
local found = {{redis.call('HGETALL', KEYS[3]), redis.call('GETRANGE', KEYS[4], 0, 15), redis.call('STRLEN', KEYS[4])}}
local in_hand = redis.call('HGET', KEYS[5], 'in hand')
if ARGV[5] == '1' and due % 1 == 0 then return false end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
{_NOW}
redis.call('ZADD', KEYS[2], 'XX', math.max(math.floor(due), now + ARGV[4]), ARGV[3])
redis.call('HSET', KEYS[3], 'login_at', string.format('%.3f', now / 1000))  -- until the holder says otherwise
if in_hand then  -- its holder died
  redis.call('HSETNX', KEYS[5], in_hand, 0)
  redis.call('HDEL', KEYS[5], 'in hand')
end
found[4] = redis.call('HGETALL', KEYS[5])
found[5] = now
return found
"""
_RENEW = f"""#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
{_NOW}
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], 'XX', 'GT', now + ARGV[4], ARGV[3])
return 1
"""
# KEYS 1 lease 2 due 3 state 4 events 5 their octets 6 suspects 7 ledger
# ARGV 1 token 2 account 3 due in ms 4-6 event id ("" for none), type, event
# 7… state fields and values
_RELEASE = f"""#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
{_NOW}
redis.call('HSET', KEYS[3], unpack(ARGV, 7))
redis.call('ZADD', KEYS[2], 'XX', now + ARGV[3], ARGV[2])
redis.call('HDEL', KEYS[6], 'in hand')
redis.call('DEL', KEYS[1])
local told = ARGV[4] ~= '' and redis.pcall('XADD', KEYS[4], '*', 'id', ARGV[4], 'type', ARGV[5], 'event', ARGV[6])
if type(told) == 'string' then
  redis.call('INCRBY', KEYS[5], #ARGV[6])
end
-- APPEND leaves as much slack again behind a value; SET leaves none. Where MEMORY is not ours to ask, it stays.
local used = redis.pcall('MEMORY', 'USAGE', KEYS[7])
if type(used) == 'number' and used > redis.call('STRLEN', KEYS[7]) * 1.25 + 512 then
  redis.call('SET', KEYS[7], redis.call('GET', KEYS[7]))
end
if type(told) == 'table' then  -- the lease is free all the same
  return told
end
return 1
"""


class RedisLease:
    """Implements `ports.Lease`.

    Args:
        client, keys: where they lie.
        ttl_s: after which the lease of a dead poller is free.
        claim_ttl_s: how far a running account's due time is pushed ahead.
    """

    def __init__(self, client: Client, keys: Keys, *, ttl_s: float, claim_ttl_s: float) -> None:
        self._client = client
        self._keys = keys
        self._ttl_ms = int(ttl_s * 1000)
        self._claim_ttl_ms = int(claim_ttl_s * 1000)
        self._acquire = client.register_script(_ACQUIRE)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)

    def acquire(self, account_id: str, *, claimed: bool = False) -> Grant | None:
        token = secrets.token_hex(16)
        with translated(self._client):
            found: Any = self._acquire(
                keys=[
                    *self._lease_and_due(account_id),
                    self._keys.of_account("state", account_id),
                    self._keys.of_account("ledger", account_id),
                    self._keys.of_account("suspects", account_id),
                ],
                args=[token, self._ttl_ms, account_id, self._claim_ttl_ms, int(claimed)],
            )
        if found is None:
            return None
        fields, header, length, suspects, now_ms = found
        return Grant(
            token,
            decode_state(dict(zip(fields[::2], fields[1::2], strict=True))),
            extent_of(header, length),
            now_ms / 1000,
            {digest: int(count) for digest, count in zip(suspects[::2], suspects[1::2], strict=True)},
        )

    def renew(self, account_id: str, token: str) -> None:
        with translated(self._client):
            held = self._renew(
                keys=self._lease_and_due(account_id), args=[token, self._ttl_ms, account_id, self._claim_ttl_ms]
            )
        if not held:
            raise LeaseLost("the lease ran out, or another poller took over")

    def release(
        self, account_id: str, token: str, *, due_in_s: float, state: AccountState, event: OutgoingEvent | None = None
    ) -> bool:
        fields = [item for pair in encode_state(state).items() for item in pair]
        with translated(self._client):
            return bool(
                self._release(
                    keys=[
                        *self._lease_and_due(account_id),
                        self._keys.of_account("state", account_id),
                        self._keys.of_shard("events", self._keys.shard_of(account_id)),
                        self._keys.of_shard("events:bytes", self._keys.shard_of(account_id)),
                        self._keys.of_account("suspects", account_id),
                        self._keys.of_account("ledger", account_id),
                    ],
                    args=[token, account_id, int(due_in_s * 1000), *event_fields(event), *fields],
                )
            )

    def _lease_and_due(self, account_id: str) -> list[str]:
        return [
            self._keys.of_account("lease", account_id),
            self._keys.of_shard("due", self._keys.shard_of(account_id)),
        ]
