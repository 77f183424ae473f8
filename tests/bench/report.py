"""What a contestant cost, and the table that says so.

Rules of this file:
- CPU seconds are user and system time of the measuring process alone: servers run in processes of their own. Where a
  contestant is a program, they are those of its process and of what it started, from its first instruction to its last.
- Contestants take turns, round after round, so that a slow moment of the machine hits each of them; of each the round
  with the least CPU counts.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Cost:
    """Seconds of CPU (user and system) and of the wall."""

    cpu_s: float = float("inf")
    wall_s: float = float("inf")


def cpu_seconds(whose: int = resource.RUSAGE_SELF) -> float:
    """CPU of this process so far, all its threads; or of its children that have ended (RUSAGE_CHILDREN)."""
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def measured(whose: int = resource.RUSAGE_SELF) -> Iterator[Cost]:
    """The cost of the block, filled in at its end."""
    cost = Cost()
    wall, cpu = time.perf_counter(), cpu_seconds(whose)
    yield cost
    cost.cpu_s, cost.wall_s = cpu_seconds(whose) - cpu, time.perf_counter() - wall


def interleaved(
    contestants: Mapping[str, Callable[[int], object]],
    rounds: int,
    *,
    programs: Collection[str] = (),
    warm_up: bool = True,
) -> dict[str, Cost]:
    """Each contestant's cheapest round; it is told the number of its round, of which 0 warms up and is not counted.

    Those named in `programs` run as processes and end within their round.
    """
    best = {name: Cost() for name in contestants}
    for number in range(0 if warm_up else 1, rounds + 1):
        for name, run in contestants.items():
            with measured(resource.RUSAGE_CHILDREN if name in programs else resource.RUSAGE_SELF) as cost:
                run(number)
            if number and cost.cpu_s < best[name].cpu_s:
                best[name] = cost
    return best


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they need; the first one to the left, figures to the right."""
    lines = [header, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    print(f"\n{title}")
    for line in lines:
        first, *others = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  " + "  ".join([first, *others]).rstrip())


def print_costs(title: str, costs: Mapping[str, Cost], *, work: float, unit: str) -> None:
    """Work done for a CPU second and for a second of the wall, and how many times the others' the first one does."""
    first = next(iter(costs.values()))
    print_table(
        title,
        ("", f"{unit} per CPU s", "CPU s", "wall s", "our speed"),
        [
            (
                name,
                f"{work / cost.cpu_s:,.0f}",
                f"{cost.cpu_s:.3f}",
                f"{cost.wall_s:.3f}",
                f"{cost.cpu_s / first.cpu_s:.2f} x",
            )
            for name, cost in costs.items()
        ],
    )
