"""State that polls share: leases, ledgers, schedule, accounts, refusals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ingest.ledger import LedgerImage
from ingest.models import Account, AccountState, Grant, OutgoingEvent, Record, Refusal


class Lease(Protocol):
    """Who may write for an account now: the holder of the last token given, until its TTL runs out."""

    def acquire(self, account_id: str, *, claimed: bool = False) -> Grant | None:
        """A fresh token and what stands of the account, or None while another holds the lease; the due time moves on.

        With `claimed`, None too unless the account stands claimed: a task that comes late finds its claim taken. What
        an earlier holder had in hand when it died is among the suspects.

        In the same step `login_at` becomes now, so that the login of a holder that dies counts; the grant has the one
        before. Whoever gives the lease back says whether there was a login.
        """
        ...

    def renew(self, account_id: str, token: str) -> None:
        """Hold it for another TTL; LeaseLost for a token that no longer holds."""
        ...

    def release(
        self, account_id: str, token: str, *, due_in_s: float, state: AccountState, event: OutgoingEvent | None = None
    ) -> bool:
        """In one step: write what was learnt, set the next due time, free the lease; then add the account's event.

        Nothing is in hand any more, and the ledger gives back slack. False for a stale token, and nothing is written.
        """
        ...


class Ledger(Protocol):
    """What of a maildrop was already seen, and the one step that commits a message.

    All that write raise LeaseLost, StateFull, StateRefused or StateUnavailable; LedgerMoved where the ledger is not as
    the image says. A retry of one's own lost reply succeeds, but for `count`.
    """

    def load(self, account_id: str) -> LedgerImage:
        """The records as they are; an image of no records where there is none."""
        ...

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
        """Check fence, generation, length and types, add the event, then append the records; `image` follows.

        In the same step `finished` is no suspect any more, `following` is in hand (None: nothing is), and a refusal is
        listed.
        """
        ...

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
        """Add the event, if any, and replace all records, under a new generation; a resolved refusal is listed no more.

        Works when Redis is full, but not where the stream is.
        """
        ...

    def mark(self, account_id: str, token: str, digest: bytes) -> None:
        """This message is in hand from here on: should the holder die, it is a suspect."""
        ...

    def count(self, account_id: str, token: str, digest: bytes, by: int) -> int:
        """Add to how often this suspect failed, and say how often that is. Not to be retried."""
        ...

    def settle(self, account_id: str, token: str, image: LedgerImage) -> None:
        """Make sure that the ledger is as the image says, and wait until enough replicas have it.

        Before a QUIT that may delete or hide mail: after a failover the ledger may be an older one (LedgerMoved).
        """
        ...


class Refusals(Protocol):
    """The messages that were skipped or quarantined, and that nobody has decided about yet."""

    def all(self, account_id: str | None = None) -> list[Refusal]:
        """Those of one account or of all, the oldest first."""
        ...

    def discard(self, refusal: Refusal) -> bool:
        """List it no more; False where it was not listed."""
        ...


class Schedule(Protocol):
    """Due times. A claim is atomic, so two beats are harmless."""

    def claim(self, limit: int, *, but: frozenset[int] = frozenset()) -> list[str]:
        """At most `limit` due account ids, each pushed ahead by the claim's TTL; none of the shards in `but`."""
        ...

    def set_due(self, account_ids: Iterable[str], in_s: float) -> None:
        """Make known ones due in so many seconds; paused and unknown ones stay out."""
        ...

    def unclaim(self, account_ids: Iterable[str]) -> None:
        """Make those that still stand claimed due now."""
        ...

    def add(self, account_ids: Iterable[str]) -> None:
        """Make unknown ones due now; known ones keep their time."""
        ...

    def drop(self, account_ids: Iterable[str]) -> None:
        """Forget them (paused or removed)."""
        ...

    def due_in(self, account_ids: Sequence[str]) -> dict[str, float]:
        """Seconds until each is due (negative: overdue); unscheduled ones are absent."""
        ...

    def states(self, account_ids: Sequence[str]) -> dict[str, AccountState]:
        """What their polls remember; a fresh state where there is none."""
        ...

    def reset(self, account_ids: Iterable[str]) -> None:
        """Forget back-off and failures (the account changed) and make them due now."""
        ...

    def erase(self, account_id: str) -> None:
        """Forget ledger, state, attempts and due time."""
        ...


class AccountRegistry(Protocol):
    """The accounts, by id."""

    def get(self, account_ids: Sequence[str]) -> dict[str, Account]:
        """Those that exist."""
        ...

    def all(self) -> list[Account]:
        """All of them, by id."""
        ...

    def put(self, accounts: Iterable[Account]) -> None: ...

    def remove(self, account_ids: Iterable[str]) -> None: ...
