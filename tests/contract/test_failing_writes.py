"""Writes that fail within a step, on a real Redis: what stays, what comes again, and what still works when it is full.

Rules of this room:
- Lua is not rolled back. Each refusal here is a true one: a key of the wrong type, an ACL, maxmemory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from house import PASSWORD, house, mail
from redis_house import RedisSide

from ingest.adapters.redis_client import Client, Keys, connect
from ingest.adapters.redis_events import RedisEvents
from ingest.adapters.redis_lease import RedisLease
from ingest.adapters.redis_ledger import RedisLedger
from ingest.adapters.redis_schedule import RedisSchedule
from ingest.errors import StateFull, StateRefused
from ingest.ledger import LedgerImage, uidl_digest
from ingest.models import AccountState, Kind, OutgoingEvent, Record

ACCOUNT = "a"
LEASE, LEDGER, SUSPECTS = "t:{s0}:lease:a", "t:{s0}:ledger:a", "t:{s0}:suspects:a"
STREAM, OCTETS, REFUSALS, DUE = "t:{s0}:events", "t:{s0}:events:bytes", "t:{s0}:refusals", "t:{s0}:due"
OF_THE_COMMIT = (LEASE, LEDGER, STREAM, SUSPECTS, OCTETS, REFUSALS)
EVENT = OutgoingEvent("a" * 32, "mailsluice.message.received.v1", b'{"id":"x"}')
CAP_BYTES = 1 << 20


@dataclass
class State:
    """What a poller works with, over one connection."""

    client: Client
    lease: RedisLease
    ledger: RedisLedger
    schedule: RedisSchedule
    events: RedisEvents

    def hold(self) -> str:
        grant = self.lease.acquire(ACCOUNT)
        assert grant is not None
        return grant.token

    def told(self) -> list[str]:
        return [fields[b"id"].decode() for _, fields in self.client.xrange(STREAM)]

    def records(self) -> int:
        return len(self.ledger.load(ACCOUNT))


def state_at(url: str) -> State:
    client, keys = connect(url, 5), Keys("t", 1)
    return State(
        client,
        RedisLease(client, keys, ttl_s=30, claim_ttl_s=120),
        RedisLedger(client, keys, lease_ttl_s=30, stream_max_bytes=CAP_BYTES, min_replicas=0, settle_s=1),
        RedisSchedule(client, keys, claim_ttl_s=120),
        RedisEvents(client, keys, timeout_s=5, max_bytes=CAP_BYTES, retention_s=3600),
    )


@pytest.fixture
def state(redis_url: str) -> Iterator[State]:
    made = state_at(redis_url)
    yield made
    made.client.config_set("maxmemory", 0)
    made.client.close()


@pytest.fixture
def weak_url(state: State, redis_url: str) -> Iterator[str]:
    """The same Redis for a user whose rights a test takes away."""
    state.client.execute_command("ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@all")
    yield redis_url.replace("redis://", "redis://weak:pw@")
    state.client.execute_command("ACL", "DELUSER", "weak")


@pytest.fixture
def weak(weak_url: str) -> Iterator[State]:
    made = state_at(weak_url)
    yield made
    made.client.close()


def allow(state: State, *rules: str) -> None:
    state.client.execute_command("ACL", "SETUSER", "weak", *rules)


def record(uidl: bytes) -> Record:
    return Record(uidl_digest(uidl), b"i" * 8, Kind.STORED)


# Keys of the wrong type


@pytest.mark.parametrize("key", OF_THE_COMMIT)
def test_a_key_of_the_wrong_type_refuses_the_commit_before_it_writes_anything(state: State, key: str) -> None:
    token, image = state.hold(), state.ledger.load(ACCOUNT)
    state.ledger.commit(ACCOUNT, token, image, [record(b"0")], EVENT)
    state.ledger.mark(ACCOUNT, token, uidl_digest(b"1"))
    state.client.hset(REFUSALS, "field", "value")
    kept = state.client.dump(key)
    state.client.delete(key)
    state.client.zadd(key, {"not what it should be": 1})
    others = {name: state.client.dump(name) for name in OF_THE_COMMIT if name != key}

    with pytest.raises(StateRefused):
        state.ledger.commit(ACCOUNT, token, image, [record(b"1")], replace(EVENT, id="b" * 32))
    assert {name: state.client.dump(name) for name in others} == others

    state.client.restore(key, 0, kept, replace=True)
    state.ledger.commit(ACCOUNT, token, image, [record(b"1")], replace(EVENT, id="b" * 32))
    assert state.told() == ["a" * 32, "b" * 32]
    assert state.records() == 2


# An ACL that stops the commit in its middle

IN_ORDER = ["append", "pexpire", "hdel", "hset"]  # as the script writes, behind XADD


def commit(weak: State, token: str, image: LedgerImage) -> None:
    """One message done, another in hand next: every command of the script has something to do."""
    digest = uidl_digest(b"1")
    weak.ledger.commit(ACCOUNT, token, image, [record(b"1")], EVENT, finished=digest, following=uidl_digest(b"2"))


@pytest.mark.parametrize("denied", IN_ORDER)
def test_an_error_behind_xadd_leaves_the_event_and_the_record_only_if_append_was_done(
    state: State, weak: State, denied: str
) -> None:
    token, image = weak.hold(), weak.ledger.load(ACCOUNT)
    allow(state, f"-{denied}")
    with pytest.raises(StateRefused):
        commit(weak, token, image)
    assert state.told() == [EVENT.id]
    assert state.records() == (0 if denied == "append" else 1)


@pytest.mark.parametrize("denied", IN_ORDER)
def test_once_the_acl_is_mended_the_next_try_repeats_the_event_only_if_its_record_is_missing(
    state: State, weak: State, denied: str
) -> None:
    token, image = weak.hold(), weak.ledger.load(ACCOUNT)
    allow(state, f"-{denied}")
    with pytest.raises(StateRefused):
        commit(weak, token, image)
    if denied == "append":
        with pytest.raises(StateRefused):
            commit(weak, token, image)
    allow(state, f"+{denied}")
    commit(weak, token, image)
    assert state.told() == [EVENT.id] * (3 if denied == "append" else 1)
    assert state.records() == 1


def test_a_rewrite_whose_event_is_refused_changes_nothing(state: State, weak: State) -> None:
    token, image = weak.hold(), weak.ledger.load(ACCOUNT)
    weak.ledger.commit(ACCOUNT, token, image, [record(b"1")], EVENT)
    counted = state.client.get(OCTETS)
    allow(state, "-xadd")
    with pytest.raises(StateRefused):
        weak.ledger.rewrite(ACCOUNT, token, image, [], event=EVENT)
    assert (state.records(), state.client.get(OCTETS)) == (1, counted)


def test_a_lease_whose_event_is_refused_is_free_all_the_same_and_the_refusal_is_said(state: State, weak: State) -> None:
    token = weak.hold()
    allow(state, "-xadd")
    with pytest.raises(StateRefused):
        weak.lease.release(ACCOUNT, token, due_in_s=0, state=AccountState(failures=3), event=EVENT)
    assert state.client.exists(LEASE, OCTETS) == 0
    assert state.schedule.states([ACCOUNT])[ACCOUNT].failures == 3


@pytest.mark.parametrize("denied", ["incrby", "xadd"])
def test_an_error_before_xadd_leaves_neither_event_nor_record(state: State, weak: State, denied: str) -> None:
    token, image = weak.hold(), weak.ledger.load(ACCOUNT)
    allow(state, f"-{denied}")
    for _ in range(2):
        with pytest.raises(StateRefused, match=f"'{denied}'"):
            weak.ledger.commit(ACCOUNT, token, image, [record(b"1")], EVENT)
    assert state.told() == []
    assert state.records() == 0
    assert int(state.client.get(OCTETS) or 0) == 0  # what is not there does not count towards the cap
    allow(state, f"+{denied}")
    weak.ledger.commit(ACCOUNT, token, image, [record(b"1")], EVENT)
    assert state.told() == [EVENT.id]


def test_a_poll_behind_a_mended_acl_tells_of_every_message_and_repeats_one_under_its_id(
    state: State, weak_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    with house(*(mail(f"{n}") for n in range(10))) as h, RedisSide(h, weak_url) as side:
        allow(state, "-append")
        report = h.poll()
        assert report.failure is not None
        assert report.failure.code == "state_refused"
        assert "no permissions to run the 'append' command" in report.failure.what
        assert "QUIT" not in h.server.log.commands
        assert side.subjects() == ["0"]

        allow(state, "+append")
        assert h.poll().events == 10
        assert side.subjects() == ["0", *(f"{n}" for n in range(10))]
        ids = side.ids()
        assert ids[0] == ids[1]
        assert len(set(ids)) == 10
        assert h.poll().events == 0


# Redis full


def test_what_adds_is_refused_in_a_full_redis_and_changes_nothing(state: State) -> None:
    state.schedule.add([ACCOUNT])
    token, image = state.hold(), state.ledger.load(ACCOUNT)
    state.ledger.commit(ACCOUNT, token, image, [record(b"0")], EVENT)
    before = {key: state.client.dump(key) for key in (LEDGER, STREAM, OCTETS)}
    state.client.config_set("maxmemory", 1)
    with pytest.raises(StateFull):
        state.ledger.commit(ACCOUNT, token, image, [record(b"1")], EVENT)
    with pytest.raises(StateFull):
        state.ledger.mark(ACCOUNT, token, uidl_digest(b"1"))
    with pytest.raises(StateFull):
        state.ledger.count(ACCOUNT, token, uidl_digest(b"1"), 1)
    with pytest.raises(StateFull):
        state.lease.acquire("b")
    with pytest.raises(StateFull):
        state.schedule.claim(10)
    assert {key: state.client.dump(key) for key in (LEDGER, STREAM, OCTETS)} == before
    state.client.config_set("maxmemory", 0)
    state.ledger.commit(ACCOUNT, token, image, [record(b"1")], replace(EVENT, id="b" * 32))
    assert state.told() == ["a" * 32, "b" * 32]


def test_a_poll_that_redis_fills_up_under_goes_on_where_it_stopped(
    state: State, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    with house(*(mail(f"{n}") for n in range(10))) as h, RedisSide(h, redis_url) as side:

        def fill_up(done: int, _of: int, _octets: int) -> None:
            if done == 4:
                state.client.config_set("maxmemory", 1)

        report = h.poller().poll(h.account, fill_up)
        assert (report.events, report.failure and report.failure.code) == (4, "state_full")
        assert "QUIT" not in h.server.log.commands
        assert report.next_due_s is not None  # its lease was given back all the same
        state.client.config_set("maxmemory", 0)
        assert h.poll().events == 6
        assert side.subjects() == [f"{n}" for n in range(10)]


def test_what_frees_or_ends_a_poll_works_in_a_full_redis(state: State) -> None:
    state.schedule.add([ACCOUNT, "b"])
    state.client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    token, image = state.hold(), state.ledger.load(ACCOUNT)
    for n in range(3):
        event = replace(EVENT, id=f"{n}", json=b"x" * (CAP_BYTES // 4))
        state.ledger.commit(ACCOUNT, token, image, [record(b"%d" % n)], event)
    assert state.schedule.claim(1) == ["b"]
    state.client.config_set("maxmemory", 1)

    state.lease.renew(ACCOUNT, token)
    state.ledger.settle(ACCOUNT, token, image)
    state.ledger.rewrite(ACCOUNT, token, image, image.records()[1:])
    assert state.records() == 2
    state.schedule.unclaim(["b"])
    assert state.client.zscore(DUE, "b") == 0
    for _, entries in state.client.xreadgroup("g", "c", {STREAM: ">"}):
        state.client.xack(STREAM, "g", *(position for position, _ in entries))
    assert state.events.trim() == 1
    failing = replace(EVENT, id="f")
    assert state.lease.release(ACCOUNT, token, due_in_s=1, state=AccountState(failures=3), event=failing)
    assert state.client.exists(LEASE) == 0
    assert state.schedule.states([ACCOUNT])[ACCOUNT].failures == 3
    assert state.told() == ["1", "2", "f"]
