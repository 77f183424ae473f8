"""Redis in its larger shapes, on loopback: a cluster of three masters, and a master with a replica under Sentinel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import redis

from servers.process import free_ports, wait_until
from servers.redis import RedisServer

_SLOTS = 16384
_MORE_THAN_SOCKET_BUFFERS = 64 << 20


class RedisCluster:
    """Three masters that share the slots; a context manager."""

    def __init__(self, directory: Path) -> None:
        self._stack = ExitStack()
        self.nodes = []
        for n in range(3):
            (bus,) = free_ports(1)
            self.nodes.append(RedisServer(directory / f"n{n}", cluster_enabled="yes", cluster_port=str(bus)))

    def __enter__(self) -> Self:
        for node in self.nodes:
            self._stack.enter_context(node)
        clients = [self._stack.enter_context(redis.Redis(port=node.port)) for node in self.nodes]
        share = -(-_SLOTS // len(clients))
        for n, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", n * share, min((n + 1) * share, _SLOTS) - 1)
            bus = self.nodes[n].setting("cluster-port")
            for other in clients[:n]:
                other.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[n].port, bus)
        wait_until(
            lambda: (
                all(b"cluster_state:ok" in _text(client.execute_command("CLUSTER", "INFO")) for client in clients)
                and all(
                    _text(client.execute_command("CLUSTER", "NODES")).count(b"connected") == 3 for client in clients
                )
            ),
            alive=lambda: all(node.running for node in self.nodes),
            timeout_s=20,
            what="the cluster",
        )
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def flush(self) -> None:
        for node in self.nodes:
            with redis.Redis(port=node.port) as client:
                client.flushall()


class SentinelServer(RedisServer):
    """One sentinel over a master, quorum 1: quick to decide, for tests only."""

    name = "redis-sentinel"

    def __init__(self, directory: Path, master: RedisServer) -> None:
        super().__init__(directory)
        self.file = directory / "sentinel.conf"
        self.file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
        )

    def command(self) -> Sequence[str]:
        return [super().command()[0], str(self.file), "--sentinel"]


class WatchedRedis:
    """A master, its replica and a sentinel; a context manager. `fail_over` kills the master for good.

    `lag` makes the replica fall behind from then on: it stands still, and the kernel's buffers between the two are
    full, so what the master writes then never leaves its memory.
    """

    def __init__(self, directory: Path) -> None:
        self._stack = ExitStack()
        self._directory = directory
        self.master = RedisServer(directory / "master")

    def __enter__(self) -> Self:
        self._stack.enter_context(self.master)
        self.replica = self._stack.enter_context(
            RedisServer(self._directory / "replica", replicaof=f"127.0.0.1 {self.master.port}")
        )
        self.sentinel = self._stack.enter_context(SentinelServer(self._directory / "sentinel", self.master))
        with redis.Redis(port=self.sentinel.port) as client:
            self._until(lambda: len(client.sentinel_slaves("main")) == 1, "the replica")
        with redis.Redis(port=self.replica.port) as client:
            self._until(lambda: client.info("replication")["master_link_status"] == "up", "replication")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/main/0"

    def lag(self) -> None:
        self.replica.pause()
        with redis.Redis(port=self.master.port) as client:
            client.set("filler", bytes(_MORE_THAN_SOCKET_BUFFERS))
            client.delete("filler")

    def fail_over(self) -> None:
        self.master.kill()
        self.replica.resume()
        with redis.Redis(port=self.sentinel.port) as client:
            self._until(lambda: client.sentinel_get_master_addr_by_name("main")[1] == self.replica.port, "failover")
        with redis.Redis(port=self.replica.port) as client:
            self._until(lambda: client.info("replication")["role"] == "master", "the new master")

    def _until(self, true: Callable[[], bool], what: str) -> None:
        wait_until(true, alive=lambda: True, timeout_s=30, what=what)


def _text(answer: object) -> bytes:
    return answer if isinstance(answer, bytes) else repr(answer).encode()
