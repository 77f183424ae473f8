"""Due times in Redis: a sorted set a shard, scored in milliseconds by Redis' own clock.

Rules of this room:
- A claim moves what it claims ahead in the same step: two beats never queue one account twice. The time it sets ends in
  half a millisecond, which says "claimed" until a poll takes the lease (see redis_lease).
- One shard that fails does not lose what others have claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ingest.adapters.redis_client import Client, Keys, translated
from ingest.adapters.redis_state import decode_state
from ingest.errors import IngestError
from ingest.models import AccountState

# KEYS 1 due; ARGV 1 limit 2 claim TTL ms
_CLAIM = """#!lua
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ids = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do
  redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2] + 0.5, id)
end
return ids
"""
# KEYS 1 due; ARGV account ids
_UNCLAIM = """#!lua flags=allow-oom
for _, id in ipairs(ARGV) do
  local due = tonumber(redis.call('ZSCORE', KEYS[1], id) or 0)
  if due % 1 ~= 0 then redis.call('ZADD', KEYS[1], 'XX', 0, id) end
end
"""
_RESET_FIELDS = (
    "failures",
    "refusals",
    "interval_s",
    "failing_since",
    "last_error",
    "fingerprint",
    "refused_mark",
    "login_after",
    "laid_to_host",
)


class RedisSchedule:
    """Implements `ports.Schedule`.

    Args:
        client, keys: where it lies.
        claim_ttl_s: after which a claimed account that nobody polled is due again.
    """

    def __init__(self, client: Client, keys: Keys, *, claim_ttl_s: float) -> None:
        self._client = client
        self._keys = keys
        self._claim_ttl_ms = int(claim_ttl_s * 1000)
        self._claim = client.register_script(_CLAIM)
        self._unclaim = client.register_script(_UNCLAIM)
        self._first_shard = 0

    def claim(self, limit: int, *, but: frozenset[int] = frozenset()) -> list[str]:
        claimed: list[str] = []
        failure: IngestError | None = None
        # Start at another shard each time, so that none starves when the limit is reached.
        self._first_shard = (self._first_shard + 1) % self._keys.shards
        for offset in range(self._keys.shards):
            if len(claimed) >= limit:
                break
            shard = (self._first_shard + offset) % self._keys.shards
            if shard in but:
                continue
            try:
                with translated(self._client):
                    ids: list[bytes] = self._claim(
                        keys=[self._keys.of_shard("due", shard)], args=[limit - len(claimed), self._claim_ttl_ms]
                    )
            except IngestError as error:
                failure = error
            else:
                claimed += [id_.decode("utf-8", "replace") for id_ in ids]
        if failure is not None and not claimed:
            raise failure
        return claimed

    def unclaim(self, account_ids: Iterable[str]) -> None:
        for shard, ids in self._keys.by_shard(list(account_ids)).items():
            with translated(self._client):
                self._unclaim(keys=[self._keys.of_shard("due", shard)], args=ids)

    def set_due(self, account_ids: Iterable[str], in_s: float) -> None:
        self._place(account_ids, in_s, known=True)

    def add(self, account_ids: Iterable[str]) -> None:
        self._place(account_ids, 0, known=False)

    def _place(self, account_ids: Iterable[str], in_s: float, *, known: bool) -> None:
        for shard, ids in self._keys.by_shard(list(account_ids)).items():
            with translated(self._client):
                due = self._now_ms() + int(in_s * 1000)
                self._client.zadd(self._keys.of_shard("due", shard), dict.fromkeys(ids, due), nx=not known, xx=known)

    def drop(self, account_ids: Iterable[str]) -> None:
        for shard, ids in self._keys.by_shard(list(account_ids)).items():
            with translated(self._client):
                self._client.zrem(self._keys.of_shard("due", shard), *ids)

    def due_in(self, account_ids: Sequence[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        for shard, ids in self._keys.by_shard(list(account_ids)).items():
            with translated(self._client):
                now = self._now_ms()
                scores: list[Any] = self._client.zmscore(self._keys.of_shard("due", shard), ids)
            found |= {
                id_: (float(score) - now) / 1000 for id_, score in zip(ids, scores, strict=True) if score is not None
            }
        return found

    def states(self, account_ids: Sequence[str]) -> dict[str, AccountState]:
        with translated(self._client), self._client.pipeline(transaction=False) as flight:
            for account_id in account_ids:
                flight.hgetall(self._keys.of_account("state", account_id))
            return {
                account_id: decode_state(fields)
                for account_id, fields in zip(account_ids, flight.execute(), strict=True)
            }

    def reset(self, account_ids: Iterable[str]) -> None:
        ids = list(account_ids)
        with translated(self._client), self._client.pipeline(transaction=False) as flight:
            for account_id in ids:
                flight.hdel(self._keys.of_account("state", account_id), *_RESET_FIELDS)
            flight.execute()
        self.set_due(ids, 0)

    def erase(self, account_id: str) -> None:
        self.drop([account_id])
        with translated(self._client):
            self._client.delete(*(self._keys.of_account(kind, account_id) for kind in ("ledger", "state", "suspects")))
            refusals = self._keys.of_shard("refusals", self._keys.shard_of(account_id))
            for field in [field for field, _ in self._client.hscan_iter(refusals, match=f"{account_id}:*")]:
                self._client.hdel(refusals, field)

    def _now_ms(self) -> int:
        seconds, micros = self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000
