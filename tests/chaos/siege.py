"""A whole run: chains side by side until there are enough kills, then rest and the reckoning."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chaos.book import Book, Violation
from chaos.chain import Chain, Tally
from chaos.points import Point
from chaos.pollers import Poller
from chaos.rig import Maildrop, Rig


@dataclass(frozen=True)
class Outcome:
    """What a run showed."""

    tally: Tally
    counts: dict[str, int]
    violations: list[Violation]
    objects: int
    seconds: float

    def of(self, kind: str) -> int:
        """How many violations of a kind."""
        return sum(violation.kind == kind for violation in self.violations)


def besiege(
    rig: Rig,
    maildrops: Sequence[Maildrop],
    pollers: Sequence[Poller],
    *,
    kills: int,
    each: int,
    seed: int,
    on_progress: Callable[[Tally, dict[str, int], int], None] = lambda *_: None,
) -> Outcome:
    """Kill so many polls in all, and at each point so many; a chain for each poller."""
    started = time.monotonic()
    book = Book(rig, maildrops)
    most = 10 * (kills + each * len(Point))
    chains = [
        Chain(rig, book, maildrops[number :: len(pollers)], poller, seed + number)
        for number, poller in enumerate(pollers)
    ]

    def total() -> Tally:
        return sum((chain.tally for chain in chains), Tally())

    def enough() -> bool:
        now = total()
        on_progress(now, book.counts(), len(book.violations))
        done = now.kills.total() >= kills and all(now.kills[point] >= each for point in Point)
        return done or now.armed.total() + now.unarmed >= most

    with ThreadPoolExecutor(len(chains)) as pool:
        list(pool.map(lambda chain: chain.run(enough), chains))
        list(pool.map(Chain.come_to_rest, chains))
    book.close_all()
    return Outcome(total(), book.counts(), book.violations, book.objects, time.monotonic() - started)
