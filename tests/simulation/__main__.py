"""`python -m simulation --seeds 10000 --jobs 2`: exit 1 if any seed fails; `--trace` shows the steps of one."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TextIO

from simulation.faults import FAULTS
from simulation.runner import Options, Summary, lines_of_trace, run_many, run_seed

_SHOWN = 20


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--faults", default=None, help="only these, all of them on: " + ", ".join(FAULTS))
    parser.add_argument("--pending", action="store_true", help="also what the product does not master yet")
    parser.add_argument("--trace", action="store_true", help="show every step of the first seed, and stop")
    args = parser.parse_args()
    only = None if args.faults is None else tuple(name for name in args.faults.split(",") if name)
    if unknown := set(only or ()) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    options = Options(only, args.pending)
    if args.trace:
        return _trace(args.first, options)
    started = time.monotonic()
    summary = run_many(range(args.first, args.first + args.seeds), options, jobs=args.jobs, progress=_progress)
    _say("\n" if sys.stderr.isatty() else "", sys.stderr)
    _report(summary, time.monotonic() - started, options)
    return 1 if summary.failing else 0


def _trace(seed: int, options: Options) -> int:
    world = run_seed(seed, options, trace=True)
    for line in lines_of_trace(world):
        _say(line + "\n")
    _say(f"{world.plan}\nseed {seed}: {world.violation or 'nothing wrong'}\n")
    return 1 if world.violation else 0


def _progress(summary: Summary, seconds: float) -> None:
    if sys.stderr.isatty():
        rate = summary.seeds / max(seconds, 0.001)
        _say(f"\r{summary.seeds} seeds, {len(summary.failing)} failing, {rate:.0f} a second ", sys.stderr)


def _report(summary: Summary, seconds: float, options: Options) -> None:
    _say(
        f"{summary.seeds} seeds in {seconds:.1f} s: {summary.polls} polls, {summary.steps} steps, "
        f"{summary.events} events, {summary.repeats} repeats after failovers\n"
    )
    faults = ", ".join(f"{name} {summary.struck[name]}" for name in FAULTS)
    _say(f"faults: {faults}\n")
    for seed, violation in summary.failing[:_SHOWN]:
        _say(f"seed {seed}: {violation}\n    {options.command(seed)}\n")
    _say(f"{len(summary.failing)} failing seeds\n")


def _say(text: str, to: TextIO | None = None) -> None:
    (to or sys.stdout).write(text)


if __name__ == "__main__":
    sys.exit(main())
