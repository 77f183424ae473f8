"""Runs many seeds, over processes, and sums up what they went through.

Rules of this file:
- A seed's result does not depend on the seeds beside it.
- Each failing seed is printed with the command that fails again.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from simulation.plan import Plan, plan_of
from simulation.world import World

_CHUNK = 50


@dataclass(frozen=True)
class Options:
    """How worlds are made; see `plan.plan_of`."""

    only: tuple[str, ...] | None = None
    pending: bool = False

    def plan(self, seed: int) -> Plan:
        return plan_of(seed, only=self.only, pending=self.pending)

    def command(self, seed: int) -> str:
        """What runs this seed again and shows its steps."""
        return f"PYTHONPATH=tests python -m simulation --from {seed} --trace{self._arguments()}"

    def _arguments(self) -> str:
        only = "" if self.only is None else f" --faults {','.join(self.only)}"
        return only + (" --pending" if self.pending else "")


@dataclass
class Summary:
    """What some seeds went through."""

    seeds: int = 0
    polls: int = 0
    steps: int = 0
    events: int = 0
    repeats: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    failing: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Summary) -> None:
        self.seeds += other.seeds
        self.polls += other.polls
        self.steps += other.steps
        self.events += other.events
        self.repeats += other.repeats
        self.struck.update(other.struck)
        self.failing += other.failing


def run_seed(seed: int, options: Options, *, trace: bool = False) -> World:
    """One world, run to its end."""
    world = World(options.plan(seed), trace=trace)
    world.run()
    return world


def run_seeds(seeds: Iterable[int], options: Options) -> Summary:
    """Some worlds, one after the other."""
    summary = Summary()
    for seed in seeds:
        world = run_seed(seed, options)
        summary.seeds += 1
        summary.polls += world.polls
        summary.steps += world.steps
        summary.events += world.book.events
        summary.repeats += world.book.repeats
        summary.struck.update(world.faults.struck)
        if world.violation:
            summary.failing.append((seed, world.violation))
    return summary


def run_many(seeds: range, options: Options, *, jobs: int, progress: Callable[[Summary, float], None]) -> Summary:
    """All seeds over `jobs` processes; `progress` is told now and then, with the seconds so far."""
    summary, started = Summary(), time.monotonic()
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for part in pool.imap(_part, _chunks(seeds, options)):
            summary.add(part)
            progress(summary, time.monotonic() - started)
    return summary


def _chunks(seeds: range, options: Options) -> Iterator[tuple[range, Options]]:
    return ((seeds[at : at + _CHUNK], options) for at in range(0, len(seeds), _CHUNK))


def _part(work: tuple[Collection[int], Options]) -> Summary:
    return run_seeds(*work)


def lines_of_trace(world: World) -> Iterator[str]:
    """The trace for a person."""
    for seconds, who, what, detail in world.trace or ():
        yield f"{seconds:10.2f} {who:<6} {what:<18} {detail if detail != '' else ''}"
