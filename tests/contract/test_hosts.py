"""What is remembered of POP3 services: one suite, on memory, a Redis and a cluster; then what only Redis can do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servers.redis_cluster import RedisCluster

from ingest.adapters.memory_hosts import MemoryHosts
from ingest.adapters.redis_client import Client, Keys, connect
from ingest.adapters.redis_hosts import ABSENT_KEPT_S, KEPT_PLACES, KEPT_S, PROFILE_TTL_S, REFUSED_CAP, RedisHosts
from ingest.errors import StateUnavailable
from ingest.models import Capabilities, HostProfile, Place, Tls
from ingest.ports import Hosts

KEYS = Keys("t", 3)
PLACE = Place("pop.example.com", 995, Tls.IMPLICIT)
OTHER = Place("pop.example.com", 110, Tls.STARTTLS)
BEFORE = Capabilities(
    known=True,
    names=frozenset({"TOP", "UIDL", "X-\N{GREEK SMALL LETTER ALPHA}"}),
    sasl=frozenset({"PLAIN"}),
    implementation='Server "1"',
    login_delay_s=60,
    expire_days=0,
    per_user=True,
)
PROFILE = HostProfile(BEFORE, Capabilities(), 1_800_000_000.25, across_login=False, uidl=False, top=False)


class OwnClock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@dataclass
class World:
    """One installation: `hosts` as this process sees it, `elsewhere` as another one does; `wait` passes time."""

    hosts: Hosts
    elsewhere: Hosts
    wait: Callable[[float], None]


@dataclass
class RedisWorld:
    """Two processes at one Redis, whose keys age when the test says so."""

    client: Client
    clock: OwnClock

    def hosts(self) -> RedisHosts:
        return RedisHosts(self.client, KEYS, self.clock)

    def keys(self) -> list[bytes]:
        return list(self.client.scan_iter(match="t:host:*"))

    def wait(self, seconds: float) -> None:
        self.clock.time += timedelta(seconds=seconds)
        for key in self.keys():
            if self.client.type(key) == b"zset":
                aged: Any = {member: at - seconds for member, at in self.client.zrange(key, 0, -1, withscores=True)}
                self.client.zadd(key, aged)
            self.client.pexpire(key, max(0, int(self.client.pttl(key) - seconds * 1000)))


@pytest.fixture
def at_redis(redis_url: str) -> Iterator[RedisWorld]:
    client = connect(redis_url, 5)
    yield RedisWorld(client, OwnClock())
    client.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def at_cluster(cluster: RedisCluster) -> Iterator[RedisWorld]:
    cluster.flush()
    client = connect(cluster.url, 5)
    yield RedisWorld(client, OwnClock())
    client.close()


@pytest.fixture(params=["memory", "redis", "cluster-of-3-masters"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        clock = OwnClock()
        hosts = MemoryHosts(clock)

        def wait(seconds: float) -> None:
            clock.time += timedelta(seconds=seconds)

        return World(hosts, hosts, wait)
    redis = request.getfixturevalue("at_redis" if request.param == "redis" else "at_cluster")
    return World(redis.hosts(), redis.hosts(), redis.wait)


# Profiles


def test_nothing_is_known_of_a_service_before_somebody_learnt(world: World) -> None:
    assert world.hosts.profile(PLACE) is None


@pytest.mark.parametrize("profile", [PROFILE, HostProfile(Capabilities(), BEFORE, 0.0, across_login=True)])
def test_what_was_learnt_is_known_here_at_once_and_elsewhere_within_a_minute(
    world: World, profile: HostProfile
) -> None:
    assert world.elsewhere.profile(PLACE) is None
    world.hosts.learn(PLACE, profile)
    assert world.hosts.profile(PLACE) == profile
    world.wait(KEPT_S)
    assert world.elsewhere.profile(PLACE) == profile


def test_what_is_learnt_later_replaces_it(world: World) -> None:
    world.hosts.learn(PLACE, PROFILE)
    later = replace(PROFILE, across_login=True, seen_at=PROFILE.seen_at + 1)
    world.hosts.learn(PLACE, later)
    assert world.hosts.profile(PLACE) == later


def test_services_that_differ_in_port_and_encryption_are_known_apart(world: World) -> None:
    world.hosts.learn(PLACE, PROFILE)
    assert world.hosts.profile(OTHER) is None


# Trying what may fail


def test_one_caller_in_the_cluster_may_try_and_no_other_one_for_a_while(world: World) -> None:
    assert world.hosts.may_try(PLACE)
    assert not world.hosts.may_try(PLACE)
    assert not world.elsewhere.may_try(PLACE)
    assert world.elsewhere.may_try(OTHER)
    world.wait(299)
    assert not world.elsewhere.may_try(PLACE)
    world.wait(2)
    assert world.elsewhere.may_try(PLACE)


def test_of_eight_who_ask_at_once_one_may_try(world: World) -> None:
    got: list[bool] = []
    threads = [threading.Thread(target=lambda: got.append(world.hosts.may_try(PLACE))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1


# Refused logins


def test_refused_logins_are_counted_by_account(world: World) -> None:
    assert world.hosts.refused(PLACE, "a") == 1
    assert world.hosts.refused(PLACE, "a") == 1
    assert world.elsewhere.refused(PLACE, "b") == 2
    assert world.hosts.refused(OTHER, "c") == 1


def test_a_good_login_makes_an_end_of_it(world: World) -> None:
    world.hosts.refused(PLACE, "a")
    world.hosts.refused(OTHER, "b")
    world.hosts.admitted(PLACE)
    assert world.hosts.refused(PLACE, "c") == 1
    assert world.hosts.refused(OTHER, "c") == 2


def test_a_good_login_elsewhere_makes_an_end_of_it_within_a_minute(world: World) -> None:
    world.elsewhere.profile(PLACE)
    world.hosts.refused(PLACE, "a")
    world.wait(KEPT_S)
    world.elsewhere.profile(PLACE)
    world.elsewhere.admitted(PLACE)
    assert world.hosts.refused(PLACE, "b") == 1


def test_a_good_login_where_none_was_refused_changes_nothing(world: World) -> None:
    world.hosts.admitted(PLACE)
    world.hosts.learn(PLACE, PROFILE)
    world.hosts.admitted(PLACE)
    assert world.hosts.profile(PLACE) == PROFILE


def test_what_was_refused_long_ago_does_not_count(world: World) -> None:
    world.hosts.refused(PLACE, "a")
    world.wait(4 * 3600)
    assert world.hosts.refused(PLACE, "b") == 2
    world.wait(3 * 3600)
    assert world.hosts.refused(PLACE, "c") == 2


# Redis alone: how little it is asked, how long it remembers, what it survives


def calls(client: Client) -> int:
    return int(client.info("stats")["total_commands_processed"])


def asked(client: Client, step: Callable[[], object]) -> int:
    """How many commands this step cost, the counting not among them."""
    start = calls(client)
    step()
    return calls(client) - start - 1


def test_an_ordinary_poll_asks_redis_nothing(at_redis: RedisWorld) -> None:
    hosts = at_redis.hosts()
    hosts.learn(PLACE, PROFILE)

    def poll() -> None:
        hosts.profile(PLACE)
        hosts.admitted(PLACE)

    assert asked(at_redis.client, lambda: [poll() for _ in range(10)]) == 0
    at_redis.wait(KEPT_S)
    assert asked(at_redis.client, poll) > 0
    assert asked(at_redis.client, poll) == 0


def test_a_good_login_asks_redis_once_where_logins_were_refused(at_redis: RedisWorld) -> None:
    hosts = at_redis.hosts()
    hosts.refused(PLACE, "a")
    assert asked(at_redis.client, lambda: hosts.admitted(PLACE)) == 1
    assert asked(at_redis.client, lambda: hosts.admitted(PLACE)) == 0


def test_that_nothing_is_known_is_believed_for_seconds_only(at_redis: RedisWorld) -> None:
    hosts, elsewhere = at_redis.hosts(), at_redis.hosts()
    assert hosts.profile(PLACE) is None
    elsewhere.learn(PLACE, PROFILE)
    assert asked(at_redis.client, lambda: hosts.profile(PLACE)) == 0
    at_redis.wait(ABSENT_KEPT_S)
    assert hosts.profile(PLACE) == PROFILE


def test_what_somebody_learns_while_another_reads_is_not_undone_by_the_reading(at_redis: RedisWorld) -> None:
    hosts = at_redis.hosts()
    read = hosts._read

    def slow_read(**keys: list[str]) -> object:
        found = read(**keys)
        hosts.learn(PLACE, PROFILE)
        return found

    hosts._read = slow_read  # type: ignore[assignment]
    assert hosts.profile(PLACE) is None
    assert hosts.profile(PLACE) == PROFILE


def test_the_process_keeps_no_more_places_than_its_bound(at_redis: RedisWorld) -> None:
    hosts = at_redis.hosts()
    hosts.learn(PLACE, PROFILE)
    hosts.learn(OTHER, PROFILE)
    for n in range(KEPT_PLACES - 1):
        hosts._note(Place(f"h{n}", 995, Tls.IMPLICIT), refused=True)
        hosts.profile(PLACE)
    assert len(hosts._known) == KEPT_PLACES
    assert PLACE in hosts._known
    assert OTHER not in hosts._known


def test_a_profile_is_remembered_for_thirty_days_from_when_it_was_last_learnt(at_redis: RedisWorld) -> None:
    hosts = at_redis.hosts()
    hosts.learn(PLACE, PROFILE)
    at_redis.wait(PROFILE_TTL_S - 100)
    assert hosts.profile(PLACE) == PROFILE
    hosts.learn(PLACE, PROFILE)
    at_redis.wait(200)
    assert hosts.profile(PLACE) == PROFILE
    at_redis.wait(PROFILE_TTL_S)
    assert hosts.profile(PLACE) is None
    assert at_redis.keys() == []


def test_refusals_are_kept_for_no_more_accounts_than_the_cap_and_vanish_by_themselves(at_redis: RedisWorld) -> None:
    hosts = at_redis.hosts()
    assert max(hosts.refused(PLACE, f"a{n}") for n in range(REFUSED_CAP + 10)) == REFUSED_CAP
    at_redis.wait(6 * 3600 + 1)
    assert at_redis.keys() == []


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"{}",
        b'{"before": {}, "after": {}, "seen_at": "when"}',
        b'{"before": {"names": 7}, "after": {}, "seen_at": 1}',
        b'{"before": 1, "after": {}, "seen_at": 1}',
    ],
)
def test_a_damaged_profile_is_none(at_redis: RedisWorld, value: bytes) -> None:
    at_redis.client.set(KEYS.of_place(PLACE), value)
    assert at_redis.hosts().profile(PLACE) is None


def test_a_profile_with_more_or_fewer_fields_than_ours_is_read_as_far_as_it_goes(at_redis: RedisWorld) -> None:
    value = b'{"before": {"known": true, "new": 1}, "after": {}, "seen_at": 5, "of_tomorrow": []}'
    at_redis.client.set(KEYS.of_place(PLACE), value)
    assert at_redis.hosts().profile(PLACE) == HostProfile(Capabilities(known=True), Capabilities(), 5.0)


def test_a_redis_that_can_not_be_reached_is_said_to_be_so() -> None:
    client = connect("redis://127.0.0.1:1", 1)
    hosts = RedisHosts(client, KEYS, OwnClock())
    for step in (
        lambda: hosts.profile(PLACE),
        lambda: hosts.learn(PLACE, PROFILE),
        lambda: hosts.may_try(PLACE),
        lambda: hosts.refused(PLACE, "a"),
        lambda: hosts.admitted(PLACE),
    ):
        with pytest.raises(StateUnavailable):
            step()
    client.close()
