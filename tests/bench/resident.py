"""Resident memory of this process, as Linux counts it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path


def status_kib(field: str) -> int:
    """A field of this process's status: VmRSS (resident now) or VmHWM (at most, since it was reset)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0])


def peak(run: Callable[[], object]) -> dict[str, int]:
    """Resident KiB before, and at most meanwhile."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    loaded = status_kib("VmRSS")
    run()
    return {"loaded": loaded, "peak": status_kib("VmHWM")}
