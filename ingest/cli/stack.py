"""What `demo` and `up` share: a worker and a beat as processes, and the events as they arrive.

Rules of this room:
- Each child gets its settings through its environment, writes a log of its own, and is ended by its pid: SIGTERM, a
  bounded wait, SIGKILL. On Linux it also ends when we are killed.
- Children don't hear Ctrl-C: we do, and end them in order.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rich.text import Text

from ingest.cli.output import clean
from ingest.errors import ConfigurationError
from ingest.models import StreamEntry

STOP_TIMEOUT_S = 30.0
_RESTART_MAX_S = 30.0
_STEADY_S = 60.0


@dataclass
class Child:
    """A process that we keep running."""

    name: str
    argv: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait_s: float = 1.0
    restart_at: float | None = None

    def start(self) -> None:
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*guard, *self.argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.started, self.restart_at = time.monotonic(), None

    def last_lines(self, count: int) -> list[str]:
        """The end of its log."""
        return self.log.read_text("utf-8", "replace").splitlines()[-count:] if self.log.exists() else []


@dataclass
class Stack:
    """Worker and beat of one machine.

    Args:
        directory: where their logs lie.
    """

    directory: Path
    children: list[Child] = field(init=False)

    def __post_init__(self) -> None:
        logs = self.directory / "logs"
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        celery = [sys.executable, "-m", "celery", "-A", "workers"]
        self.children = [Child(name, [*celery, name], logs / f"{name}.log") for name in ("worker", "beat")]

    def start(self) -> None:
        for child in self.children:
            child.start()

    def tend(self) -> list[str]:
        """Start again what has died, later each time; a line for each thing that happened."""
        lines = []
        now = time.monotonic()
        for child in self.children:
            if child.restart_at is not None and now >= child.restart_at:
                child.start()
                lines.append(f"{child.name} started again")
            elif child.restart_at is None and child.process is not None and child.process.poll() is not None:
                steady = now - child.started > _STEADY_S
                child.wait_s = 1.0 if steady else min(_RESTART_MAX_S, child.wait_s * 2)
                child.restart_at = now + child.wait_s
                code = child.process.returncode
                how = f"exit code {code}" if code >= 0 else f"signal {-code}"
                lines.append(f"{child.name} ended ({how}, see {child.log}); again in {child.wait_s:.0f} s")
        return lines

    def stop(self) -> None:
        """End them all and wait for it, at most STOP_TIMEOUT_S."""
        running = [child.process for child in self.children if child.process and child.process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):  # too slow, or a second Ctrl-C
                process.kill()
                process.wait()


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second one of them interrupts as usual."""
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_data_dir(directory: Path) -> None:
    """Make it, for us alone; ConfigurationError where it can't be."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            [f"MAILSLUICE_DATA_DIR: {directory} can't be made: {error.strerror} (name a directory that may be written)"]
        ) from None


def own_store(directory: Path) -> str:
    """The URL of a directory store below; made here, since a store never makes the place it is pointed at."""
    place = directory / "objects"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    return place.as_uri()


def use_environment(variables: dict[str, str], *, only: bool) -> None:
    """Set variables for this process and its children; `only` removes all other settings of ours first."""
    if only:
        for name in [name for name in os.environ if name.upper().startswith("MAILSLUICE_")]:
            del os.environ[name]
    os.environ.update(variables)


def event_line(entry: StreamEntry) -> Text:
    """When, what, for whom, about what."""
    event: dict[str, Any] = json.loads(entry.event.json)
    data = event["data"]
    files = len(data.get("attachments", ()))
    about = data.get("subject") or data.get("detail") or "(no subject)"
    return Text.assemble(
        (clean(str(event["time"]))[11:19], "dim"),
        "  ",
        (clean(entry.event.type), "green" if ".received." in entry.event.type else "yellow"),
        f"  {clean(data['account']):<10} ",
        clean(about)[:80],
        (f"  {files} attachment{'' if files == 1 else 's'}" if files else "", "cyan"),
    )
