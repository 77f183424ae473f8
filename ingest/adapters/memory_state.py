"""State in memory, for unit tests: the same contracts as Redis, in one process, on a clock that tests own.

Rules of this room:
- One `MemoryState` is one installation; the ports are views of it, as the Redis adapters are of one Redis.
- What the Lua scripts do in one step is done here under one lock.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ingest.errors import LeaseLost, LedgerMoved, StateFull
from ingest.ledger import HEADER_BYTES, RECORD_BYTES, LedgerImage, encode, extent_of, next_header
from ingest.models import Account, AccountState, Grant, OutgoingEvent, Record, Refusal
from ingest.ports import Clock

_FRESH = AccountState()


@dataclass
class MemoryState:
    """What Redis would hold."""

    clock: Clock
    lock: threading.RLock = field(default_factory=threading.RLock)
    ledgers: dict[str, bytes] = field(default_factory=dict)
    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)
    states: dict[str, AccountState] = field(default_factory=dict)
    suspects: dict[str, dict[bytes, int]] = field(default_factory=dict)
    in_hand: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    events: list[OutgoingEvent] = field(default_factory=list)
    stream_max_bytes: int = 1 << 30
    accounts: dict[str, Account] = field(default_factory=dict)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.now().timestamp()

    def holds(self, account_id: str, token: str) -> bool:
        """Whether this token is the account's lease now."""
        held, until = self.leases.get(account_id, ("", 0.0))
        return held == token and until > self.now()


class MemoryLease:
    """Implements `ports.Lease`."""

    def __init__(self, state: MemoryState, *, ttl_s: float, claim_ttl_s: float) -> None:
        self._state = state
        self._ttl_s = ttl_s
        self._claim_ttl_s = claim_ttl_s

    def acquire(self, account_id: str, *, claimed: bool = False) -> Grant | None:
        state = self._state
        with state.lock:
            if claimed and account_id not in state.claimed:
                return None
            if state.leases.get(account_id, ("", 0.0))[1] > state.now():
                return None
            token = secrets.token_hex(16)
            state.claimed.discard(account_id)
            self._hold(account_id, token)
            value = state.ledgers.get(account_id, b"")
            suspects = state.suspects.setdefault(account_id, {})
            if account_id in state.in_hand:  # its holder died
                suspects.setdefault(state.in_hand.pop(account_id), 0)
            extent = extent_of(value[:HEADER_BYTES], len(value))
            found, now = state.states.get(account_id, _FRESH), state.now()
            state.states[account_id] = replace(found, login_at=now)  # until the holder says otherwise
            return Grant(token, found, extent, now, dict(suspects))

    def renew(self, account_id: str, token: str) -> None:
        with self._state.lock:
            if not self._state.holds(account_id, token):
                raise LeaseLost("the lease ran out, or another poller took over")
            self._hold(account_id, token)

    def release(
        self, account_id: str, token: str, *, due_in_s: float, state: AccountState, event: OutgoingEvent | None = None
    ) -> bool:
        with self._state.lock:
            if not self._state.holds(account_id, token):
                return False
            self._state.states[account_id] = state
            if account_id in self._state.due:
                self._state.due[account_id] = self._state.now() + due_in_s
            del self._state.leases[account_id]
            self._state.in_hand.pop(account_id, None)
            if event is not None:
                self._state.events.append(event)
            return True

    def _hold(self, account_id: str, token: str) -> None:
        state = self._state
        state.leases[account_id] = (token, state.now() + self._ttl_s)
        if account_id in state.due:
            state.due[account_id] = max(state.due[account_id], state.now() + self._claim_ttl_s)


class MemoryLedger:
    """Implements `ports.Ledger`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def load(self, account_id: str) -> LedgerImage:
        with self._state.lock:
            return LedgerImage(self._state.ledgers.get(account_id, b""), int(self._state.now()) // 60)

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
        state = self._state
        timed = [replace(record, minutes=int(state.now()) // 60) for record in records]
        with self._held(account_id, token):
            value = state.ledgers.get(account_id, b"")
            if value and value[:HEADER_BYTES] != image.header:
                raise LedgerMoved("the ledger is not as it was read")
            if len(value) != image.value_bytes:
                at = max(image.value_bytes, HEADER_BYTES)
                if len(value) != at + RECORD_BYTES * len(timed) or _heads(value[at:]) != _heads(encode(timed)):
                    raise LedgerMoved("the ledger is not as it was read")
            else:
                self._add(event)
                state.ledgers[account_id] = (value or image.header) + encode(timed)
                if refusal is not None:
                    state.refusals[account_id, refusal.id] = refusal
                if finished is not None:
                    state.suspects.get(account_id, {}).pop(finished, None)
                state.in_hand.pop(account_id, None)
                if following is not None:
                    state.in_hand[account_id] = following
        image.follow(timed)

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
        state, header = self._state, next_header(image.header)
        with self._held(account_id, token):
            value = state.ledgers.get(account_id, b"")
            if value[:HEADER_BYTES] != header:
                if (value and value[:HEADER_BYTES] != image.header) or len(value) != image.value_bytes:
                    raise LedgerMoved("the ledger is not as it was read")
                self._add(event)
                state.ledgers[account_id] = header + encode(records)
                if resolved is not None:
                    state.refusals.pop((account_id, resolved.id), None)
        image.replace(header, records)

    def mark(self, account_id: str, token: str, digest: bytes) -> None:
        with self._held(account_id, token):
            self._state.in_hand[account_id] = digest

    def count(self, account_id: str, token: str, digest: bytes, by: int) -> int:
        with self._held(account_id, token):
            suspects = self._state.suspects.setdefault(account_id, {})
            suspects[digest] = suspects.get(digest, 0) + by
            return suspects[digest]

    @contextmanager
    def _held(self, account_id: str, token: str) -> Iterator[None]:
        with self._state.lock:
            if not self._state.holds(account_id, token):
                raise LeaseLost("the lease ran out, or another poller took over")
            yield

    def _add(self, event: OutgoingEvent | None) -> None:
        if event is None:
            return
        if sum(len(each.json) for each in (*self._state.events, event)) > self._state.stream_max_bytes:
            raise StateFull("the event stream is full")
        self._state.events.append(event)

    def settle(self, account_id: str, token: str, image: LedgerImage) -> None:
        """One process has no replicas to wait for."""
        with self._held(account_id, token):
            value = self._state.ledgers.get(account_id, b"")
            if (value and value[:HEADER_BYTES] != image.header) or len(value) != image.value_bytes:
                raise LedgerMoved("the ledger is not as it was read")


class MemorySchedule:
    """Implements `ports.Schedule`."""

    def __init__(self, state: MemoryState, *, claim_ttl_s: float) -> None:
        self._state = state
        self._claim_ttl_s = claim_ttl_s

    def claim(self, limit: int, *, but: frozenset[int] = frozenset()) -> list[str]:
        if 0 in but:  # all of it is one shard
            return []
        state = self._state
        with state.lock:
            now = state.now()
            ids = sorted((id_ for id_, due in state.due.items() if due <= now), key=lambda id_: state.due[id_])[:limit]
            state.due |= dict.fromkeys(ids, now + self._claim_ttl_s)
            state.claimed.update(ids)
            return ids

    def unclaim(self, account_ids: Iterable[str]) -> None:
        ids = [id_ for id_ in account_ids if id_ in self._state.claimed]
        self.set_due(ids, 0)

    def set_due(self, account_ids: Iterable[str], in_s: float) -> None:
        known = [id_ for id_ in account_ids if id_ in self._state.due]
        self._state.claimed.difference_update(known)
        self._state.due |= dict.fromkeys(known, self._state.now() + in_s)

    def add(self, account_ids: Iterable[str]) -> None:
        for account_id in account_ids:
            self._state.due.setdefault(account_id, self._state.now())

    def drop(self, account_ids: Iterable[str]) -> None:
        for account_id in account_ids:
            self._state.due.pop(account_id, None)
            self._state.claimed.discard(account_id)

    def due_in(self, account_ids: Sequence[str]) -> dict[str, float]:
        return {id_: self._state.due[id_] - self._state.now() for id_ in account_ids if id_ in self._state.due}

    def states(self, account_ids: Sequence[str]) -> dict[str, AccountState]:
        return {id_: self._state.states.get(id_, _FRESH) for id_ in account_ids}

    def reset(self, account_ids: Iterable[str]) -> None:
        ids = list(account_ids)
        for id_ in ids:
            state = self._state.states.get(id_, _FRESH)
            self._state.states[id_] = replace(
                state,
                failures=0,
                refusals=0,
                interval_s=None,
                failing_since=None,
                last_error=None,
                fingerprint=None,
                refused_mark=None,
                login_after=None,
                laid_to_host=0,
            )
        self.set_due(ids, 0)

    def erase(self, account_id: str) -> None:
        state = self._state
        with state.lock:
            self.drop([account_id])
            state.ledgers.pop(account_id, None)
            state.states.pop(account_id, None)
            state.suspects.pop(account_id, None)
            state.in_hand.pop(account_id, None)
            for key in [key for key in state.refusals if key[0] == account_id]:
                del state.refusals[key]


class MemoryRefusals:
    """Implements `ports.Refusals`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def all(self, account_id: str | None = None) -> list[Refusal]:
        with self._state.lock:
            found = [each for each in self._state.refusals.values() if account_id in {None, each.account}]
        return sorted(found, key=lambda refusal: (refusal.time, refusal.id))

    def discard(self, refusal: Refusal) -> bool:
        with self._state.lock:
            return self._state.refusals.pop((refusal.account, refusal.id), None) is not None


class MemoryAccounts:
    """Implements `ports.AccountRegistry`."""

    def __init__(self, state: MemoryState) -> None:
        self._accounts = state.accounts

    def get(self, account_ids: Sequence[str]) -> dict[str, Account]:
        return {id_: self._accounts[id_] for id_ in account_ids if id_ in self._accounts}

    def all(self) -> list[Account]:
        return [self._accounts[id_] for id_ in sorted(self._accounts)]

    def put(self, accounts: Iterable[Account]) -> None:
        self._accounts.update({account.id: account for account in accounts})

    def remove(self, account_ids: Iterable[str]) -> None:
        for account_id in account_ids:
            self._accounts.pop(account_id, None)


def _heads(records: bytes) -> list[bytes]:
    return [records[at : at + 16] for at in range(0, len(records), RECORD_BYTES)]
