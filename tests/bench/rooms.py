"""Where CPU time goes, by room of the house: samples of the running stack at each tick of this process's CPU clock.

Rules of this file:
- A sample counts for the innermost frame that is ours, so a library's time counts for the room that called it.
- Sampling costs next to nothing, where a tracing profiler would make small functions look dear.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from report import print_table

import ingest

_HOUSE = str(Path(ingest.__file__).parent)
_TICK_S = 0.001
_ADAPTERS = {
    "tcp": "pop3",
    "address_policy": "pop3",
    "resolver": "pop3",
    "tls": "tls",
    "tls_sessions": "tls",
    "directory_store": "store",
    "s3_client": "store",
    "s3_errors": "store",
    "s3_store": "store",
    "spool": "spool",
    "telemetry": "telemetry",
    "clock": "poll",
    "secrets": "poll",
}


class Rooms:
    """Samples by room, by file and by function."""

    def __init__(self) -> None:
        self.rooms: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sample the main thread within the block."""
        before = signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, _TICK_S, _TICK_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def report(self, title: str, functions: int = 12) -> None:
        """The shares of the rooms, and of the dearest functions of ours with what they call elsewhere."""
        total = sum(self.rooms.values())
        print_table(
            f"{title}: CPU by room ({total} samples)",
            ("room", "share"),
            [(room, f"{100 * count / total:.1f} %") for room, count in self.rooms.most_common()],
        )
        print_table(
            f"{title}: dearest functions, with the libraries that they call",
            ("function", "share"),
            [(name, f"{100 * count / total:.1f} %") for name, count in self.functions.most_common(functions)],
        )

    def report_files(self, title: str) -> None:
        """The shares of the files, with the libraries that they call."""
        total = sum(self.files.values())
        print_table(
            f"{title}: CPU by file ({total} samples)",
            ("file", "share"),
            [(file, f"{100 * count / total:.1f} %") for file, count in self.files.most_common()],
        )

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        while frame is not None and not frame.f_code.co_filename.startswith(_HOUSE):
            frame = frame.f_back
        if frame is None:
            self.rooms["outside"] += 1
            self.files["outside"] += 1
            return
        path = Path(frame.f_code.co_filename).relative_to(_HOUSE).with_suffix("")
        self.rooms[_room(path)] += 1
        self.files[str(path)] += 1
        self.functions[f"{path}: {frame.f_code.co_qualname}"] += 1


def _room(path: Path) -> str:
    head, *inner = path.parts
    if head == "adapters":
        return "redis" if inner[0].startswith("redis") else _ADAPTERS.get(inner[0], inner[0])
    if head in {"pop3", "mime", "events", "retry", "pipeline"}:
        return head
    return "redis" if head == "ledger" else "poll"
