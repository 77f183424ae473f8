"""The holder of a lease at its account's ledger: the image it read, and every write it makes.

Rules of this room:
- Every write names the fencing token; the image follows what was written, and nothing else changes it.
- One message is in hand at a time, and Redis knows which before the work begins: what was in hand when a holder died is
  a suspect for the next one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ingest.errors import IngestError
from ingest.ledger import LedgerImage
from ingest.models import Grant, OutgoingEvent, Record, Refusal
from ingest.ports import Ledger
from ingest.retry import Steps


class Holding:
    """What a visit may write, for as long as its lease holds.

    Args:
        account_id, grant: whose ledger, under which lease, with which suspects.
        ledger, steps: where it lies, and how long one step is tried again.
    """

    def __init__(self, account_id: str, grant: Grant, *, ledger: Ledger, steps: Steps) -> None:
        self._account_id = account_id
        self._token = grant.token
        self._suspects = dict(grant.suspects)
        self._ledger = ledger
        self._steps = steps
        self._in_hand: bytes | None = None
        self.image = LedgerImage(b"")
        self.committed = 0
        self.events = 0

    def load(self) -> None:
        """Read the ledger."""
        self.image = self._steps(self._ledger.load, self._account_id)

    def suspects(self, digest: bytes) -> bool:
        """Whether this message failed before, or was in hand when an earlier holder died."""
        return digest in self._suspects

    def take_in_hand(self, digest: bytes) -> None:
        """Have it known that work on this message begins."""
        if self._in_hand != digest:
            self._steps(self._ledger.mark, self._account_id, self._token, digest)
            self._in_hand = digest

    def count(self, digest: bytes) -> int:
        """Add to how often this message failed; how often that is."""
        self._suspects[digest] = self._ledger.count(self._account_id, self._token, digest, 1)
        return self._suspects[digest]

    def uncount(self, digest: bytes) -> None:
        """Take back what was counted before the work: something else failed."""
        if digest in self._suspects:
            with contextlib.suppress(IngestError):  # then it stands counted once too often
                self._suspects[digest] = self._ledger.count(self._account_id, self._token, digest, -1)

    def suspect(self, digest: bytes | None) -> None:
        """Make this message a suspect, if it has a mark, without counting anything against it."""
        if digest is not None and digest not in self._suspects:
            with contextlib.suppress(IngestError):  # then it is met as before
                self._suspects[digest] = self._ledger.count(self._account_id, self._token, digest, 0)

    def commit(
        self,
        records: Sequence[Record],
        event: OutgoingEvent | None = None,
        *,
        finished: bytes | None = None,
        following: bytes | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        """Append records and tell of a message, in one step; `finished` is in hand no more, `following` is."""
        self._steps(
            self._ledger.commit,
            self._account_id,
            self._token,
            self.image,
            records,
            event,
            finished=finished if finished in self._suspects else None,
            following=following,
            refusal=refusal,
        )
        if finished is not None:
            self._suspects.pop(finished, None)
        self._in_hand = following
        self.events += event is not None
        self.committed += 1

    def rewrite(
        self, records: Sequence[Record], event: OutgoingEvent | None = None, *, resolved: Refusal | None = None
    ) -> None:
        """Replace all records."""
        self._steps(
            self._ledger.rewrite, self._account_id, self._token, self.image, records, event=event, resolved=resolved
        )
        self.events += event is not None

    def settle(self) -> None:
        """Make sure that what was written is there, and that a failover would find it."""
        self._steps(self._ledger.settle, self._account_id, self._token, self.image)
