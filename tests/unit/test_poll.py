"""One poll after the other against the simulator: what is told, what is kept, what is deleted."""

from __future__ import annotations

import base64
import hashlib

import pytest
from house import PASSWORD, House, house, mail

from ingest.errors import MessageUnprocessable, StoreRefused, StoreUnavailable
from ingest.ledger import uidl_digest
from ingest.models import Kind, Outcome
from ingest.pipeline import Pipeline
from ingest.ports import Put
from ingest.simulator.behaviour import Behaviour


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


def kinds(house: House) -> list[Kind]:
    return [record.kind for record in house.ledger.load("a").records()]


def test_each_message_is_told_of_and_its_raw_object_is_what_the_server_sent() -> None:
    with house(mail("one"), mail("two", ".leading dot\r\n..two\r\n")) as h:
        report = h.poll()
        assert (report.outcome, report.events, report.new) == (Outcome.DONE, 2, 2)
        assert h.subjects() == ["one", "two"]
        for message, event in zip(h.maildrop.messages(), h.events(), strict=True):
            digest = hashlib.sha256(message.octets).hexdigest()
            assert event["data"]["raw"]["sha256"] == event["data"]["sha256"] == digest
            assert event["subject"] == event["data"]["uidl"] == message.uidl
            with h.store.open(f"raw/a/{digest[:2]}/{digest}.eml") as stored:
                assert stored.read() == message.octets


def test_nothing_is_told_again_at_the_next_polls() -> None:
    with house(mail("one")) as h:
        h.poll()
        again = h.poll()
        assert (again.new, again.events, again.outcome) == (0, 0, Outcome.DONE)
        assert h.server.log.retrieved == {("u", h.maildrop.uidls()[0]): 1}
        h.maildrop.deliver(mail("two"))
        h.poll()
        assert h.subjects() == ["one", "two"]


def test_a_wiped_ledger_tells_again_under_the_same_id() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.schedule.erase("a")
        h.poll()
        first, second = h.events()
        assert first["id"] == second["id"]


def test_the_raw_object_carries_what_replay_needs() -> None:
    with house() as h:
        h.maildrop.deliver(mail("one"), uidl="a%b/c")
        h.poll()
        [event] = h.events()
        info = h.store.head(event["data"]["raw"]["url"].removeprefix("memory:///"))
        assert info is not None
        assert info.metadata["event-id"] == event["id"]
        assert (info.metadata["account"], info.metadata["uidl"]) == ("a", "a%25b%2Fc")
        assert info.metadata["first-seen"].startswith(event["data"]["first_seen"][:19])


def test_a_poll_while_another_holds_the_lease_is_busy_and_no_failure() -> None:
    with house(mail("one")) as h:
        h.lease.acquire("a")
        report = h.poll()
        assert (report.outcome, report.failure) == (Outcome.BUSY, None)
        assert h.events() == []


def test_a_paused_account_is_not_polled() -> None:
    with house(mail("one")) as h:
        assert h.poll(account={"paused": True}).outcome is Outcome.PAUSED
        assert h.server.log.sessions == 0


# Deleting


def test_a_message_is_deleted_only_in_a_later_session_and_after_the_grace() -> None:
    with house(mail("one")) as h:
        first = h.poll(account={"keep_s": 0})
        assert (first.deleted, len(h.maildrop)) == (0, 1)
        assert h.poll().deleted == 0
        h.clock.forward(hours=2)
        assert h.poll().deleted == 1
        assert len(h.maildrop) == 0
        assert kinds(h) == [Kind.DELETED]
        h.poll()
        assert kinds(h) == []
        assert len(h.events()) == 1


def test_mail_is_kept_for_as_long_as_keep_says() -> None:
    with house(mail("one")) as h:
        h.poll(account={"keep_s": 14 * 86400})
        h.clock.forward(days=13)
        assert h.poll().deleted == 0
        h.clock.forward(days=2)
        assert h.poll().deleted == 1


def test_mail_is_kept_for_ever_by_default() -> None:
    with house(mail("one")) as h:
        h.poll()
        h.clock.forward(days=4000)
        assert h.poll().deleted == 0


def test_seeded_and_skipped_messages_are_never_deleted() -> None:
    with house(mail("old"), mail("large", "x" * 5000)) as h:
        h.poll(account={"first_poll": "new", "keep_s": 0})
        h.maildrop.deliver(mail("too large", "x" * 5000))
        h.poll(max_message_bytes=2000)
        h.clock.forward(days=1)
        assert h.poll(max_message_bytes=2000).deleted == 0
        assert len(h.maildrop) == 3
        assert kinds(h) == [Kind.SEEDED, Kind.SEEDED, Kind.SKIPPED]


def test_an_incomplete_listing_deletes_nothing() -> None:
    with house(mail("one"), mail("two"), behaviour=Behaviour(list_at_most=1)) as h:
        h.poll(account={"keep_s": 0})
        h.clock.forward(days=1)
        assert h.poll().deleted == 0


def test_a_deleted_record_is_no_evidence_while_its_uidl_is_still_listed() -> None:
    """A server that confirms QUIT and deletes nothing: the content shows it is the same message."""
    with house() as h:
        h.maildrop.deliver(mail("one"), uidl="1")
        h.poll(account={"keep_s": 0})
        h.clock.forward(hours=2)
        h.poll()
        h.maildrop.deliver(mail("one"), uidl="1")
        report = h.poll()
        assert (report.new, report.events) == (1, 0)
        assert kinds(h) == [Kind.STORED]


def test_a_uidl_used_again_for_other_content_after_a_delete_is_a_new_message() -> None:
    with house() as h:
        h.maildrop.deliver(mail("one"), uidl="1")
        h.poll(account={"keep_s": 0})
        h.clock.forward(hours=2)
        h.poll()
        h.maildrop.deliver(mail("two"), uidl="1")
        h.poll()
        assert h.subjects() == ["one", "two"]


# First poll


def test_first_poll_new_tells_only_of_what_comes_later() -> None:
    with house(mail("old"), mail("older")) as h:
        first = h.poll(account={"first_poll": "new"})
        assert (first.events, first.messages) == (0, 0)
        h.maildrop.deliver(mail("new"))
        h.poll()
        assert h.subjects() == ["new"]


def test_first_poll_from_a_date_goes_by_the_newest_received_header() -> None:
    old, young = "Mon, 05 Jan 2026 10:00:00 +0000", "Mon, 05 Oct 2026 10:00:00 +0000"
    with house(mail("old", received=old), mail("young", received=young), mail("undated")) as h:
        report = h.poll(account={"first_poll": "2026-06-01"})
        assert h.subjects() == ["young", "undated"]
        assert report.events == 2
        h.maildrop.deliver(mail("later", received=old))
        h.poll()
        assert h.subjects() == ["young", "undated", "later"]


def test_what_lies_behind_a_window_is_for_the_first_poll_too() -> None:
    old, young = "Mon, 05 Jan 2026 10:00:00 +0000", "Mon, 05 Oct 2026 10:00:00 +0000"
    messages = [mail(f"{n}", received=old if n > 100 else young) for n in range(1, 121)]
    with house(*messages, behaviour=Behaviour(window=100, hide_retrieved=True)) as h:
        for _ in range(3):
            h.poll(account={"first_poll": "2026-06-01"})
        assert len(h.events()) == 100


def test_a_first_listing_that_is_incomplete_is_not_seeded() -> None:
    with house(mail("old"), mail("older"), behaviour=Behaviour(list_at_most=1)) as h:
        report = h.poll(account={"first_poll": "new"})
        assert report.failure is not None
        assert report.failure.code == "listing_failed"
        assert kinds(h) == []


# Identity


def test_a_renumbered_maildrop_gets_records_and_no_events() -> None:
    with house() as h:
        for n in range(3):
            h.maildrop.deliver(mail(f"{n}"), uidl=f"old{n}")
        h.poll()
        h.maildrop.remove(h.maildrop.messages())
        for n in range(3):
            h.maildrop.deliver(mail(f"{n}"), uidl=f"new{n}")
        report = h.poll()
        assert (report.new, report.events) == (3, 0)
        assert h.poll().new == 0


def test_without_uidls_each_content_is_told_of_once() -> None:
    with house(mail("one"), mail("two"), behaviour=Behaviour(uidl=False)) as h:
        h.poll()
        h.maildrop.deliver(mail("three"))
        report = h.poll()
        assert report.events == 1
        assert h.subjects() == ["one", "two", "three"]
        assert "subject" not in h.events()[0]
        assert len(kinds(h)) == 3


# One bad message


def test_a_message_over_the_cap_is_skipped_with_its_headers_and_never_fetched() -> None:
    with house(mail("large", "x" * 5000), mail("small")) as h:
        report = h.poll(max_message_bytes=2000)
        assert (report.skipped, report.events) == (1, 2)
        assert h.subjects("skipped") == ["large"]
        assert h.subjects() == ["small"]
        assert h.poll(max_message_bytes=2000).new == 0
        assert list(h.server.log.retrieved) == [("u", h.maildrop.uidls()[1])]


def test_a_message_the_server_refuses_is_quarantined_the_third_time_and_stops_nobody() -> None:
    with house(mail("bad"), mail("good"), behaviour=Behaviour(refuse_retr=frozenset({1}))) as h:
        reports = [h.poll() for _ in range(3)]
        assert [report.outcome for report in reports] == [Outcome.DONE] * 3
        assert h.subjects() == ["good"]
        [event] = [event for event in h.events() if ".quarantined." in event["type"]]
        assert event["data"]["reason"] == "message_refused"
        assert event["data"]["uidl"] == h.maildrop.uidls()[0]
        assert [report.quarantined for report in reports] == [0, 0, 1]
        assert h.poll().new == 0


class Stumbling(Pipeline):
    """Fails on one subject by the message's own fault."""

    def read(self, spool):  # noqa: ANN001, ANN201
        if b"bad" in bytes(spool.buffer):
            raise MessageUnprocessable("planted")
        return super().read(spool)


def test_a_message_that_can_not_be_processed_is_quarantined_with_its_raw_object() -> None:
    with house(mail("bad"), mail("good")) as h:
        planted = h.pipeline()
        planted.__class__ = Stumbling
        poller = h.poller(planted)
        reports = [h.poll(poller) for _ in range(3)]
        assert reports[2].quarantined == 1
        assert h.subjects() == ["good"]
        [event] = [event for event in h.events() if ".quarantined." in event["type"]]
        assert event["data"]["subject"] == "bad"
        with h.store.open(event["data"]["raw"]["url"].removeprefix("memory:///")) as stored:
            assert stored.read() == h.maildrop.messages()[0].octets
        assert h.poll(account={"keep_s": 0}).new == 0
        h.clock.forward(days=1)
        h.poll()
        assert h.maildrop.uidls() == h.maildrop.uidls()[:1]


# Storage and sessions that fail


def test_without_storage_nothing_is_committed_and_the_session_ends_without_quit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def down(*_: object, **__: object) -> Put:
        raise StoreUnavailable("storage is down")

    with house(mail("one"), behaviour=Behaviour(delete_retrieved=True)) as h:
        with monkeypatch.context() as patch:
            patch.setattr(h.store, "put", down)
            report = h.poll()
        assert report.outcome is Outcome.FAILED
        assert report.failure is not None
        assert report.failure.code == "store_unavailable"
        assert h.events() == []
        assert kinds(h) == []
        assert h.telemetry.failed == []
        assert h.server.wait_idle(5)
        assert len(h.maildrop) == 1
        assert h.poll().events == 1


def test_a_store_that_vanishes_midway_keeps_what_was_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(*(mail(f"{n}") for n in range(5))) as h:
        put = h.store.put
        puts = []

        def twice(key: str, *args: object, **kwargs: object) -> Put:
            puts.append(key)
            if len(puts) > 2:
                raise StoreRefused("bucket is gone")
            return put(key, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(h.store, "put", twice)
            assert h.poll().events == 2
        h.poll()
        assert h.subjects() == ["0", "1", "2", "3", "4"]


def test_a_connection_that_breaks_within_a_message_loses_nothing() -> None:
    with house(mail("one"), mail("two"), mail("three"), behaviour=Behaviour(close_on_retr=2)) as h:
        report = h.poll()
        assert (report.outcome, report.events) == (Outcome.FAILED, 1)
        assert report.failure is not None
        assert report.failure.fault == "host"
        assert [record.uidl for record in h.ledger.load("a").records()] == [uidl_digest(h.maildrop.uidls()[0].encode())]


def test_a_wrong_password_backs_off_and_opens_the_breaker_at_the_second_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with house(mail("one")) as h:
        with monkeypatch.context() as patch:
            patch.setenv("HOUSE_PASSWORD", "wrong")
            waits = [h.poll().next_due_s for _ in range(3)]
        assert waits == [60, 6 * 3600, 24 * 3600]
        assert [event["type"] for event in h.events()] == ["mailsluice.account.failing.v1"]
        assert h.events()[0]["data"]["reason"] == "credentials"
        h.poll()
        assert [event["type"] for event in h.events()][-1] == "mailsluice.account.recovered.v1"
        assert h.subjects() == ["one"]


KEY = base64.b64encode(bytes(32)).decode()


def refuse_twice(h: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", "wrong")
    assert [h.poll().outcome for _ in range(2)] == [Outcome.FAILED] * 2


def test_with_the_breaker_open_the_same_password_is_not_tried_and_another_one_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with house(mail("one")) as h:
        h.secret_key = KEY
        refuse_twice(h, monkeypatch)
        before = h.server.log.sessions
        for _ in range(3):
            h.clock.forward(minutes=6)
            report = h.poll(claimed=True)
            assert (report.outcome, report.failure, report.next_due_s) == (Outcome.WAITING, None, 300)
        assert h.server.log.sessions == before
        assert h.schedule.states(["a"])["a"].failures == 2
        monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
        h.clock.forward(minutes=6)
        assert h.poll(claimed=True).outcome is Outcome.DONE
        assert h.subjects() == ["one"]
        assert [event["type"].split(".")[2] for event in h.events() if ".account." in event["type"]] == [
            "failing",
            "recovered",
        ]


def test_with_the_breaker_open_the_same_password_is_tried_when_its_time_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with house(mail("one")) as h:
        h.secret_key = KEY
        refuse_twice(h, monkeypatch)
        h.clock.forward(hours=6, seconds=1)
        report = h.poll(claimed=True)
        assert (report.outcome, report.next_due_s) == (Outcome.FAILED, 300)
        h.clock.forward(hours=23)
        assert h.poll(claimed=True).outcome is Outcome.WAITING
        h.clock.forward(hours=2)
        assert h.poll(claimed=True).outcome is Outcome.FAILED


def test_another_password_that_is_wrong_too_has_its_second_try_and_tells_nothing_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with house(mail("one")) as h:
        h.secret_key = KEY
        refuse_twice(h, monkeypatch)
        monkeypatch.setenv("HOUSE_PASSWORD", "wrong again")
        h.clock.forward(minutes=6)
        assert h.poll(claimed=True).next_due_s == 60
        h.clock.forward(minutes=2)
        assert h.poll(claimed=True).outcome is Outcome.FAILED
        h.clock.forward(minutes=6)
        assert h.poll(claimed=True).outcome is Outcome.WAITING
        assert len(h.events()) == 1


def test_a_poll_that_somebody_asked_for_tries_the_same_password_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one")) as h:
        h.secret_key = KEY
        refuse_twice(h, monkeypatch)
        report = h.poll()
        assert report.failure is not None
        assert report.failure.code == "credentials"


def test_a_login_that_the_host_refuses_as_it_does_others_opens_no_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one")) as h:
        for other in ("x", "y"):
            h.hosts.refused(h.account.place, other)
        with monkeypatch.context() as patch:
            patch.setenv("HOUSE_PASSWORD", "wrong")
            reports = [h.poll() for _ in range(3)]
        assert [report.next_due_s for report in reports] == [600, 1200, 2400]
        assert reports[0].failure is not None
        assert (reports[0].failure.code, reports[0].failure.fault) == ("logins_refused", "host")
        assert h.events() == []
        h.poll()
        assert h.subjects() == ["one"]
        assert h.hosts.refused(h.account.place, "z") == 1


def test_no_state_of_a_refused_login_holds_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one")) as h:
        h.secret_key = KEY
        refuse_twice(h, monkeypatch)
        state = h.schedule.states(["a"])["a"]
        assert state.refused_mark
        assert "wrong" not in repr(state)
        h.secret_key = None
        h.clock.forward(minutes=6)
        assert h.poll(claimed=True).outcome is Outcome.FAILED
        assert h.schedule.states(["a"])["a"].refused_mark is None


def test_an_account_without_its_secret_fails_in_one_line_and_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOUSE_PASSWORD")
    with house(mail("one")) as h:
        report = h.poll()
        assert report.failure is not None
        assert report.failure.code == "secret_unavailable"
        assert "HOUSE_PASSWORD" in report.failure.line("a")
        assert h.server.log.sessions == 0


def test_asked_to_drain_a_poll_stops_behind_the_message_in_hand_and_is_due_at_once() -> None:
    with house(*(mail(f"{n}") for n in range(5))) as h:
        h.draining = True
        report = h.poll()
        assert (report.outcome, report.events, report.next_due_s) == (Outcome.DRAINED, 1, 0)
        h.draining = False
        h.poll()
        assert h.subjects() == ["0", "1", "2", "3", "4"]


def test_a_budget_leaves_the_rest_to_the_next_poll_which_is_due_at_once() -> None:
    with house(*(mail(f"{n}") for n in range(5))) as h:
        report = h.poll(max_messages=2)
        assert (report.events, report.more, report.next_due_s) == (2, True, 0)
        h.poll(max_messages=2)
        assert h.poll(max_messages=2).more is False
        assert h.subjects() == ["0", "1", "2", "3", "4"]


def test_a_poller_that_lost_its_lease_writes_nothing_more_and_does_not_quit() -> None:
    with house(mail("one"), mail("two"), behaviour=Behaviour(delete_retrieved=True)) as h:
        h.lease_ttl_s = 60
        put = h.store.put

        def stalled(*args: object, **kwargs: object) -> Put:
            h.clock.forward(seconds=61)
            h.lease.acquire("a")
            return put(*args, **kwargs)

        h.store.put = stalled
        report = h.poll()
        assert report.failure is not None
        assert report.failure.code == "lease_lost"
        assert h.events() == []
        assert h.server.wait_idle(5)
        assert len(h.maildrop) == 2


# Nothing new


def loads(h: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts how often the ledger is read whole."""
    load, seen = h.ledger.load, []
    monkeypatch.setattr(h.ledger, "load", lambda account_id: seen.append(account_id) or load(account_id))
    return seen


def test_an_unchanged_maildrop_costs_no_look_into_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one"), mail("two")) as h:
        h.poll()
        seen = loads(h, monkeypatch)
        assert h.poll().listed == 2
        assert seen == []
        h.maildrop.deliver(mail("three"))
        assert h.poll().events == 1
        assert h.poll().new == 0
        assert seen == ["a"]


def test_a_swap_in_the_middle_of_a_listing_is_seen() -> None:
    with house() as h:
        for uidl in ("1", "2", "3"):
            h.maildrop.deliver(mail(uidl), uidl=uidl)
        h.poll()
        h.maildrop.remove(h.maildrop.messages()[1:])
        h.maildrop.deliver(mail("new"), uidl="2b")
        h.maildrop.deliver(mail("3"), uidl="3")
        assert h.poll().events == 1


def test_a_ledger_that_was_lost_or_changed_is_read_again_whatever_the_state_remembers() -> None:
    with house(mail("one")) as h:
        h.poll()
        del h.state.ledgers["a"]
        assert h.poll().events == 1


def test_what_has_no_record_yet_is_looked_at_at_the_next_poll() -> None:
    with house(mail("one"), mail("two"), behaviour=Behaviour(refuse_retr=frozenset({1}))) as h:
        h.poll()
        h.server.behaviour = Behaviour()
        assert h.poll().events == 1


def test_the_ledger_of_an_unchanged_maildrop_is_read_once_a_delete_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one")) as h:
        h.poll(account={"keep_s": 86400})
        seen = loads(h, monkeypatch)
        h.poll()
        assert seen == []
        h.clock.forward(days=1, minutes=1)
        assert h.poll().deleted == 1
        assert seen == ["a"]
