"""Lease, ledger, schedule, registry and event stream: one suite, on memory and on a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from servers.redis_cluster import RedisCluster

from ingest.adapters.memory_events import MemoryEvents
from ingest.adapters.memory_state import (
    MemoryAccounts,
    MemoryLease,
    MemoryLedger,
    MemoryRefusals,
    MemorySchedule,
    MemoryState,
)
from ingest.adapters.redis_accounts import RedisAccounts
from ingest.adapters.redis_client import Keys, connect
from ingest.adapters.redis_events import RedisEvents
from ingest.adapters.redis_lease import RedisLease
from ingest.adapters.redis_ledger import RedisLedger
from ingest.adapters.redis_refusals import RedisRefusals
from ingest.adapters.redis_schedule import RedisSchedule
from ingest.errors import LeaseLost, LedgerMoved, StateFull, StateUnavailable
from ingest.ledger import NO_IDENTITY, LedgerImage, encode, new_header, uidl_digest
from ingest.models import Account, AccountState, Grant, Kind, OutgoingEvent, Record, Refusal
from ingest.ports import AccountRegistry, EventLog, Lease, Ledger, Refusals, Schedule

TTL_S, CLAIM_TTL_S = 30.0, 120.0
CAP_BYTES = 10_000
EVENT = OutgoingEvent("a" * 32, "mailsluice.message.received.v1", b'{"id":"x"}')


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
    """One installation; `lapse` makes a lease run out."""

    lease: Lease
    ledger: Ledger
    schedule: Schedule
    accounts: AccountRegistry
    events: EventLog
    refusals: Refusals
    lapse: Callable[[str], None]

    def told(self) -> list[str]:
        return [entry.event.id for entry in self.entries()]

    def tell(self, *ids: str) -> None:
        """Commit messages whose events have these ids."""
        token, image = held(self), self.ledger.load("a")
        for id_ in ids:
            self.ledger.commit("a", token, image, [record(id_.encode())], replace(EVENT, id=id_))

    def entries(self) -> list:
        tail = self.events.tail(from_start=True, group=None, consumer="t", timeout_s=0)
        return [entry for entry in tail if entry is not None]


def memory_world(shards: int) -> World:
    state = MemoryState(OwnClock(), stream_max_bytes=CAP_BYTES)

    def lapse(account_id: str) -> None:
        token, _ = state.leases.get(account_id, ("", 0.0))
        state.leases[account_id] = (token, state.now() - 1)

    return World(
        MemoryLease(state, ttl_s=TTL_S, claim_ttl_s=CLAIM_TTL_S),
        MemoryLedger(state),
        MemorySchedule(state, claim_ttl_s=CLAIM_TTL_S),
        MemoryAccounts(state),
        MemoryEvents(state),
        MemoryRefusals(state),
        lapse,
    )


def redis_world(url: str, shards: int) -> tuple[World, Callable[[], None]]:
    client, keys = connect(url, 5), Keys("t", shards)
    world = World(
        RedisLease(client, keys, ttl_s=TTL_S, claim_ttl_s=CLAIM_TTL_S),
        RedisLedger(client, keys, lease_ttl_s=TTL_S, stream_max_bytes=CAP_BYTES, min_replicas=0, settle_s=1),
        RedisSchedule(client, keys, claim_ttl_s=CLAIM_TTL_S),
        RedisAccounts(client, keys),
        RedisEvents(client, keys, timeout_s=5, max_bytes=CAP_BYTES, retention_s=3600),
        RedisRefusals(client, keys),
        lambda account_id: client.delete(keys.of_account("lease", account_id)) and None,
    )
    return world, client.close


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(params=["memory", "redis", "redis-3-shards", "cluster-of-3-masters"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield memory_world(1)
    elif request.param == "cluster-of-3-masters":
        servers = request.getfixturevalue("cluster")
        servers.flush()
        made, close = redis_world(servers.url, 5)
        yield made
        close()
    else:
        shards = 3 if "3" in request.param else 1
        made, close = redis_world(request.getfixturevalue("redis_url"), shards)
        yield made
        close()


def record(uidl: bytes, kind: Kind = Kind.STORED, identity: bytes = b"i" * 8) -> Record:
    return Record(uidl_digest(uidl), identity, kind)


def held(world: World, account_id: str = "a") -> str:
    grant = world.lease.acquire(account_id)
    assert grant is not None
    return grant.token


def extent(world: World) -> str:
    """Of the ledger, as the next poller is told; the lease is its own afterwards."""
    world.lapse("a")
    grant = world.lease.acquire("a")
    assert grant is not None
    return grant.extent


# Lease


def test_a_lease_is_held_by_one(world: World) -> None:
    token = held(world)
    assert world.lease.acquire("a") is None
    assert held(world, "b") != token


def test_of_eight_who_ask_at_once_one_gets_the_lease(world: World) -> None:
    got: list[Grant | None] = []
    threads = [threading.Thread(target=lambda: got.append(world.lease.acquire("a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([grant for grant in got if grant]) == 1


def test_a_lapsed_lease_is_free_and_its_token_good_for_nothing(world: World) -> None:
    old = held(world)
    image = world.ledger.load("a")
    world.lapse("a")
    new = held(world)
    assert new != old
    with pytest.raises(LeaseLost):
        world.lease.renew("a", old)
    with pytest.raises(LeaseLost):
        world.ledger.commit("a", old, image, [record(b"1")], EVENT)
    with pytest.raises(LeaseLost):
        world.ledger.rewrite("a", old, image, [])
    with pytest.raises(LeaseLost):
        world.ledger.count("a", old, uidl_digest(b"1"), 1)
    with pytest.raises(LeaseLost):
        world.ledger.mark("a", old, uidl_digest(b"1"))
    assert world.lease.release("a", old, due_in_s=0, state=AccountState(failures=9)) is False
    assert world.schedule.states(["a"])["a"].failures == 0
    assert world.events.length() == 0
    world.lease.renew("a", new)


def test_giving_a_lease_back_frees_it_and_writes_state_and_due_time(world: World) -> None:
    world.schedule.add(["a"])
    token = held(world)
    state = AccountState(
        2,
        1,
        37.5,
        first_poll_done=True,
        last_outcome="done",
        last_poll=1.5,
        failing_since=2.25,
        fingerprint="f",
        seeded_at=0.5,
        undeleted=3,
        listings=(7, 8),
        refused_mark="0123456789abcdef",
        login_after=9.5,
        laid_to_host=2,
    )
    assert world.lease.release("a", token, due_in_s=50, state=state) is True
    assert world.schedule.states(["a"])["a"] == state
    again = world.lease.acquire("a")
    assert again is not None
    assert again.state == state
    assert world.schedule.due_in(["a"])["a"] > 40


def granted(world: World) -> Grant:
    grant = world.lease.acquire("a")
    assert grant is not None
    return grant


def test_a_grant_tells_the_time_and_when_the_last_login_was_by_one_clock(world: World) -> None:
    first = granted(world)
    assert first.state.login_at is None
    world.lease.release("a", first.token, due_in_s=0, state=AccountState(login_at=first.now))
    second = granted(world)
    assert second.state.login_at == pytest.approx(first.now, abs=0.001)
    assert 0 <= second.now - first.now < 60


def test_the_login_of_a_poller_that_died_counts(world: World) -> None:
    first = granted(world)
    world.lease.release("a", first.token, due_in_s=0, state=AccountState(3, login_at=1.5))
    dead = granted(world)
    world.lapse("a")
    assert granted(world).state == AccountState(3, login_at=pytest.approx(dead.now, abs=0.001))


def test_whoever_gives_the_lease_back_without_a_login_leaves_the_time_of_the_last_one(world: World) -> None:
    world.lease.release("a", held(world), due_in_s=0, state=AccountState(login_at=1.5))
    grant = granted(world)
    world.lease.release("a", grant.token, due_in_s=0, state=grant.state)
    assert granted(world).state.login_at == 1.5


def test_who_gets_no_lease_counts_as_no_login(world: World) -> None:
    world.lease.release("a", held(world), due_in_s=0, state=AccountState(login_at=1.5))
    assert world.lease.acquire("a", claimed=True) is None
    grant = granted(world)
    assert grant.state.login_at == 1.5
    time = world.schedule.states(["a"])["a"].login_at
    assert world.lease.acquire("a") is None
    assert world.schedule.states(["a"])["a"].login_at == time


def test_giving_a_lease_back_tells_of_the_account_in_the_same_step(world: World) -> None:
    token = held(world)
    assert world.lease.release("a", token, due_in_s=50, state=AccountState(), event=EVENT)
    assert not world.lease.release("a", token, due_in_s=50, state=AccountState(), event=EVENT)
    assert world.told() == [EVENT.id]


def test_a_claim_serves_one_poll(world: World) -> None:
    world.schedule.add(["a"])
    assert world.lease.acquire("a", claimed=True) is None
    assert world.schedule.claim(1) == ["a"]
    grant = world.lease.acquire("a", claimed=True)
    assert grant is not None
    world.lease.release("a", grant.token, due_in_s=6 * 3600, state=AccountState())
    assert world.lease.acquire("a", claimed=True) is None  # a task that was queued twice comes late
    assert world.schedule.due_in(["a"])["a"] == pytest.approx(6 * 3600, abs=2)


def test_a_claim_outlives_a_lease_that_a_dead_poller_left(world: World) -> None:
    world.schedule.add(["a"])
    held(world)
    world.schedule.set_due(["a"], 0)
    assert world.schedule.claim(1) == ["a"]
    assert world.lease.acquire("a", claimed=True) is None
    world.lapse("a")
    assert world.lease.acquire("a", claimed=True) is not None


def test_only_what_still_stands_claimed_is_given_back_to_the_schedule(world: World) -> None:
    world.schedule.add(["a", "b", "c"])
    assert len(world.schedule.claim(3)) == 3
    world.lease.release("b", held(world, "b"), due_in_s=6 * 3600, state=AccountState())
    world.schedule.drop(["c"])
    world.schedule.unclaim(["a", "b", "c", "stranger"])
    assert world.schedule.claim(3) == ["a"]
    assert world.schedule.due_in(["b"])["b"] == pytest.approx(6 * 3600, abs=2)


def test_an_account_that_is_being_polled_is_not_due(world: World) -> None:
    world.schedule.add(["a"])
    held(world)
    assert world.schedule.claim(10) == []
    assert world.schedule.due_in(["a"])["a"] == pytest.approx(CLAIM_TTL_S, abs=2)


# Ledger


def test_a_commit_writes_record_and_event_and_the_image_follows(world: World) -> None:
    token, image = held(world), world.ledger.load("a")
    world.ledger.commit("a", token, image, [record(b"1")], EVENT)
    loaded = world.ledger.load("a")
    assert [(r.uidl, r.identity, r.kind) for r in loaded.records()] == [(uidl_digest(b"1"), b"i" * 8, Kind.STORED)]
    assert loaded.records() == image.records()
    assert loaded.header == image.header
    assert loaded.now_minutes - loaded.records()[0].minutes in {0, 1}
    [entry] = world.entries()
    assert entry.event == EVENT


def test_a_commit_whose_reply_was_lost_is_known_when_it_comes_again(world: World) -> None:
    token, image = held(world), world.ledger.load("a")
    world.ledger.commit("a", token, image, [record(b"0")], None)
    before = world.ledger.load("a")
    world.ledger.commit("a", token, image, [record(b"1")], EVENT)
    world.ledger.commit("a", token, before, [record(b"1")], EVENT)
    assert len(world.ledger.load("a")) == 2
    assert world.told() == [EVENT.id]
    assert before.records() == image.records()


def test_the_very_first_commit_whose_reply_was_lost_is_known_too(world: World) -> None:
    token, image = held(world), world.ledger.load("a")
    stale = world.ledger.load("a")
    stale.header = image.header
    world.ledger.commit("a", token, image, [record(b"1")], EVENT)
    world.ledger.commit("a", token, stale, [record(b"1")], EVENT)
    assert world.told() == [EVENT.id]
    assert len(world.ledger.load("a")) == 1


@pytest.mark.parametrize("before", [[], [record(b"1")]])
def test_an_event_without_a_record_is_told_and_leaves_the_records_as_they_are(
    world: World, before: list[Record]
) -> None:
    token, image = held(world), world.ledger.load("a")
    if before:
        world.ledger.commit("a", token, image, before, None)
    for told in (1, 2):
        world.ledger.commit("a", token, image, [], EVENT)
        assert world.told() == [EVENT.id] * told
    again = world.ledger.load("a")
    assert len(again) == len(image) == len(before)
    assert again.value_bytes == image.value_bytes
    world.ledger.commit("a", token, again, [record(b"2")], EVENT)
    assert len(world.ledger.load("a")) == len(before) + 1


def test_a_writer_whose_image_is_stale_is_refused(world: World) -> None:
    token, image = held(world), world.ledger.load("a")
    world.ledger.commit("a", token, image, [record(b"0")], None)
    stale = world.ledger.load("a")
    world.ledger.commit("a", token, image, [record(b"1")], EVENT)
    with pytest.raises(LedgerMoved):
        world.ledger.commit("a", token, stale, [record(b"2")], EVENT)
    with pytest.raises(LedgerMoved):
        world.ledger.rewrite("a", token, stale, [])
    assert world.told() == [EVENT.id]


def test_two_who_both_begin_an_empty_ledger_do_not_both_write(world: World) -> None:
    token, image, other = held(world), world.ledger.load("a"), world.ledger.load("a")
    world.ledger.commit("a", token, image, [record(b"1")], EVENT)
    with pytest.raises(LedgerMoved):
        world.ledger.commit("a", token, other, [record(b"1")], EVENT)


def test_many_records_are_seeded_in_one_step(world: World) -> None:
    token, image = held(world), world.ledger.load("a")
    seeds = [record(b"%d" % n, Kind.SEEDED, NO_IDENTITY) for n in range(20_000)]
    world.ledger.commit("a", token, image, seeds, None)
    loaded = world.ledger.load("a")
    assert len(loaded) == 20_000
    assert loaded.extent == image.extent == extent(world)
    assert loaded.of_uidl(uidl_digest(b"19999"))[0].kind is Kind.SEEDED
    assert loaded.of_identity(NO_IDENTITY) == []


def test_a_rewrite_replaces_all_records_and_can_be_repeated(world: World) -> None:
    token, image = held(world), world.ledger.load("a")
    for n in range(3):
        world.ledger.commit("a", token, image, [record(b"%d" % n)], None)
    again = world.ledger.load("a")
    kept = [replace(image.records()[1], kind=Kind.DELETED)]
    world.ledger.rewrite("a", token, image, kept)
    world.ledger.rewrite("a", token, again, kept)
    assert world.ledger.load("a").records() == kept
    world.ledger.commit("a", token, image, [record(b"9")], EVENT)
    assert len(world.ledger.load("a")) == 2
    assert world.ledger.load("a").extent == image.extent == extent(world)


def test_failures_are_counted_for_each_suspect_and_forgotten_with_its_record(world: World) -> None:
    token, image, one, two = held(world), world.ledger.load("a"), uidl_digest(b"1"), uidl_digest(b"2")
    assert [world.ledger.count("a", token, one, by) for by in (1, 1, -1)] == [1, 2, 1]
    assert world.ledger.count("a", token, two, 1) == 1
    world.ledger.commit("a", token, image, [record(b"1")], None, finished=one)
    world.lease.release("a", token, due_in_s=0, state=AccountState())
    assert suspects(world) == {two: 1}


def test_what_a_dead_holder_had_in_hand_is_a_suspect(world: World) -> None:
    token, digest = held(world), uidl_digest(b"1")
    world.ledger.mark("a", token, digest)
    assert suspects(world) == {digest: 0}
    assert suspects(world) == {digest: 0}  # until it is finished


def test_a_commit_takes_the_next_message_in_hand(world: World) -> None:
    token, image, two = held(world), world.ledger.load("a"), uidl_digest(b"2")
    world.ledger.mark("a", token, uidl_digest(b"1"))
    world.ledger.commit("a", token, image, [record(b"1")], EVENT, following=two)
    assert suspects(world) == {two: 0}


def test_after_the_last_commit_nothing_is_in_hand(world: World) -> None:
    token, image = held(world), world.ledger.load("a")
    world.ledger.mark("a", token, uidl_digest(b"1"))
    world.ledger.commit("a", token, image, [record(b"1")], EVENT)
    assert suspects(world) == {}


def test_a_lease_given_back_leaves_no_suspect(world: World) -> None:
    token = held(world)
    world.ledger.mark("a", token, uidl_digest(b"1"))
    world.lease.release("a", token, due_in_s=0, state=AccountState())
    assert suspects(world) == {}


def test_a_dead_holder_does_not_change_how_often_a_suspect_failed(world: World) -> None:
    token, digest = held(world), uidl_digest(b"1")
    world.ledger.count("a", token, digest, 2)
    world.ledger.mark("a", token, digest)
    assert suspects(world) == {digest: 2}


def suspects(world: World) -> dict[bytes, int]:
    """Those that the next holder is told of; the last one is dead, and so is this one."""
    world.lapse("a")
    grant = world.lease.acquire("a")
    assert grant is not None
    world.lapse("a")
    return dict(grant.suspects)


def refusal(id_: str, account: str = "a", time: float = 1.5) -> Refusal:
    return Refusal(account, id_, record(b"1", Kind.QUARANTINED), "u\u20ac", 7, "r", "detail", None, "raw/a/k", time)


def refuse(world: World, *refusals: Refusal) -> None:
    for each in refusals:
        token, image = held(world, each.account), world.ledger.load(each.account)
        world.ledger.commit(each.account, token, image, [each.record], EVENT, refusal=each)
        world.lease.release(each.account, token, due_in_s=0, state=AccountState())


def test_a_refusal_is_listed_from_its_commit_until_it_is_discarded(world: World) -> None:
    first, second, third = refusal("1", time=3), refusal("2", "b", 1), refusal("3", time=2)
    refuse(world, first, second, third)
    assert world.refusals.all() == [second, third, first]
    assert world.refusals.all("a") == [third, first]
    assert world.refusals.discard(third)
    assert not world.refusals.discard(third)
    assert world.refusals.all("a") == [first]


def test_a_refusal_is_resolved_in_the_step_that_replaces_its_record_and_tells_of_it(world: World) -> None:
    refuse(world, refusal("1"))
    token, image = held(world), world.ledger.load("a")
    world.ledger.rewrite("a", token, image, [record(b"1")], event=replace(EVENT, id="new"), resolved=refusal("1"))
    assert world.refusals.all() == []
    assert [each.kind for each in world.ledger.load("a").records()] == [Kind.STORED]
    assert world.told() == [EVENT.id, "new"]


def test_a_rewrite_whose_reply_was_lost_tells_of_nothing_again(world: World) -> None:
    refuse(world, refusal("1"))
    token, image = held(world), world.ledger.load("a")
    for again in (image, world.ledger.load("a")):
        world.ledger.rewrite("a", token, again, [record(b"1")], event=replace(EVENT, id="new"))
    assert world.told() == [EVENT.id, "new"]


def test_a_full_stream_refuses_a_rewrite_with_an_event_and_changes_nothing(world: World) -> None:
    refuse(world, refusal("1"))
    token, image = held(world), world.ledger.load("a")
    with pytest.raises(StateFull):
        world.ledger.rewrite("a", token, image, [], event=replace(EVENT, json=b"x" * CAP_BYTES), resolved=refusal("1"))
    assert world.refusals.all() == [refusal("1")]
    assert len(world.ledger.load("a")) == 1


def test_a_full_stream_refuses_the_message_and_keeps_what_it_has(world: World) -> None:
    token, image = held(world), world.ledger.load("a")
    large = replace(EVENT, json=b"x" * 4000)
    for n in range(2):
        world.ledger.commit("a", token, image, [record(b"%d" % n)], large)
    with pytest.raises(StateFull):
        world.ledger.commit("a", token, image, [record(b"3")], large)
    assert len(world.ledger.load("a")) == len(world.told()) == 2
    world.ledger.commit("a", token, image, [record(b"3")], None)


def test_a_session_does_not_settle_on_a_ledger_that_went_back(world: World) -> None:
    """A failover lost what was committed meanwhile; QUIT would make final what no record knows."""
    token, image = held(world), world.ledger.load("a")
    world.ledger.settle("a", token, image)
    ahead = world.ledger.load("a")
    world.ledger.commit("a", token, image, [record(b"1")], EVENT)
    world.ledger.settle("a", token, image)
    for behind in (ahead, LedgerImage(new_header() + encode([record(b"1")]))):
        with pytest.raises(LedgerMoved):
            world.ledger.settle("a", token, behind)


def test_on_a_cluster_too_a_session_settles_only_with_its_replicas(cluster: RedisCluster) -> None:
    cluster.flush()
    client, keys = connect(cluster.url, 5), Keys("t", 5)
    lease = RedisLease(client, keys, ttl_s=TTL_S, claim_ttl_s=CLAIM_TTL_S)
    ledger = RedisLedger(client, keys, lease_ttl_s=TTL_S, stream_max_bytes=CAP_BYTES, min_replicas=1, settle_s=0.1)
    for account_id in "abcde":
        grant = lease.acquire(account_id)
        assert grant is not None
        with pytest.raises(StateUnavailable, match="0 of 1 replicas"):
            ledger.settle(account_id, grant.token, ledger.load(account_id))
        with pytest.raises(LeaseLost):
            ledger.settle(account_id, "not the token", ledger.load(account_id))
    client.close()


# Schedule


def test_a_new_account_is_due_now_and_claimed_once(world: World) -> None:
    world.schedule.add(["a", "b", "c"])
    assert sorted(world.schedule.claim(10)) == ["a", "b", "c"]
    assert world.schedule.claim(10) == []


def test_of_two_beats_that_claim_at_once_each_account_goes_to_one(world: World) -> None:
    world.schedule.add([f"a{n}" for n in range(200)])
    claimed: list[list[str]] = []
    threads = [threading.Thread(target=lambda: claimed.append(world.schedule.claim(200))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(id_ for batch in claimed for id_ in batch) == sorted(f"a{n}" for n in range(200))


def test_a_claim_takes_no_more_than_its_limit_and_starves_nobody(world: World) -> None:
    world.schedule.add([f"a{n}" for n in range(20)])
    first = world.schedule.claim(12)
    assert len(first) == 12
    assert len(world.schedule.claim(12)) == 8


def test_adding_a_known_account_leaves_its_time(world: World) -> None:
    world.schedule.add(["a"])
    world.schedule.set_due(["a", "stranger"], 100)
    world.schedule.add(["a"])
    assert world.schedule.due_in(["a", "stranger"])["a"] == pytest.approx(100, abs=2)
    assert "stranger" not in world.schedule.due_in(["a", "stranger"])


def test_a_dropped_account_is_never_due(world: World) -> None:
    world.schedule.add(["a", "b"])
    world.schedule.drop(["a"])
    assert world.schedule.claim(10) == ["b"]


def test_a_reset_forgets_failures_and_makes_due_but_keeps_that_the_first_poll_was_done(world: World) -> None:
    world.schedule.add(["a"])
    refused = AccountState(5, 2, 9.0, first_poll_done=True, refused_mark="m", login_after=9.5, laid_to_host=2)
    world.lease.release("a", held(world), due_in_s=999, state=refused)
    world.schedule.reset(["a"])
    assert world.schedule.states(["a"])["a"] == AccountState(first_poll_done=True)
    assert world.schedule.claim(10) == ["a"]


def test_an_erased_account_leaves_nothing(world: World) -> None:
    world.schedule.add(["a"])
    token, image = held(world), world.ledger.load("a")
    world.ledger.count("a", token, uidl_digest(b"2"), 1)
    world.ledger.commit("a", token, image, [record(b"1")], None, refusal=refusal("1"))
    world.lease.release("a", token, due_in_s=0, state=AccountState(failures=1))
    world.schedule.erase("a")
    assert world.schedule.states(["a"])["a"] == AccountState()
    assert len(world.ledger.load("a")) == 0
    assert extent(world) == ":0"
    assert suspects(world) == {}
    assert world.refusals.all() == []
    assert world.schedule.due_in(["a"]) == {}


# Registry


def test_the_registry_gives_back_what_was_put(world: World) -> None:
    one = Account("one", "pop.example.com", 995, "u", "env:P", tags={"team": "f"}, keep_s=0, first_poll="new")
    two = Account("two", "127.0.0.1", 110, "u", "file:/p", paused=True)
    world.accounts.put([two, one])
    assert world.accounts.get(["one", "missing"]) == {"one": one}
    assert world.accounts.all() == [one, two]
    world.accounts.remove(["one", "missing"])
    assert world.accounts.all() == [two]
    assert world.accounts.get([]) == {}


# Events


def test_a_reader_from_the_start_sees_all_and_one_from_now_nothing_old(world: World) -> None:
    world.tell("0", "1", "2")
    assert world.told() == ["0", "1", "2"]
    assert world.events.length() == 3
    later = world.events.tail(from_start=False, group=None, consumer="t", timeout_s=0)
    assert [entry for entry in later if entry] == []


def test_a_group_goes_on_behind_what_it_acknowledged(world: World) -> None:
    world.tell("0", "1", "2")
    first = world.events.tail(from_start=True, group="g", consumer="t", timeout_s=1)
    got = [next(entry for entry in first if entry) for _ in range(2)]  # the second asking acknowledges the first
    assert [entry.event.id for entry in got] == ["0", "1"]
    del first
    again = world.events.tail(from_start=True, group="g", consumer="t", timeout_s=0.1)
    assert [entry.event.id for entry in again if entry] == ["1", "2"]


# Back-pressure


LARGE = b"x" * 1000  # a tenth of the cap


def tell_large(world: World, count: int, *, account_id: str = "a") -> None:
    world.lapse(account_id)
    token, image = held(world, account_id), world.ledger.load(account_id)
    for _ in range(count):
        at = b"%d" % len(image)
        world.ledger.commit(account_id, token, image, [record(at)], replace(EVENT, id=at.decode(), json=LARGE))


def read(world: World, group: str, count: int) -> None:
    """Read and acknowledge the next ones."""
    entries = world.events.tail(from_start=True, group=group, consumer="c", timeout_s=0.1)
    for _ in range(count):
        assert next(entries) is not None
    next(entries, None)  # asking on acknowledges the last one; what comes now stays unacknowledged


def test_pressure_is_the_share_of_the_cap_that_the_fullest_stream_takes(world: World) -> None:
    assert max(world.events.pressure().values()) == 0
    tell_large(world, 3)
    assert max(world.events.pressure().values()) == 0.3


def test_what_is_acknowledged_is_trimmed_oldest_first_down_to_half(world: World) -> None:
    tell_large(world, 9)
    read(world, "g", 8)
    assert world.events.trim() == 4
    assert world.told() == ["4", "5", "6", "7", "8"]
    assert max(world.events.pressure().values()) == 0.5


def test_nothing_that_waits_for_any_group_is_trimmed(world: World) -> None:
    tell_large(world, 9)
    read(world, "quick", 8)
    read(world, "slow", 1)
    assert world.events.trim() == 1
    assert len(world.told()) == 8


def test_without_a_group_nothing_is_trimmed_for_want_of_room(world: World) -> None:
    tell_large(world, 9)
    assert world.events.trim() == 0


def test_a_group_that_is_removed_holds_nothing(world: World) -> None:
    tell_large(world, 9)
    read(world, "quick", 8)
    read(world, "slow", 1)
    assert world.events.remove_group("slow") > 0
    assert world.events.trim() == 4
    assert "slow" not in {group.name for group in world.events.groups()}
    assert world.events.remove_group("slow") == 0


def test_groups_say_how_much_waits(world: World) -> None:
    tell_large(world, 6)
    read(world, "g", 2)
    (group,) = [group for group in world.events.groups() if group.waiting_bytes]
    assert (group.name, group.pending + (group.behind or 0), group.waiting_bytes) == ("g", 4, 4000)
    assert group.idle_s is not None
    assert group.oldest_s is not None


def test_a_claim_that_leaves_out_all_shards_claims_nothing(world: World) -> None:
    world.schedule.add(["a", "b", "c"])
    assert world.schedule.claim(3, but=frozenset(world.events.pressure())) == []
    assert sorted(world.schedule.claim(3)) == ["a", "b", "c"]
