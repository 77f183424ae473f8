"""A cluster on real servers: Dovecot, Redis, SeaweedFS, Celery worker and beat."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from servers.dovecot import DovecotServer
from servers.redis import RedisServer
from servers.seaweed import SeaweedServer
from servers.workers import CeleryProcess


@dataclass
class Cluster:
    """Everything one installation is made of; `environment` is what its processes are set up with."""

    directory: Path
    environment: dict[str, str]
    redis_server: RedisServer
    seaweed: SeaweedServer
    dovecot: DovecotServer
    bucket: str
    processes: list[CeleryProcess] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self, role: str, *options: str, environment: Mapping[str, str] | None = None) -> CeleryProcess:
        """Start a worker or a beat; it ends with the test."""
        name = f"{role}{next(self._numbers)}"
        directory = self.directory / name
        directory.mkdir()
        process = CeleryProcess(
            directory,
            role,
            {**self.environment, "MAILSLUICE_LOG_LEVEL": "debug", **(environment or {})},
            *(("-n", f"{name}@%h") if role == "worker" else ()),
            *options,
        )
        self.processes.append(process)
        process.start()
        return process

    def start_all(self, role: str, count: int, *options: str) -> list[CeleryProcess]:
        """Start several at once: most of a start is waiting."""
        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(lambda _: self.start(role, *options), range(count)))

    def stop(self) -> None:
        """End all processes, and wait for them."""
        with ThreadPoolExecutor(max(1, len(self.processes))) as threads:
            list(threads.map(CeleryProcess.stop, self.processes))

    def cli(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the console script to its end."""
        return subprocess.run(
            [sys.executable, "-m", "ingest", *arguments],
            cwd=self.directory,
            env={**os.environ, **self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def apply(self, users: Mapping[str, str] | list[str], **keys: object) -> None:
        """Register accounts of Dovecot's users over implicit TLS."""
        self.write_accounts({user: {} for user in users}, **keys)
        done = self.cli("accounts", "apply", "accounts.toml")
        assert done.returncode == 0, done.stderr

    def write_accounts(self, accounts: Mapping[str, Mapping[str, object]], **keys: object) -> Path:
        """An accounts file: each account with its own keys over the common ones."""
        lines = []
        for user, own in accounts.items():
            password = self.directory / f"{user}.password"
            password.write_text(self.dovecot.users.get(user, "none") + "\n")
            entry: dict[str, object] = {
                "id": user,
                "host": "localhost",
                "port": self.dovecot.tls_port,
                "username": user,
                "password": f"file:{password}",
                "ca_file": str(self.dovecot.ca_file),
                "poll_interval_s": 1,
                **keys,
                **own,
            }
            lines += ["[[account]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
        path = self.directory / "accounts.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def events(self) -> list[dict[str, Any]]:
        """The whole stream, in order, of one shard after the other."""
        shards = range(int(self.environment.get("MAILSLUICE_SHARDS", "1")))
        with self.state() as client:
            return [
                json.loads(fields[b"event"])
                for shard in shards
                for _, fields in client.xrange(f"mailsluice:{{s{shard}}}:events")
            ]

    def state(self) -> redis.Redis:
        """A client of our own to the Redis that holds the state, be it one or a Redis Cluster."""
        url = self.environment["MAILSLUICE_REDIS_URL"]
        if url.startswith("redis+cluster:"):
            clustered: Any = redis.RedisCluster.from_url(url.replace("redis+cluster:", "redis:"))
            return clustered
        return redis.Redis.from_url(url)

    def messages(self) -> list[dict[str, Any]]:
        """Data of received messages."""
        return [event["data"] for event in self.events() if event["type"] == "mailsluice.message.received.v1"]

    def wait_for_messages(self, count: int, timeout_s: float) -> list[dict[str, Any]]:
        """Once so many messages are told of (or more)."""
        wait_for(lambda: len(self.messages()) >= count, timeout_s, lambda: f"{len(self.messages())} of {count}")
        return self.messages()

    def object(self, url: str) -> bytes:
        """The bytes behind an event's URL, read with a client of our own."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return self.seaweed.client().get_object(Bucket=bucket, Key=key)["Body"].read()

    def log(self) -> str:
        return "\n".join(process.log() for process in self.processes)


def wait_for(true: Callable[[], bool], timeout_s: float, what: Callable[[], str] = lambda: "") -> None:
    """Poll a condition of other processes until it holds."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"not within {timeout_s:g} s: {what()}")
        time.sleep(0.05)


@pytest.fixture
def servers(
    redis_server: RedisServer, seaweed_server: SeaweedServer, dovecot_server: DovecotServer
) -> tuple[RedisServer, SeaweedServer, DovecotServer]:
    return redis_server, seaweed_server, dovecot_server


@pytest.fixture
def cluster(
    tmp_path: Path,
    servers: tuple[RedisServer, SeaweedServer, DovecotServer],
    redis_url: str,
    s3_store_url: str,
) -> Iterator[Cluster]:
    redis_server, seaweed_server, dovecot_server = servers
    environment = {
        **seaweed_server.environment(),
        "MAILSLUICE_REDIS_URL": redis_url,
        "MAILSLUICE_STORAGE_URL": s3_store_url,
        "MAILSLUICE_DATA_DIR": str(tmp_path / "var"),
        "MAILSLUICE_ALLOWED_NETWORKS": '["127.0.0.0/8", "::1/128"]',
        "MAILSLUICE_TICK_S": "0.5",
        "MAILSLUICE_MAX_POLL_INTERVAL_S": "1",
        "MAILSLUICE_LEASE_TTL_S": "5",
        "MAILSLUICE_CLAIM_TTL_S": "5",
    }
    made = Cluster(tmp_path, environment, redis_server, seaweed_server, dovecot_server, seaweed_server.bucket)
    yield made
    made.stop()
