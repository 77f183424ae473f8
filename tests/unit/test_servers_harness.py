"""The harness keeps its own promises: servers answer, come back with their data, and die with the test process."""

from __future__ import annotations

import os
import poplib
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from conftest import available
from servers.dovecot import DovecotServer
from servers.process import wait_until
from servers.redis import RedisServer
from servers.seaweed import SeaweedServer

TESTS = Path(__file__).parent.parent
MAIL = b"Subject: hello\r\n\r\nbody\r\n"


def test_redis_keeps_acknowledged_writes_over_a_kill(tmp_path: Path) -> None:
    with available(), RedisServer(tmp_path, appendfsync="always") as server:
        with redis.Redis.from_url(server.url()) as client:
            client.set("k", "v")
        port = server.port
        server.kill()
        assert not server.running
        server.restart()
        with redis.Redis.from_url(server.url()) as client:
            assert (client.get("k"), server.port) == (b"v", port)
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_redis_can_be_started_with_settings_that_the_product_refuses(tmp_path: Path) -> None:
    with (
        available(),
        RedisServer(tmp_path, maxmemory_policy="allkeys-lru", maxmemory=100_000_000) as server,
        redis.Redis.from_url(server.url()) as client,
    ):
        assert client.info("memory")["maxmemory_policy"] == "allkeys-lru"


def test_a_second_object_store_runs_beside_the_first_and_keeps_its_objects(
    seaweed_server: SeaweedServer, tmp_path: Path
) -> None:
    with available(), SeaweedServer(tmp_path, bucket="other") as server:
        server.client().put_object(Bucket="other", Key="k", Body=b"v")
        server.kill()
        server.restart()
        assert server.client().get_object(Bucket="other", Key="k")["Body"].read() == b"v"
        seaweed_server.create_bucket("other2")
        seaweed_server.drop_bucket("other2")
        names = {bucket["Name"] for bucket in seaweed_server.client().list_buckets()["Buckets"]}
        assert seaweed_server.bucket in names
        assert not names & {"other", "other2"}


def test_dovecot_serves_what_was_delivered_over_verified_tls(dovecot_server: DovecotServer, dovecot_user: str) -> None:
    path = dovecot_server.deliver(dovecot_user, MAIL)
    assert path.parent.name == "new"
    context = ssl.create_default_context(cafile=str(dovecot_server.ca_file))
    session = poplib.POP3_SSL("localhost", dovecot_server.tls_port, context=context, timeout=10)
    session.user(dovecot_user)
    session.pass_(dovecot_server.users[dovecot_user])
    assert session.retr(1)[1] == [b"Subject: hello", b"", b"body"]
    session.quit()
    assert dovecot_server.messages(dovecot_user) == 1


def test_dovecot_sees_changed_passwords_at_once(dovecot_server: DovecotServer) -> None:
    for password in ("one11", "two22"):
        dovecot_server.set_users({**dovecot_server.users, "changing": password})
        assert dovecot_server.uidls("changing") == []


def test_dovecot_renumbers_a_maildrop(dovecot_server: DovecotServer, dovecot_user: str) -> None:
    for _ in range(3):
        dovecot_server.deliver(dovecot_user, MAIL)
    before = dovecot_server.uidls(dovecot_user)
    assert before == dovecot_server.uidls(dovecot_user)
    dovecot_server.renumber(dovecot_user)
    after = dovecot_server.uidls(dovecot_user)
    assert len(after) == 3
    assert not set(before) & set(after)


def test_servers_die_with_a_test_process_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from servers.redis import RedisServer\n"
        "server = RedisServer(Path(sys.argv[1])).start(); print(server.pid, flush=True); sys.stdin.read()"
    )
    with available():
        RedisServer(tmp_path / "probe").command()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        wait_until(lambda: not _serves(pid), alive=lambda: True, timeout_s=10, what="the end of an orphaned server")


def _serves(pid: int) -> bool:
    """Whether the process still runs (a zombie, where nobody reaps, does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_that_ends_while_it_starts_shows_its_log(tmp_path: Path) -> None:
    with available():
        server = RedisServer(tmp_path, no_such_setting="1")
        with pytest.raises(RuntimeError, match="ended while it started") as caught:
            server.start()
    assert "no-such-setting" in "".join(caught.value.__notes__)
