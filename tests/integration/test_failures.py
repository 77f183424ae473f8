"""What goes wrong outside: one clear line each, a back-off, and no effect on other accounts."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import redis
import trustme
from botocore.exceptions import ClientError
from integration.conftest import Cluster, wait_for
from integration.test_straight_line import message
from servers.clamd import ClamdServer
from servers.dovecot import DovecotServer
from servers.process import free_ports
from servers.redis import RedisServer

from ingest.simulator.server import Simulator


def reports(cluster: Cluster, *arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, dict]:
    done = cluster.cli("poll", "--json", *arguments, environment=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return {report["account"]: report for report in map(json.loads, done.stdout.splitlines())}


def test_each_broken_account_fails_in_one_line_and_backs_off_while_the_good_one_is_polled(
    cluster: Cluster, fresh_users: Iterator[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    good, wrong, nowhere, other_name, closed = (next(fresh_users) for _ in range(5))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority = trustme.CA()
    authority.issue_cert("pop.example.com").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    impostor = Simulator({}, tls=context, implicit_tls=True)
    impostor.start()
    request.addfinalizer(impostor.stop)
    cluster.dovecot.deliver(good, message(good, 1))
    (tmp_path / "wrong").write_text("not the password")
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    cluster.write_accounts({
        good: {},
        wrong: {"password": f"file:{tmp_path / 'wrong'}"},
        nowhere: {"host": "pop.nowhere.invalid"},
        other_name: {"port": impostor.port, "ca_file": str(tmp_path / "other.pem")},
        closed: {"ca_file": str(stranger)},
    })  # fmt: skip
    assert cluster.cli("accounts", "apply", "accounts.toml").returncode == 0
    done = cluster.cli("poll", "--all")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 4, done.stderr
    got = reports(cluster, "--all")
    assert got[good]["outcome"] == "done"
    assert [got[name]["failure"]["code"] for name in (wrong, nowhere, other_name, closed)] == [
        "credentials",
        "host_unreachable",
        "certificate",
        "certificate",
    ]
    assert "does not resolve" in got[nowhere]["failure"]["what"]
    assert "pop.example.com" in got[other_name]["failure"]["what"]
    for name in (wrong, nowhere, other_name, closed):
        assert got[name]["failure"]["what"].count("\n") == 0
        assert got[name]["next_due_s"] > 30
    assert got[wrong]["next_due_s"] > 5 * 3600  # the second refusal in a row opens the breaker
    assert [data["account"] for data in cluster.messages()] == [good]
    failing = [event for event in cluster.events() if event["type"] == "mailsluice.account.failing.v1"]
    assert [event["data"]["account"] for event in failing] == [wrong]


def test_a_bucket_that_vanishes_mid_poll_loses_nothing_and_the_poll_says_so(
    cluster: Cluster, dovecot_user: str
) -> None:
    user = dovecot_user
    for n in range(800):
        cluster.dovecot.deliver(user, message(user, n))
    cluster.seaweed.create_bucket("vanishing")
    storage = {"MAILSLUICE_STORAGE_URL": "s3://vanishing/mail"}
    cluster.apply([user])
    cluster.start("beat")
    worker = cluster.start("worker", "-c", "2", environment=storage)
    cluster.wait_for_messages(10, 30)
    worker.pause()  # in the middle, whatever it is doing
    cluster.seaweed.drop_bucket("vanishing")
    for n in range(800, 820):  # so that something is left to store, however quick the worker was
        cluster.dovecot.deliver(user, message(user, n))
    worker.resume()

    def refused() -> bool:
        with suppress(ClientError):  # it is gone, as it should be
            cluster.seaweed.drop_bucket("vanishing")  # a put that was under way brings it back
        return '"code": "store_refused"' in worker.log()

    wait_for(refused, 60, lambda: worker.log()[-2000:])
    told = len(cluster.messages())
    assert told < 820
    assert "Traceback" not in worker.log()
    assert "vanishing" in next(line for line in worker.log().splitlines() if "store_refused" in line)
    cluster.seaweed.create_bucket("vanishing")
    done = cluster.cli("poll", user, environment=storage)
    while "busy" in done.stdout:
        done = cluster.cli("poll", user, environment=storage)
    cluster.wait_for_messages(820, 60)
    told = cluster.messages()
    assert len(told) == len({data["message_id"] for data in told}) == 820


@pytest.fixture
def doctor_ok(cluster: Cluster, dovecot_user: str) -> str:
    cluster.apply([dovecot_user])
    done = cluster.cli("doctor", "--accounts")
    assert done.returncode == 0, done.stdout + done.stderr
    return dovecot_user


def complaint(cluster: Cluster, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Doctor's one line about what is wrong."""
    done = cluster.cli("doctor", *arguments, environment=environment)
    assert done.returncode == 1, done.stdout
    [line] = done.stderr.strip().splitlines()
    return line


def test_doctor_names_a_redis_that_is_off(cluster: Cluster, doctor_ok: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "off") as server:
        url = server.url()
    line = complaint(
        cluster, environment={"MAILSLUICE_REDIS_URL": url, "MAILSLUICE_BROKER_URL": cluster.redis_server.url(1)}
    )
    assert "redis" in line.lower()
    assert "unreachable" in line


def test_doctor_names_a_broker_that_is_off(cluster: Cluster, doctor_ok: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "off") as server:
        url = server.url(1)
    assert "broker" in complaint(cluster, environment={"MAILSLUICE_BROKER_URL": url})


def test_doctor_names_a_redis_that_evicts(cluster: Cluster, doctor_ok: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "evicting", maxmemory_policy="allkeys-lru") as server:
        line = complaint(cluster, environment={"MAILSLUICE_REDIS_URL": server.url()})
    assert "allkeys-lru" in line
    assert "noeviction" in line


def test_doctor_names_a_redis_that_is_full(cluster: Cluster, doctor_ok: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "full", maxmemory=1) as server:
        line = complaint(
            cluster,
            environment={"MAILSLUICE_REDIS_URL": server.url(), "MAILSLUICE_BROKER_URL": cluster.redis_server.url(1)},
        )
    assert line.startswith("memory: ")
    assert "maxmemory" in line


def test_doctor_names_a_bucket_that_is_missing(cluster: Cluster, doctor_ok: str) -> None:
    line = complaint(cluster, environment={"MAILSLUICE_STORAGE_URL": "s3://missing/mail"})
    assert "missing" in line


def test_doctor_names_a_wrong_secret_key(cluster: Cluster, doctor_ok: str) -> None:
    line = complaint(cluster, environment={"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert line.startswith("storage")


def test_doctor_names_a_storage_that_is_down(cluster: Cluster, doctor_ok: str) -> None:
    environment = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{free_ports(1)[0]}"}
    assert complaint(cluster, environment=environment).startswith("storage")


def test_doctor_pings_the_scanner_where_one_is_set(
    cluster: Cluster, doctor_ok: str, clamd_server: ClamdServer, tmp_path: Path
) -> None:
    for url in (clamd_server.unix_url, clamd_server.tcp_url):
        done = cluster.cli("doctor", environment={"MAILSLUICE_CLAMD_URL": url})
        assert done.returncode == 0, done.stderr
        assert "ok   scanner: clamd answers" in done.stdout
    line = complaint(cluster, environment={"MAILSLUICE_CLAMD_URL": f"unix://{tmp_path}/clamd.ctl"})
    assert line.startswith(f"scanner: no connection to clamd at {tmp_path}/clamd.ctl: No such file or directory")


def test_doctor_names_a_sealed_password_under_another_key(cluster: Cluster, dovecot_user: str) -> None:
    key, other = "A" * 43 + "=", "B" * 42 + "A="
    cluster.write_accounts({dovecot_user: {"password": "plain:" + cluster.dovecot.users[dovecot_user]}})
    done = cluster.cli("accounts", "apply", "accounts.toml", environment={"MAILSLUICE_SECRET_KEY": key})
    assert done.returncode == 0, done.stderr
    assert cluster.cli("doctor", environment={"MAILSLUICE_SECRET_KEY": key}).returncode == 0
    line = complaint(cluster, environment={"MAILSLUICE_SECRET_KEY": other})
    assert dovecot_user in line
    assert "MAILSLUICE_SECRET_KEY" in line


def test_doctor_names_an_account_that_can_not_log_in(
    cluster: Cluster, doctor_ok: str, dovecot_server: DovecotServer
) -> None:
    (cluster.directory / f"{doctor_ok}.password").write_text("changed")
    line = complaint(cluster)
    assert doctor_ok in line
    assert "password" in line


def test_no_password_appears_in_redis_logs_events_or_output(cluster: Cluster, dovecot_user: str) -> None:
    """A canary: the account's password, a sealed one too, searched for in everything a poll leaves behind."""
    canary = cluster.dovecot.users[dovecot_user]
    key = {"MAILSLUICE_SECRET_KEY": "A" * 43 + "="}
    cluster.write_accounts({dovecot_user: {"password": f"plain:{canary}"}})
    cluster.dovecot.deliver(dovecot_user, message(dovecot_user, 1))
    outputs = [
        cluster.cli(*arguments, environment=key)
        for arguments in (
            ("accounts", "apply", "accounts.toml"),
            ("accounts", "show", dovecot_user),
            ("accounts", "list", "--json"),
            ("doctor", "--accounts"),
        )
    ]
    cluster.start("beat", environment=key)
    cluster.start("worker", environment=key)
    cluster.wait_for_messages(1, 30)
    seen = [done.stdout + done.stderr for done in outputs] + [cluster.log()]
    with redis.Redis.from_url(cluster.environment["MAILSLUICE_REDIS_URL"]) as client:
        seen += [str(client.dump(key)) for key in client.scan_iter()]
        seen.append(str([(client.hgetall(key)) for key in client.scan_iter() if client.type(key) == b"hash"]))
    assert not [text for text in seen if canary in text]
