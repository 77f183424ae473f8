"""Redis fails: restart, failover to a lagging replica, truncated AOF, an older dump. The runbooks, as they were run.

Rules of this room:
- Nothing is lost, and what comes again carries the same event id.
- Nothing is deleted whose record the Redis that is left did not read back, past its grace.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from house import PASSWORD, House, house, mail
from integration.conftest import Cluster, wait_for
from integration.test_straight_line import message
from redis_house import RedisSide
from servers.redis import RedisServer
from servers.redis_cluster import WatchedRedis

from ingest.models import Kind


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


def deliver(h: House, *subjects: str) -> None:
    for subject in subjects:
        h.maildrop.deliver(mail(subject))


def deleted(h: House) -> set[str]:
    return {uidl for _, uidl in h.server.log.deleted}


# Restart


def test_redis_killed_and_started_again_in_the_middle_of_polls_loses_nothing(
    cluster: Cluster, fresh_users: Iterator[str], tmp_path: Path
) -> None:
    users = [next(fresh_users) for _ in range(4)]
    for user in users:
        for n in range(100):
            cluster.dovecot.deliver(user, message(user, n))
    with RedisServer(tmp_path / "own") as server:
        cluster.environment["MAILSLUICE_REDIS_URL"] = server.url()
        cluster.apply(users)
        cluster.start("beat")
        worker = cluster.start("worker", "-c", "4")
        for part in (1, 2, 3):
            cluster.wait_for_messages(part * 60, 60)
            if not worker.running:
                worker.restart()
            worker.pause()
            for user in users:  # so that something is left to do, however quick the worker was
                cluster.dovecot.deliver(user, message(user, 100 + part))
            server.kill()
            worker.resume()
            server.start()

        def all_told() -> bool:
            if not worker.running:  # kombu may end it while it closes the broken connection; its supervisor would
                worker.restart()
            return len({data["message_id"] for data in cluster.messages()}) == 412

        wait_for(all_told, 90, lambda: f"{len(cluster.messages())} of 412")
        events = [event for event in cluster.events() if event["type"] == "mailsluice.message.received.v1"]
        ids = {(event["data"]["message_id"], event["id"]) for event in events}
        assert len(ids) == 412
        assert Counter(event["data"]["account"] for event in events).keys() == set(users)
        cluster.stop()


# Failover to a replica that lags


def test_what_a_lagging_replica_never_got_comes_again_under_the_same_ids(tmp_path: Path) -> None:
    with WatchedRedis(tmp_path) as servers, house() as h, RedisSide(h, servers.url) as side:
        deliver(h, "1", "2", "3")
        assert h.poll().events == 3
        servers.lag()
        deliver(h, "4", "5", "6")
        assert h.poll().events == 3
        before = side.by_subject()

        servers.fail_over()
        deliver(h, "7")
        report = side.poll_once_redis_is_back()
        assert report.events == 4
        after = side.by_subject()
        assert after.keys() == {"1", "2", "3", "4", "5", "6", "7"}
        assert {subject: after[subject] for subject in before} == before
        assert len(side.ids()) == 7


def test_while_the_replica_lags_nothing_is_deleted_and_no_session_ends_with_quit(tmp_path: Path) -> None:
    with WatchedRedis(tmp_path) as servers, house() as h, RedisSide(h, servers.url, min_replicas=1) as side:
        deliver(h, "1", "2", "3")
        old = set(h.maildrop.uidls())
        assert h.poll(account={"keep_s": 0}).failure is None
        side.age(120)
        side.settle()  # the replica has this much
        quits = h.server.log.commands["QUIT"]
        servers.lag()
        deliver(h, "4", "5", "6")
        report = h.poll()
        assert report.failure is not None
        assert report.failure.code == "state_unavailable"
        assert "0 of 1 replicas" in report.failure.what
        side.age(120)  # by the old master's ledger all six would be due
        assert h.poll().failure is not None
        assert h.server.log.commands["QUIT"] == quits
        assert deleted(h) == set()
        before = side.by_subject()

        servers.fail_over()
        side.settles_with(0)
        assert side.poll_once_redis_is_back().events == 3
        assert deleted(h) == old
        h.poll()
        assert deleted(h) == old  # the others wait: their records are new to the new master
        assert side.by_subject() == before
        side.age(120)
        h.poll()
        assert len(h.maildrop) == 0


# A truncated AOF


@pytest.mark.parametrize("octets", [1, 150, 400, 1000, 3000])
def test_mail_behind_a_cut_in_the_aof_comes_again_under_the_same_ids(tmp_path: Path, octets: int) -> None:
    with RedisServer(tmp_path) as server, house() as h, RedisSide(h, server.url()) as side:
        deliver(h, *(f"{n}" for n in range(10)))
        assert h.poll().events == 10
        before, told = side.by_subject(), side.subjects()

        server.kill()
        [aof] = (tmp_path / "appendonlydir").glob("*.incr.aof")
        with aof.open("r+b") as file:
            file.truncate(aof.stat().st_size - octets)
        server.start()
        wait_for(side.answers, 10)
        side.lapse()  # the cut may have brought it back

        assert h.poll().failure is None
        assert side.by_subject() == before
        # Event and record go in one piece: what was cut off is told of once. What was in hand at the cut comes last.
        assert sorted(side.subjects()) == sorted(told)
        assert len(side.records()) == 10


def test_damage_within_the_aof_is_cut_off_by_redis_own_tool_and_comes_again(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, house() as h, RedisSide(h, server.url()) as side:
        deliver(h, *(f"{n}" for n in range(10)))
        assert h.poll().events == 10
        before = side.by_subject()

        server.kill()
        [aof] = (tmp_path / "appendonlydir").glob("*.incr.aof")
        with aof.open("r+b") as file:
            file.seek(
                file.read().rindex(b"*1\r\n$5\r\nMULTI", 0, -4000)
            )  # where a step begins, some steps before the end
            file.write(bytes(5))
        with pytest.raises(RuntimeError):
            server.start()
        done = server.check_aof("--fix", "appendonlydir/appendonly.aof.manifest", answer="y\n")
        assert done.returncode == 0, done.stdout
        server.start()
        wait_for(side.answers, 10)
        assert len(side.subjects()) < 10
        side.lapse()

        assert h.poll().failure is None
        assert side.by_subject() == before
        assert len(side.records()) == len(side.subjects()) == 10


# An older dump


def restore(server: RedisServer, dump: Path) -> None:
    """The runbook. With AOF on Redis does not read the dump: it starts from it with AOF off, then turns AOF on."""
    server.stop()
    directory = server.directory
    (directory / "appendonlydir").rename(directory / "appendonlydir.before")
    shutil.copy(dump, directory / "dump.rdb")
    with server.changed(appendonly="no"), redis.Redis(port=server.port) as client:
        client.config_set("appendonly", "yes")
        wait_for(lambda: aof_is_written(client), 10)
    server.start()


def copy_dump(server: RedisServer, to: Path) -> Path:
    """The runbook's backup: also with AOF on, BGSAVE writes dump.rdb."""
    with redis.Redis(port=server.port) as client:
        client.bgsave()
        wait_for(lambda: dump_is_written(client), 10)
    return Path(shutil.copy(server.directory / "dump.rdb", to))


def dump_is_written(client: redis.Redis) -> bool:
    info = client.info("persistence")
    return not info["rdb_bgsave_in_progress"] and info["rdb_last_bgsave_status"] == "ok"


def aof_is_written(client: redis.Redis) -> bool:
    info = client.info("persistence")
    return bool(
        info["aof_enabled"]
        and not info["aof_rewrite_in_progress"]
        and not info["aof_rewrite_scheduled"]
        and info["aof_last_bgrewrite_status"] == "ok"
    )


def test_mail_since_an_older_dump_comes_again_and_deletes_wait_for_its_records(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server, house() as h, RedisSide(h, server.url()) as side:
        deliver(h, "1", "2", "3")
        assert h.poll(account={"keep_s": 0}).events == 3
        dump = copy_dump(server, tmp_path / "older.rdb")
        deliver(h, "4", "5", "6")
        assert h.poll().events == 3
        early, late = h.maildrop.uidls()[:3], h.maildrop.uidls()[3:]
        before = side.by_subject()
        side.age(120)  # all six are due

        restore(server, dump)
        assert side.subjects() == ["1", "2", "3"]
        report = side.poll_once_redis_is_back()
        assert (report.events, report.deleted) == (3, 0)
        assert side.by_subject() == before
        assert deleted(h) == set()

        side.age(120)
        deliver(h, "7")
        assert h.poll().deleted == 6
        assert deleted(h) == {*early, *late}
        assert len(h.maildrop) == 1


def test_an_older_dump_that_still_knows_deleted_mail_neither_repeats_nor_deletes_anything(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server, house() as h, RedisSide(h, server.url()) as side:
        deliver(h, "1", "2")
        h.poll(account={"keep_s": 0})
        side.age(120)
        dump = copy_dump(server, tmp_path / "older.rdb")
        assert h.poll().deleted == 2
        deliver(h, "3")
        assert h.poll().events == 1
        before = side.by_subject()

        restore(server, dump)
        report = side.poll_once_redis_is_back()
        assert (report.events, report.deleted) == (1, 0)
        assert side.by_subject() == before
        assert [record.kind for record in side.records()] == [Kind.GONE, Kind.GONE, Kind.STORED]
        assert len(h.maildrop) == 1


def test_with_the_aof_on_a_dump_alone_is_not_read(tmp_path: Path) -> None:
    """Why the runbook goes the long way: the short one starts an empty Redis."""
    with RedisServer(tmp_path / "redis") as server, house(mail("1")) as h, RedisSide(h, server.url()) as side:
        h.poll()
        copy_dump(server, tmp_path / "older.rdb")
        server.stop()
        shutil.rmtree(tmp_path / "redis" / "appendonlydir")
        server.start()
        wait_for(side.answers, 10)
        assert side.client.dbsize() == 0


# Redis lost whole


def lose(server: RedisServer, side: RedisSide) -> None:
    """Everything that Redis knew is gone; the account is registered anew."""
    server.kill()
    shutil.rmtree(server.directory / "appendonlydir")
    server.start()
    wait_for(side.answers, 10)
    assert side.client.dbsize() == 0
    side.register()


def test_polls_of_an_empty_redis_tell_again_of_all_that_is_on_the_server_under_the_same_ids(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, house() as h, RedisSide(h, server.url()) as side:
        deliver(h, *(f"{n}" for n in range(10)))
        assert h.poll(account={"keep_s": 0}).events == 10
        before, objects = side.by_subject(), sorted(h.store.keys(""))
        side.age(120)

        lose(server, side)
        assert h.poll().events == 10
        assert side.by_subject() == before
        assert sorted(h.store.keys("")) == objects
        assert deleted(h) == set()


def test_after_a_loss_a_date_for_first_poll_leaves_old_mail_alone_and_tells_of_what_came_since(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, house() as h, RedisSide(h, server.url()) as side:
        h.maildrop.deliver(mail("old", received="Mon, 02 Nov 2026 10:00:00 +0000"))
        assert h.poll(account={"first_poll": "new"}).events == 0
        h.maildrop.deliver(mail("told", received="Tue, 24 Nov 2026 10:00:00 +0000"))
        assert h.poll().events == 1
        h.maildrop.deliver(mail("not yet", received="Tue, 24 Nov 2026 11:00:00 +0000"))
        before = side.by_subject()

        lose(server, side)
        assert h.poll(account={"first_poll": "2026-11-24"}).events == 2
        assert side.by_subject().keys() == {"told", "not yet"}
        assert side.by_subject()["told"] == before["told"]
