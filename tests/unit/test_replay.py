"""Stored messages told of again, with and without what Redis knew."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, BinaryIO

import pytest
from house import PASSWORD, House, InProcess, house, mail

from ingest.errors import LeaseLost, MessageUnprocessable, StoreUnavailable
from ingest.ledger import uidl_digest
from ingest.models import Account, Kind, MessageRef, Outcome
from ingest.pipeline import Pipeline, Processed, Read
from ingest.ports import ObjectInfo, Spool
from ingest.simulator.behaviour import Behaviour

WITH_FILE = (
    b"From: a@example.com\r\nSubject: file\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\ntext\r\n--b\r\nContent-Disposition: attachment; filename=x.csv\r\n"
    b"Content-Type: text/csv\r\n\r\n1;2\r\n--b--\r\n"
)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


def kinds(h: House, account_id: str = "a") -> list[Kind]:
    return [record.kind for record in h.ledger.load(account_id).records()]


def metadata(h: House) -> list[dict[str, str]]:
    """What the raw objects carry; changes in it are changes of the objects."""
    return [h.store._objects[key][1] for key in h.store.keys("raw/")]


def like(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event but for what a replay may change."""
    data = {name: value for name, value in event["data"].items() if name not in {"replay", "tags"}}
    return {**event, "time": None, "data": data}


# What a replay tells


def test_with_an_empty_redis_every_stored_message_is_told_of_again_under_its_id_and_marked() -> None:
    with house(mail("one"), WITH_FILE) as h:
        h.poll()
        before = h.events()
        h.lose_redis()
        [report] = h.replay()
        assert (report.account, report.outcome, report.stored, report.replayed) == ("a", Outcome.DONE, 2, 2)
        after = h.events()
        assert sorted(map(json.dumps, map(like, after))) == sorted(map(json.dumps, map(like, before)))
        assert [event["data"]["replay"] for event in before + after] == [False, False, True, True]


def test_a_replay_while_redis_knows_everything_repeats_the_events_and_writes_no_record() -> None:
    with house(mail("one")) as h:
        h.poll()
        ledger = h.state.ledgers["a"]
        [report] = h.replay()
        first, second = h.events()
        assert first["id"] == second["id"]
        assert (report.replayed, report.recorded) == (1, 1)
        assert h.state.ledgers["a"] == ledger


def test_tags_are_those_of_the_registry_and_none_for_an_account_that_is_not_in_it() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.replay()
        h.registry.put([replace(h.account, tags={"team": "finance"})])
        h.replay()
        assert [event["data"]["tags"] for event in h.events()] == [{}, {}, {"team": "finance"}]


def test_a_lost_attachment_is_stored_again() -> None:
    with house(WITH_FILE) as h:
        h.poll()
        [key] = h.store.keys("attachments/")
        del h.store._objects[key]
        h.replay()
        with h.store.open(key) as restored:
            assert restored.read() == b"1;2"


def test_a_uidl_of_any_octets_comes_back() -> None:
    with house() as h:
        h.maildrop.deliver(mail("one"), uidl="a%2F\xe9 /")
        h.poll()
        h.replay()
        first, second = h.events()
        assert first["subject"] == second["subject"] == "a%252F%E9%20%2F"


def test_since_and_until_choose_by_when_a_message_was_first_seen() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.clock.forward(days=2)
        h.maildrop.deliver(mail("two"))
        h.poll()
        middle = h.clock.now() - timedelta(days=1)
        h.state.events.clear()
        [late] = h.replay(since=middle)
        assert h.subjects() == ["two"]
        [early] = h.replay(until=middle)
        assert h.subjects() == ["two", "one"]
        assert [(report.stored, report.replayed) for report in (late, early)] == [(2, 1), (2, 1)]
        assert late.oldest is not None
        assert late.oldest < middle


def test_the_moment_itself_belongs_to_since_and_not_to_until() -> None:
    with house(mail("one")) as h:
        h.poll()
        [moment] = [report.oldest for report in h.replay()]
        h.state.events.clear()
        assert h.replay(until=moment)[0].replayed == 0
        assert h.replay(since=moment)[0].replayed == 1


def test_of_one_account_only_its_own_is_told_of() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.poll(account={"id": "a.b"})
        h.state.events.clear()
        assert [report.account for report in h.replay(account="a")] == ["a"]
        assert [event["source"] for event in h.events()] == ["mailsluice/a"]
        assert sorted(report.account for report in h.replay()) == ["a", "a.b"]


def test_a_message_that_fails_by_its_own_fault_is_quarantined_again_under_its_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(_spool: Spool) -> Read:
        raise MessageUnprocessable("planted")

    with house(mail("bad")) as h:
        pipeline = h.pipeline()
        monkeypatch.setattr(pipeline, "read", failing)
        for _ in range(3):
            h.poll(h.poller(pipeline))
        [first] = h.events()
        h.lose_redis()
        [report] = h.replay(h.replayer(pipeline))
        [second] = h.events()
        assert (report.replayed, report.quarantined) == (0, 1)
        assert (first["type"], first["id"]) == (second["type"], second["id"])
        assert first["type"] == "mailsluice.message.quarantined.v1"
        h.replay()  # once the fault is mended
        assert h.subjects() == ["bad"]


@dataclass
class Alone:
    """Isolation that notes which messages it was given."""

    pipeline: Pipeline
    given: list[str] = field(default_factory=list)

    def process(
        self, account: Account, ref: MessageRef, spool: Spool, *, first_seen: datetime, beat: Callable[[], None]
    ) -> Processed:
        self.given.append(spool.sha256.hex())
        return InProcess(self.pipeline).process(account, ref, spool, first_seen=first_seen, beat=beat)


def test_what_was_in_quarantine_is_processed_alone_and_marked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_spool: Spool) -> Read:
        raise MessageUnprocessable("planted")

    with house(mail("bad")) as h:
        pipeline = h.pipeline()
        monkeypatch.setattr(pipeline, "read", failing)
        for _ in range(3):
            h.poll(h.poller(pipeline))
        h.maildrop.deliver(mail("good"))
        h.poll()
        h.lose_redis()
        alone = Alone(h.pipeline())
        [report] = h.replay(h.replayer(isolation=alone))
        [bad] = [event for event in h.events() if event["data"]["subject"] == "bad"]
        assert report.replayed == 2
        assert alone.given == [bad["data"]["sha256"]]
        assert bad["data"]["replay"] is True


def test_a_message_that_ended_a_replay_is_processed_alone_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Died(BaseException):
        """Stands for kill -9: whatever is done about it reaches nothing."""

    def deadly(_spool: Spool) -> Read:
        raise Died

    with house(mail("bad")) as h:
        h.poll()
        h.lose_redis()
        pipeline = h.pipeline()
        monkeypatch.setattr(pipeline, "read", deadly)
        with monkeypatch.context() as dead:
            dead.setattr(h.lease, "release", lambda *_, **__: True)
            with pytest.raises(Died):
                h.replay(h.replayer(pipeline))
        h.clock.forward(seconds=61)
        alone = Alone(h.pipeline())
        [report] = h.replay(h.replayer(pipeline, isolation=alone))
        assert (report.replayed, len(alone.given)) == (1, 1)
        assert h.state.suspects["a"] == {}


def test_what_fails_in_a_replay_is_listed_with_its_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_spool: Spool) -> Read:
        raise MessageUnprocessable("planted")

    with house(mail("bad")) as h:
        h.poll()
        h.lose_redis()
        pipeline = h.pipeline()
        monkeypatch.setattr(pipeline, "read", failing)
        h.replay(h.replayer(pipeline))
        [refusal] = h.state.refusals.values()
        [event] = h.events()
        assert (refusal.id, refusal.subject) == (event["id"], "bad")
        assert refusal.raw == next(iter(h.store.keys("raw/")))
        [record] = h.ledger.load("a").records()
        assert replace(record, minutes=0) == refusal.record
        h.poll(h.poller(pipeline))
        assert [event["type"] for event in h.events()] == ["mailsluice.message.quarantined.v1"]


def test_a_message_that_failed_in_a_replay_stops_none_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one"), mail("two"), mail("three")) as h:
        h.poll()
        h.lose_redis()
        pipeline = h.pipeline()
        read, calls = pipeline.read, list[Spool]()

        def failing_once(spool: Spool) -> Read:
            calls.append(spool)
            if len(calls) == 1:
                raise MessageUnprocessable("planted")
            return read(spool)

        monkeypatch.setattr(pipeline, "read", failing_once)
        [report] = h.replay(h.replayer(pipeline))
        assert (report.quarantined, report.replayed, report.outcome) == (1, 2, Outcome.DONE)


# What it leaves in the ledger


def test_the_polls_after_a_loss_tell_of_what_came_meanwhile_and_of_nothing_else() -> None:
    with house(mail("one"), mail("two"), mail("gone")) as h:
        h.poll()
        h.maildrop.remove(h.maildrop.messages()[2:])
        h.lose_redis()
        h.maildrop.deliver(mail("meanwhile"))
        h.replay()
        assert kinds(h) == [Kind.GONE] * 3
        assert h.poll().events == 1
        assert sorted(filter(None, h.subjects())) == ["gone", "meanwhile", "one", "two"]
        again = h.poll()
        assert (again.new, again.events) == (0, 0)


def test_a_poll_before_the_replay_leaves_its_records_as_they_are() -> None:
    with house(mail("one"), mail("gone")) as h:
        h.poll()
        h.maildrop.remove(h.maildrop.messages()[1:])
        h.lose_redis()
        h.poll()
        [report] = h.replay()
        assert (report.replayed, report.recorded) == (2, 1)
        assert sorted(kinds(h)) == [Kind.STORED, Kind.GONE]
        assert len({event["id"] for event in h.events()}) == 2
        assert (h.poll().events, h.poll().new) == (0, 0)


def test_a_uidl_that_a_record_covers_for_whatever_content_gets_no_other() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.lose_redis()
        h.poll(account={"first_poll": "new"})  # the replay comes too late: all is seeded
        assert kinds(h) == [Kind.SEEDED]
        [report] = h.replay()
        assert (report.replayed, report.recorded) == (1, 1)
        assert kinds(h) == [Kind.SEEDED]


def test_other_mail_under_a_uidl_of_the_past_is_read_and_told_of() -> None:
    with house() as h:
        h.maildrop.deliver(mail("old"), uidl="1")
        h.poll(account={"keep_s": 0})
        h.maildrop.remove(h.maildrop.messages())
        h.lose_redis()
        h.replay()
        h.maildrop.deliver(mail("new"), uidl="1")
        h.clock.forward(hours=2)
        report = h.poll()
        assert (report.events, report.deleted) == (1, 0)
        assert h.subjects() == ["old", "new"]


def test_mail_that_was_renumbered_while_redis_was_lost_is_told_of_by_the_replay_alone() -> None:
    with house() as h:
        h.maildrop.deliver(mail("one"), uidl="1")
        h.poll()
        h.lose_redis()
        h.replay()
        h.maildrop.remove(h.maildrop.messages())
        h.maildrop.deliver(mail("one"), uidl="new-1")
        assert h.poll().events == 0


def test_a_copy_under_another_uidl_repeats_with_the_same_id() -> None:
    with house() as h:
        for uidl in ("1", "2"):
            h.maildrop.deliver(mail("copy"), uidl=uidl)
        h.poll()
        h.lose_redis()
        h.replay()
        h.poll()
        assert len({event["id"] for event in h.events()}) == 1
        assert (h.poll().new, kinds(h)) == (0, [Kind.STORED] * 2)


def test_without_uidls_the_polls_after_a_replay_tell_of_nothing_again() -> None:
    with house(mail("one"), mail("two"), behaviour=Behaviour(uidl=False)) as h:
        h.poll()
        h.lose_redis()
        h.replay()
        assert h.poll().events == 0
        assert len(h.events()) == 2


def test_nothing_is_deleted_before_a_poll_has_read_it_again_and_the_grace_is_over() -> None:
    with house(mail("one")) as h:
        h.poll(account={"keep_s": 0})
        h.clock.forward(hours=2)
        h.lose_redis()
        h.replay()
        h.clock.forward(hours=2)
        assert h.poll().deleted == 0
        assert h.poll().deleted == 0
        h.clock.forward(hours=2)
        assert h.poll().deleted == 1
        assert len(h.events()) == 1


def test_an_account_that_left_old_mail_alone_goes_on_so_from_the_date_a_replay_prints() -> None:
    with house() as h:
        h.maildrop.deliver(mail("left alone", received="Mon, 1 Jan 2024 10:00:00 +0000"), uidl="1")
        h.poll(account={"first_poll": "new"})
        arrived = h.clock.now().strftime("%a, %d %b %Y %H:%M:%S +0000")
        h.maildrop.deliver(mail("told of", received=arrived), uidl="2")
        h.poll()
        h.clock.forward(days=40)
        h.lose_redis()
        meanwhile = h.clock.now().strftime("%a, %d %b %Y %H:%M:%S +0000")
        h.maildrop.deliver(mail("meanwhile", received=meanwhile), uidl="3")
        [report] = h.replay()
        assert report.oldest is not None
        h.poll(account={"first_poll": report.oldest.date().isoformat()})
        assert h.subjects() == ["told of", "meanwhile"]
        assert h.poll().new == 0


def test_with_first_poll_new_a_poll_behind_a_replay_passes_over_nothing() -> None:
    with house(mail("left alone")) as h:
        h.poll(account={"first_poll": "new"})
        h.maildrop.deliver(mail("told of"))
        h.poll()
        h.lose_redis()
        h.maildrop.deliver(mail("meanwhile"))
        h.replay()
        h.poll()
        assert h.subjects() == ["told of", "left alone", "meanwhile"]


def test_a_first_poll_from_a_date_does_not_seed_what_a_replay_told_of() -> None:
    with house() as h:
        for n in (1, 2):
            h.maildrop.deliver(mail(f"old {n}", received="Mon, 1 Jan 2024 10:00:00 +0000"), uidl=str(n))
        [first, second] = h.maildrop.messages()
        h.maildrop.remove([second])
        h.poll(account={"keep_s": 0})
        h.lose_redis()
        h.replay()
        h.maildrop.deliver(second.octets, uidl="2")
        h.poll(account={"first_poll": "2025-01-01"})
        ledger = h.ledger.load("a")
        assert [each.kind for each in ledger.of_uidl(uidl_digest(first.uidl.encode()))] == [Kind.STORED]
        assert [each.kind for each in ledger.of_uidl(uidl_digest(b"2"))] == [Kind.SEEDED]
        assert len(h.events()) == 1


# Objects that are not as they should be


def test_an_object_whose_content_is_another_is_not_told_of_and_stops_no_other() -> None:
    with house(mail("one"), mail("two")) as h:
        h.poll()
        h.lose_redis()
        key = next(iter(h.store.keys("raw/")))
        h.store._objects[key] = (b"damaged", h.store._objects[key][1])
        [report] = h.replay()
        assert (report.outcome, report.replayed, report.refused) == (Outcome.DONE, 1, 1)
        assert key in h.refused[0]
        assert "its content is another" in h.refused[0]


@pytest.mark.parametrize("damage", [{"first-seen": None}, {"first-seen": "yesterday"}, {"account": None}])
def test_an_object_without_usable_metadata_is_named_and_not_told_of(damage: dict[str, str | None]) -> None:
    with house(mail("one")) as h:
        h.poll()
        h.lose_redis()
        for name, value in damage.items():
            [given] = metadata(h)
            if value is None:
                del given[name]
            else:
                given[name] = value
        [report] = h.replay()
        assert (report.replayed, report.refused) == (0, 1)
        assert "metadata is missing or damaged" in h.refused[0]


def test_an_object_that_belongs_to_another_account_is_not_told_of() -> None:
    with house(mail("one")) as h:
        h.poll()
        [given] = metadata(h)
        given["account"] = "b"
        assert h.replay()[0].refused == 1
        assert "of another account, b" in h.refused[0]


def test_an_object_that_vanishes_between_listing_and_reading_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one"), mail("two")) as h:
        h.poll()
        h.lose_redis()
        gone, head = next(iter(h.store.keys("raw/"))), h.store.head

        def looked(key: str) -> ObjectInfo | None:
            return None if key == gone else head(key)

        monkeypatch.setattr(h.store, "head", looked)
        [report] = h.replay()
        assert (report.replayed, report.refused) == (1, 1)


def test_what_else_lies_below_raw_is_passed_over() -> None:
    with house(mail("one")) as h:
        h.poll()
        for key in ("raw/README", "raw/a/README.txt", f"raw/a/00/{'f' * 64}.eml"):
            h.store._objects[key] = (b"x", {})
        [report] = h.replay()
        assert (report.stored, report.refused) == (1, 0)


# Leases, and what breaks off


def test_an_account_that_a_poller_holds_is_busy_and_the_others_go_on() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.poll(account={"id": "b"})
        h.state.events.clear()
        assert h.lease.acquire("a") is not None
        busy, done = h.replay()
        assert (busy.account, busy.outcome, busy.failure) == ("a", Outcome.BUSY, None)
        assert (done.account, done.replayed) == ("b", 1)
        assert [event["source"] for event in h.events()] == ["mailsluice/b"]


def test_lease_state_and_due_time_are_given_back_as_they_were() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.schedule.set_due(["a"], 5000)
        state = h.state.states["a"]
        h.replay()
        assert h.state.states["a"] == state
        assert 4900 < h.schedule.due_in(["a"])["a"] <= 5000
        assert h.lease.acquire("a") is not None


def test_a_lost_lease_ends_the_replay_of_its_account_and_writes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one"), mail("two")) as h:
        h.poll()
        h.poll(account={"id": "b"})
        h.lose_redis()
        opened = h.store.open

        def stalled(key: str) -> BinaryIO:
            if key.startswith("raw/a/") and h.events():
                h.clock.forward(seconds=61)
                h.lease.acquire("a")
            return opened(key)  # type: ignore[return-value]

        monkeypatch.setattr(h.store, "open", stalled)
        lost, done = h.replay()
        assert lost.failure is not None
        assert (lost.failure.code, lost.replayed) == (LeaseLost.code, 1)
        assert (done.account, done.replayed) == ("b", 2)
        assert len(h.ledger.load("a")) == 1


def test_progress_keeps_the_lease_of_a_long_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(*(mail(f"{n}") for n in range(6))) as h:
        h.poll()
        h.lose_redis()
        head = h.store.head

        def slow(key: str) -> ObjectInfo | None:
            h.clock.forward(seconds=50)
            assert h.lease.acquire("a") is None
            return head(key)

        monkeypatch.setattr(h.store, "head", slow)
        [report] = h.replay(until=h.clock.now() - timedelta(days=1))  # nothing is committed, which would extend it
        assert (report.outcome, report.stored) == (Outcome.DONE, 6)


def test_a_full_stream_ends_it_and_the_last_key_is_where_to_go_on() -> None:
    with house(mail("one"), mail("two"), mail("three")) as h:
        h.poll()
        h.poll(account={"id": "b"})
        h.lose_redis()
        h.state.stream_max_bytes = 2000
        [report] = h.replay()
        assert report.failure is not None
        assert (report.failure.code, report.ends) == ("state_full", True)
        assert 0 < report.replayed < 3
        h.state.stream_max_bytes = 1 << 30
        assert [each.replayed for each in h.replay(after=report.last)] == [3 - report.replayed, 3]
        assert len(h.events()) == 6


def test_a_full_stream_whose_consumers_are_done_is_trimmed_and_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one"), mail("two"), mail("three")) as h:
        h.poll()
        h.lose_redis()
        h.state.stream_max_bytes = 2000
        replayer, told = h.replayer(), list[str]()

        def trim() -> int:
            told.extend(event.id for event in h.state.events)
            h.state.events.clear()
            return len(told)

        monkeypatch.setattr(replayer._events, "trim", trim)
        [report] = h.replay(replayer)
        assert (report.outcome, report.replayed) == (Outcome.DONE, 3)
        assert len(set(told) | {event.id for event in h.state.events}) == 3


def test_a_store_that_is_down_ends_it_before_the_next_account(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_key: str) -> ObjectInfo | None:
        raise StoreUnavailable("nobody answers there")

    with house(mail("one")) as h:
        h.poll()
        h.poll(account={"id": "b"})
        monkeypatch.setattr(h.store, "head", down)
        [report] = h.replay()
        assert report.failure is not None
        assert (report.failure.code, report.ends) == ("store_unavailable", True)
        assert h.lease.acquire("a") is not None


def test_an_interrupt_leaves_no_lease_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_key: str) -> ObjectInfo | None:
        raise KeyboardInterrupt

    with house(mail("one")) as h:
        h.poll()
        monkeypatch.setattr(h.store, "head", interrupted)
        with pytest.raises(KeyboardInterrupt):
            h.replay()
        assert h.lease.acquire("a") is not None


def test_an_account_of_no_registry_gets_its_ledger_all_the_same() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.lose_redis()
        h.state.due.clear()
        h.state.accounts.clear()
        h.replay()
        assert h.registry.all() == []
        assert kinds(h) == [Kind.GONE]
        assert h.schedule.due_in(["a"]) == {}
