"""The Celery application: what it is configured to do, and what it refuses to start without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers.process import free_ports
from servers.redis import RedisServer

from ingest.errors import BrokerUnavailable
from ingest.settings import Settings
from workers.app import POLL_QUEUE, TICK_QUEUE, configuration
from workers.dispatcher import CeleryDispatcher


def worker(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A worker started with these settings and nothing else; it must end by itself."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAILSLUICE_")}
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", "worker", "-l", "info"],
        cwd=tmp_path,
        env={**clean, "C_FORCE_ROOT": "1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_task_carries_json_and_leaves_no_result() -> None:
    made = configuration(Settings())
    assert made["accept_content"] == ["json"]
    assert made["task_serializer"] == "json"
    assert made["task_ignore_result"] is True
    assert made["result_backend"] is None
    assert made["worker_prefetch_multiplier"] == 1


def test_ticks_have_a_queue_of_their_own_and_expire_with_the_next_one() -> None:
    made = configuration(Settings(tick_s=7))
    [entry] = made["beat_schedule"].values()
    assert entry["options"] == {"queue": TICK_QUEUE, "expires": 7}
    assert {(queue.name, queue.exchange.name, queue.routing_key) for queue in made["task_queues"]} == {
        (TICK_QUEUE, TICK_QUEUE, TICK_QUEUE),
        (POLL_QUEUE, POLL_QUEUE, POLL_QUEUE),
    }


def test_a_broker_that_is_off_is_said_in_one_line() -> None:
    port = free_ports(1)[0]
    dispatcher = CeleryDispatcher(Settings(broker_url=f"redis://:hidden@127.0.0.1:{port}/1"))
    with pytest.raises(BrokerUnavailable, match=rf"127\.0\.0\.1:{port}/1 is unreachable") as caught:
        dispatcher.ping()
    with pytest.raises(BrokerUnavailable):
        dispatcher.submit(["a"], expires_s=1)
    dispatcher.close()
    assert "hidden" not in str(caught.value)


def test_a_worker_with_bad_settings_says_each_in_one_line_and_exits_with_two(tmp_path: Path) -> None:
    done = worker(tmp_path, MAILSLUICE_SHARDS="many", MAILSLUICE_TICK_S="-1")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == ["MAILSLUICE_SHARDS", "MAILSLUICE_TICK_S"]


def test_a_worker_without_storage_does_not_start(tmp_path: Path, redis_url: str) -> None:
    done = worker(tmp_path, MAILSLUICE_REDIS_URL=redis_url)
    assert done.returncode == 2
    assert "MAILSLUICE_STORAGE_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_with_a_bad_accounts_file_does_not_start(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "accounts.toml").write_text('[[account]]\nid = "UPPER"\n')
    done = worker(
        tmp_path,
        MAILSLUICE_REDIS_URL=redis_url,
        MAILSLUICE_STORAGE_URL=f"file://{tmp_path}",
        MAILSLUICE_ACCOUNTS_FILE=str(tmp_path / "accounts.toml"),
    )
    assert done.returncode == 2
    assert "accounts.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_refuses_a_redis_that_evicts(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "evicting", maxmemory_policy="allkeys-lru") as server:
        done = worker(tmp_path, MAILSLUICE_REDIS_URL=server.url(), MAILSLUICE_STORAGE_URL=f"file://{tmp_path}")
    assert done.returncode == 1
    assert "allkeys-lru" in done.stderr
    assert "Traceback" not in done.stderr
