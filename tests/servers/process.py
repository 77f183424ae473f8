"""One server process of ours: started, awaited, stopped, never left behind.

Rules of this room:
- A server leads its own process group; whatever it forks goes with it.
- Beside it waits a guard, `sh` blocked on a pipe that only this process holds. However this process ends (returned,
  interrupted, killed with -9), the pipe breaks and the guard kills the group. So nothing depends on clean-up code.
- Ports come from 20000 to 22759: they and those 10000 above them (SeaweedFS' gRPC) lie below the range that the kernel
  hands to outgoing connections, so a port stays free while its server is down. Of test processes that run side by side
  each has a share of its own: no other takes a port that is free for a moment.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

_PORTS = range(20_000, 22_760)


class ServerUnavailable(RuntimeError):
    """This machine lacks what the server needs; the text names it."""


def free_ports(count: int, *, shadow: int = 0) -> list[int]:
    """Free loopback ports in a row; with `shadow`, port + shadow is free for each of them too."""
    rng, ports = random.SystemRandom(), _share()
    for _ in range(1000):
        first = rng.choice(ports[: len(ports) - count + 1])
        block = list(range(first, first + count))
        if all(_is_free(port) for port in block + [port + shadow for port in block if shadow]):
            return block
    raise RuntimeError("no free ports on loopback")


def _share() -> range:
    """The ports of this process: all of them, or its part where pytest-xdist runs several (gw0, gw1, ...)."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % count
    size = len(_PORTS) // count
    return _PORTS[number * size : (number + 1) * size]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(answers: Callable[[], bool], *, alive: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Ask until it answers; RuntimeError once it died or `timeout_s` are over."""
    deadline = time.monotonic() + timeout_s
    while not answers():
        if not alive():
            raise RuntimeError(f"{what} ended while it started")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not answer within {timeout_s:g} s")
        time.sleep(0.01)


class Server:
    """A process group with a readiness check. Subclasses say what to run and when it answers.

    Args:
        directory: data, configuration and log of this server; made if missing.
        start_timeout_s: bound for "it answers".
    """

    name = "server"
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path, *, start_timeout_s: float = 20.0) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log_file = directory / f"{self.name}.log"
        self.environment_variables: dict[str, str] = {}  # beside this process' own
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """The argv, a foreground process."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it serves already; never raises, never waits long."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Of the running server, which is also its process group's id."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start and wait until it answers."""
        if self.running:
            return self
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env={**os.environ, **self.environment_variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "guard", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until(self.answers, alive=lambda: self.running, timeout_s=self._start_timeout_s, what=self.name)
        except BaseException as error:
            self.kill()
            if isinstance(error, RuntimeError):
                error.add_note(self._log_tail())
            raise
        return self

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask it to end, and make sure; harmless when it is down already."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the whole group, as if the machine's power had gone for it."""
        process, guard = self._process, self._guard
        self._process = self._guard = None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if guard is not None:
            guard.kill()
            guard.communicate()

    def restart(self) -> Self:
        """Down and up again, on the same ports and the same data."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """Freeze the group (SIGSTOP): connections stand, nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen group go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _log_tail(self) -> str:
        return self.log_file.read_text(errors="replace")[-2000:]


def executable(name: str, *, beside: Path | None = None, how: str) -> str:
    """Where a program is: in `beside`, or on PATH; ServerUnavailable says how to get it."""
    if beside is not None and os.access(beside / name, os.X_OK):
        return str(beside / name)
    found = shutil.which(name)
    if found is None:
        raise ServerUnavailable(f"{name} is missing: {how}")
    return found
