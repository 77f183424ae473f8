"""What a relay has read and not acknowledged, in order.

Rules of this room:
- Whole events are kept of the accounts that go on. Of one that has to wait only positions are, so that however much
  waits for it there is room to read on for the others; its events are looked up again when it may go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ingest.events.order import account_of
from ingest.models import StreamEntry


@dataclass(frozen=True, slots=True)
class _InHand:
    entry: StreamEntry
    account: str


class Backlog:
    """Not for several threads.

    Args:
        look_up: the entries at these positions, as far as they are still there.
    """

    def __init__(self, look_up: Callable[[Sequence[str]], list[StreamEntry]]) -> None:
        self._look_up = look_up
        self._hand: dict[str, _InHand] = {}
        self._away: dict[str, deque[str]] = {}
        self.octets = 0

    def __len__(self) -> int:
        return self.in_hand + sum(map(len, self._away.values()))

    @property
    def in_hand(self) -> int:
        """How many events it keeps whole."""
        return len(self._hand)

    def take(self, entries: Iterable[StreamEntry], waiting: Container[str]) -> None:
        """Behind all that is there; `waiting` are the accounts that have to."""
        for entry in entries:
            account = account_of(entry.event)
            if account in waiting or account in self._away:
                self._away.setdefault(account, deque()).append(entry.position)
            else:
                self._keep(entry, account)

    def drop(self, entries: Iterable[StreamEntry]) -> None:
        for entry in entries:
            if self._hand.pop(entry.position, None) is not None:
                self.octets -= len(entry.event.json)

    def put_away(self, account: str) -> None:
        """It has to wait."""
        found = [each.entry for each in self._hand.values() if each.account == account]
        self.drop(found)
        self._away.setdefault(account, deque()).extendleft(entry.position for entry in reversed(found))

    def away(self) -> list[str]:
        """The accounts of which something is put away and nothing is in hand; who has waited longest is first."""
        if not self._away:
            return []
        busy = {each.account for each in self._hand.values()}
        return [account for account in self._away if account not in busy]

    def bring_back(self, account: str, most: int) -> int:
        """Look up its next ones; how many these are."""
        away = self._away[account]
        positions = list(islice(away, most))
        found = self._look_up(positions)  # if this fails, nothing has changed
        for _ in positions:
            away.popleft()
        if not away:
            del self._away[account]
        for entry in found:
            self._keep(entry, account)
        return len(found)

    def first(self, most: int) -> list[StreamEntry]:
        """The next to send, in order."""
        return [each.entry for each in islice(self._hand.values(), most)]

    def clear(self) -> None:
        self._hand.clear()
        self._away.clear()
        self.octets = 0

    def _keep(self, entry: StreamEntry, account: str) -> None:
        self._hand[entry.position] = _InHand(entry, account)
        self.octets += len(entry.event.json)
