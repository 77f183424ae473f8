"""Polls in processes of their own, one at a time: the other end of a nursery."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from chaos.planted import Bug
from chaos.points import Point

_TESTS = Path(__file__).resolve().parents[1]
_PATIENCE_S = 60.0


class Poller:
    """A nursery and its children; a context manager.

    Args:
        environment: of all its polls.
        log: what they print.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MAILSLUICE_")},
            **environment,
            "PYTHONPATH": os.pathsep.join([str(_TESTS.parent), str(_TESTS)]),
        }
        self._log = log

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chaos.nursery"],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()

    def begin(
        self,
        account_id: str,
        settings: Mapping[str, object],
        *,
        point: Point | None = None,
        nth: int = 1,
        alone: bool = True,
        planted: Bug | None = None,
    ) -> None:
        """Begin a poll that is to be killed at the n-th arrival at a point, or to run through; see `armed.arm`."""
        request = {
            "account": account_id,
            "settings": dict(settings),
            "point": point,
            "nth": nth,
            "alone": alone,
            "planted": planted,
        }
        pipe = self._process.stdin
        if pipe is None:
            raise RuntimeError("no nursery")
        pipe.write(json.dumps(request).encode() + b"\n")
        pipe.flush()

    def end(self) -> dict[str, Any] | None:
        """Its report, or None if it was killed."""
        pipe = self._process.stdout
        if pipe is None:
            raise RuntimeError("no nursery")
        if not select.select([pipe], [], [], _PATIENCE_S)[0]:
            raise RuntimeError(f"a poll did not end within {_PATIENCE_S:g} s; see {self._log}")
        answer = json.loads(pipe.readline() or b'{"killed": false, "report": null}')
        if answer["killed"]:
            return None
        report: dict[str, Any] | None = answer["report"]
        if report is None:
            raise RuntimeError(f"a poll ended by itself:\n{self._log.read_text(errors='replace')[-3000:]}")
        return report
