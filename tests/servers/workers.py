"""Our own processes as a cluster runs them: `celery -A workers worker`, `celery -A workers beat`, `mailsluice poll`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from servers.process import Server


class CeleryProcess(Server):
    """One worker or beat.

    Args:
        directory: its log.
        role: "worker" or "beat".
        environment: its settings.
        options: further arguments.
    """

    def __init__(self, directory: Path, role: str, environment: Mapping[str, str], *options: str) -> None:
        self.name = role
        super().__init__(directory, start_timeout_s=40)
        self.environment_variables = {**environment, "C_FORCE_ROOT": "1"}
        self._role = role
        self._options = options

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "celery", "-A", "workers", self._role, "-l", "info", *self._options]

    def answers(self) -> bool:
        sign = " ready." if self._role == "worker" else "beat: Starting..."
        return self.log().rpartition("-- started --")[2].count(sign) > 0

    def start(self) -> CeleryProcess:
        with self.log_file.open("a") as log:
            log.write("-- started --\n")  # a restarted one appends to the same file
        super().start()
        return self

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


class PollProcess(Server):
    """One `mailsluice poll`; `start` returns at the moment that the test names.

    Args:
        directory: its log.
        account: whom it polls.
        environment: its settings.
        reached: whether that moment is there.
    """

    name = "poll"

    def __init__(
        self, directory: Path, account: str, environment: Mapping[str, str], reached: Callable[[], bool]
    ) -> None:
        super().__init__(directory)
        self.environment_variables = dict(environment)
        self._account = account
        self._reached = reached

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "ingest", "poll", "--json", self._account]

    def answers(self) -> bool:
        return self._reached()

    def report(self) -> dict[str, Any]:
        """What it said at its end."""
        [line] = [line for line in self.log_file.read_text().splitlines() if line.startswith("{")]
        report: dict[str, Any] = json.loads(line)
        return report


class RelayProcess(Server):
    """One `mailsluice relay`; `start` returns at the moment that the test names.

    Args:
        directory: its log.
        environment: its settings.
        reached: whether that moment is there.
    """

    name = "relay"

    def __init__(self, directory: Path, environment: Mapping[str, str], reached: Callable[[], bool]) -> None:
        super().__init__(directory, start_timeout_s=60)
        self.environment_variables = dict(environment)
        self._reached = reached

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "ingest", "relay", "--json"]

    def answers(self) -> bool:
        return self._reached()

    def ended(self) -> tuple[int, dict[str, Any]]:
        """Ask it to end; its exit code, and what it said then."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(30)
        self.stop()
        lines = [line for line in self.log_file.read_text().splitlines() if line.startswith('{"sent"')]
        summary: dict[str, Any] = json.loads(lines[-1])
        return code, summary
