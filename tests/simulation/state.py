"""Object store, lease and ledger as one worker reaches them: each call is a step, and may fail before or after it.

Rules of this file:
- The state itself is the product's own `memory_state`; here is only what lies between a worker and it.
- A reply that is lost leaves the caller as ignorant as one that never came: its image does not follow.
- The book compares what the state held before and after each call: who wrote, under which token, and what.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from ingest.adapters.memory_state import MemoryState
from ingest.errors import IngestError, StateUnavailable, StoreUnavailable
from ingest.ledger import LedgerImage
from ingest.models import AccountState, Grant, OutgoingEvent, Record, Refusal
from ingest.ports import Lease, Ledger, ObjectInfo, Put
from ingest.retry import Steps, soon
from simulation.baton import Actor

if TYPE_CHECKING:
    from simulation.world import World

T = TypeVar("T")
Snapshot = Mapping[str, Any]


def snapshot(state: MemoryState) -> Snapshot:
    """All that a failover could bring back."""
    values = {field.name: getattr(state, field.name) for field in fields(state)}
    return {name: copy.copy(value) for name, value in values.items() if isinstance(value, (dict, set, list))}


def restore(state: MemoryState, to: Snapshot) -> None:
    """The state as it was; whoever holds on to its containers sees it, too."""
    for name, value in to.items():
        held = getattr(state, name)
        held.clear()
        held.extend(value) if isinstance(held, list) else held.update(value)


class Way:
    """The way from one worker to the state."""

    def __init__(self, world: World, actor: Actor) -> None:
        self._world = world
        self._actor = actor

    def call(self, name: str, account_id: str, token: str | None, does: Callable[[], T]) -> T:
        """One call: `does` takes effect as a whole, or not at all."""
        world, faults = self._world, self._world.faults
        world.step(self._actor, name, account_id)
        if world.state_down_until > world.clock.seconds or faults.strikes("state_fails"):
            raise StateUnavailable("the state can't be reached")
        if faults.strikes("state_reply_lost"):
            with contextlib.suppress(IngestError):
                self._watched(name, account_id, token, does)
            raise StateUnavailable("no reply in time")
        return self._watched(name, account_id, token, does)

    def reply_may_be_lost(self) -> bool:
        return "state_reply_lost" in self._world.faults.names

    def _watched(self, name: str, account_id: str, token: str | None, does: Callable[[], T]) -> T:
        world, state = self._world, self._world.state
        before = (state.ledgers.get(account_id, b""), len(state.events), state.leases.get(account_id))
        was = snapshot(state) if world.history is not None and name != "load" else None
        try:
            return does()
        finally:
            after = state.ledgers.get(account_id, b"")
            if after != before[0] or len(state.events) != before[1]:
                world.book.wrote(self._actor, account_id, token, before, after)
            if was is not None and world.history is not None:
                world.history.append(was)


class SimulatedLease:
    """Implements `ports.Lease`."""

    def __init__(self, way: Way, inner: Lease) -> None:
        self._way = way
        self._inner = inner

    def acquire(self, account_id: str, *, claimed: bool = False) -> Grant | None:
        return self._way.call("acquire", account_id, None, lambda: self._inner.acquire(account_id, claimed=claimed))

    def renew(self, account_id: str, token: str) -> None:
        self._way.call("renew", account_id, token, lambda: self._inner.renew(account_id, token))

    def release(
        self, account_id: str, token: str, *, due_in_s: float, state: AccountState, event: OutgoingEvent | None = None
    ) -> bool:
        return self._way.call(
            "release",
            account_id,
            token,
            lambda: self._inner.release(account_id, token, due_in_s=due_in_s, state=state, event=event),
        )


class SimulatedLedger:
    """Implements `ports.Ledger`."""

    def __init__(self, world: World, way: Way, inner: Ledger) -> None:
        self._world = world
        self._way = way
        self._inner = inner

    def load(self, account_id: str) -> LedgerImage:
        return self._way.call("load", account_id, None, lambda: self._inner.load(account_id))

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
        def done(its: LedgerImage) -> None:
            self._inner.commit(
                account_id, token, its, records, event, finished=finished, following=following, refusal=refusal
            )

        self._with_image("commit", account_id, token, image, done)

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
        def done(its: LedgerImage) -> None:
            self._inner.rewrite(account_id, token, its, records, event=event, resolved=resolved)

        self._with_image("rewrite", account_id, token, image, done)

    def mark(self, account_id: str, token: str, digest: bytes) -> None:
        self._way.call("mark", account_id, token, lambda: self._inner.mark(account_id, token, digest))

    def count(self, account_id: str, token: str, digest: bytes, by: int) -> int:
        return self._way.call("count", account_id, token, lambda: self._inner.count(account_id, token, digest, by))

    def settle(self, account_id: str, token: str, image: LedgerImage) -> None:
        def done() -> None:
            self._inner.settle(account_id, token, image)
            if self._world.history is not None:
                self._world.history.clear()  # a replica has it all: no failover goes behind this

        self._way.call("settle", account_id, token, done)

    def _with_image(
        self, name: str, account_id: str, token: str, image: LedgerImage, does: Callable[[LedgerImage], None]
    ) -> None:
        if not self._way.reply_may_be_lost():
            self._way.call(name, account_id, token, lambda: does(image))
            return
        its = copy.deepcopy(image)
        self._way.call(name, account_id, token, lambda: does(its))
        vars(image).update(vars(its))


class SimulatedStore:
    """Implements `ports.ObjectStore` for one worker over the store of all."""

    def __init__(self, world: World, actor: Actor) -> None:
        self._world = world
        self._actor = actor

    def put(
        self, key: str, body: BinaryIO, *, size: int, sha256: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> Put:
        world = self._world
        world.step(self._actor, "put", key)
        if world.store_down_until > world.clock.seconds or world.faults.strikes("put_fails"):
            raise StoreUnavailable("the store can't be reached")
        put = world.store.put(key, body, size=size, sha256=sha256, content_type=content_type, metadata=metadata)
        if world.faults.strikes("put_reply_lost"):
            raise StoreUnavailable("no reply in time")
        return put

    def head(self, key: str) -> ObjectInfo | None:
        self._world.step(self._actor, "head", key)
        return self._world.store.head(key)

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        self._world.step(self._actor, "open", key)
        return self._world.store.open(key)

    def url(self, key: str) -> str:
        return self._world.store.url(key)

    def key_of(self, url: str) -> str | None:
        return self._world.store.key_of(url)

    def link(self, key: str, seconds: int, *, filename: str) -> str | None:
        return self._world.store.link(key, seconds, filename=filename)

    def ping(self) -> None:
        """Not asked for here."""

    def close(self) -> None:
        """Not asked for here."""


class SimulatedSteps(Steps):
    """`retry.Steps` on the world's clock: the real one measures its patience by the system's."""

    def __init__(self, world: World, actor: Actor, *, seconds: float) -> None:
        super().__init__(seconds, sleep=lambda wait_s: world.sleep(actor, wait_s))
        self._world = world
        self._actor = actor

    def beating(self, beat: Callable[[], None]) -> Steps:
        """The lease runs out the sooner where nobody keeps it meanwhile."""
        del beat
        return self

    def __call__(self, step: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401  # as the real one
        patience_s = self._world.clock.seconds + self._seconds
        wait_s = 0.05
        while True:
            try:
                return step(*args, **kwargs)
            except IngestError as error:
                if not soon(error) or self._world.clock.seconds + wait_s > patience_s:
                    raise
            self._world.sleep(self._actor, wait_s)
            wait_s *= 2
