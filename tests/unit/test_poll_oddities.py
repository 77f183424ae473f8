"""Servers, maildrops and bugs at their oddest: nothing lost, nothing told twice, nothing deleted unread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from house import PASSWORD, House, house, mail

from ingest import attaching
from ingest.errors import StateRefused
from ingest.models import Kind, Outcome, Part
from ingest.providers import Provider
from ingest.simulator.behaviour import Behaviour, Sizes


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


def kinds(h: House) -> list[Kind]:
    return [record.kind for record in h.ledger.load("a").records()]


def empty(h: House) -> None:
    """Another client deletes everything."""
    h.maildrop.remove(h.maildrop.messages())


def test_a_uidl_used_again_after_another_client_deleted_it_is_read_before_it_may_be_deleted() -> None:
    with house() as h:
        h.maildrop.deliver(mail("first"), uidl="1")
        h.poll(account={"keep_s": 0})
        empty(h)
        h.poll()
        assert kinds(h) == [Kind.GONE]
        h.maildrop.deliver(mail("second"), uidl="1")
        h.clock.forward(hours=2)
        assert h.poll().deleted == 0
        assert h.subjects() == ["first", "second"]
        h.clock.forward(hours=2)
        assert h.poll().deleted == 1
        assert len(h.maildrop) == 0


def test_a_uidl_listed_twice_with_other_content_before_the_known_one_is_read_before_it_may_be_deleted() -> None:
    with house() as h:
        h.maildrop.deliver(mail("A"), uidl="x")
        h.poll(account={"keep_s": 0})
        empty(h)
        h.maildrop.deliver(mail("B"), uidl="x")
        h.maildrop.deliver(mail("A"), uidl="x")
        h.poll()
        assert h.subjects() == ["A", "B"]
        assert kinds(h) == [Kind.STORED, Kind.STORED]
        assert h.poll().new == 0
        h.clock.forward(hours=2)
        assert h.poll().deleted == 2


def test_identical_copies_under_one_uidl_are_told_of_once_and_each_has_its_record() -> None:
    with house() as h:
        for _ in range(3):
            h.maildrop.deliver(mail("same"), uidl="x")
        h.poll()
        assert h.subjects() == ["same"]
        assert kinds(h) == [Kind.STORED] * 3
        assert h.poll().new == 0


def test_a_server_that_deletes_what_was_retrieved_keeps_everything_that_we_promised_to_keep() -> None:
    with house(mail("one"), mail("two"), behaviour=Behaviour(delete_retrieved=True)) as h:
        assert h.poll().events == 2
        assert h.server.wait_idle(5)
        assert len(h.maildrop) == 2
        assert h.poll(account={"keep_s": 0}).new == 0
        h.clock.forward(hours=2)
        assert h.poll().deleted == 2


def test_gmail_is_quitted_since_it_hides_what_was_retrieved_and_shows_the_next_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ingest.visit.recognise", lambda host: Provider.GMAIL)
    with house(mail("one"), mail("two"), behaviour=Behaviour(delete_retrieved=True)) as h:
        assert h.poll().events == 2
        assert h.server.wait_idle(5)
        assert len(h.maildrop) == 0


def test_a_server_that_refuses_every_message_is_at_fault_and_none_is_quarantined() -> None:
    refuse = frozenset(range(1, 6))
    with house(*(mail(f"{n}") for n in range(5)), behaviour=Behaviour(refuse_retr=refuse)) as h:
        reports = [h.poll(max_messages=3) for _ in range(4)]
        assert {report.failure and report.failure.code for report in reports} == {"server_temporary"}
        assert all(report.next_due_s for report in reports)
        assert h.events() == []


def test_several_messages_that_are_refused_for_good_hold_up_nobody_where_the_server_hands_over_another() -> None:
    with house(mail("good"), mail("bad"), mail("worse")) as h:
        h.server.behaviour = Behaviour(refuse_retr=frozenset({2, 3}))
        reports = [h.poll() for _ in range(4)]
        assert {report.outcome for report in reports} == {Outcome.DONE}
        assert sum(report.quarantined for report in reports) == 2
        assert h.subjects() == ["good"]


def test_where_quit_deletes_what_was_retrieved_a_look_at_a_known_message_does_not_delete_it() -> None:
    with house(mail("known")) as h:
        h.server.behaviour = Behaviour(delete_retrieved=True)
        h.poll()
        h.maildrop.deliver(mail("bad"))
        h.maildrop.deliver(mail("worse"))
        h.server.behaviour = Behaviour(delete_retrieved=True, refuse_retr=frozenset({2, 3}))
        for _ in range(4):
            h.poll()
        assert h.server.wait_idle(5)
        assert len(h.maildrop) == 3


def test_the_same_octets_delivered_again_after_our_own_delete_are_a_new_message() -> None:
    with house() as h:
        h.maildrop.deliver(mail("alert"), uidl="1")
        h.poll(account={"keep_s": 0})
        h.clock.forward(hours=2)
        assert h.poll().deleted == 1
        h.maildrop.deliver(mail("alert"), uidl="2")
        assert h.poll().events == 1


def test_a_message_that_needs_a_file_is_spooled_where_no_directory_was_made_yet() -> None:
    large = mail("large", "line of text\r\n" * 200_000)
    with house(large) as h:
        h.spool_dir = h.spool_dir / "not" / "there"
        assert h.poll().events == 1
        assert list(h.spool_dir.iterdir()) == []


def test_without_uidls_a_large_message_is_told_of_once_and_holds_up_nobody() -> None:
    with house(mail("large", "x" * 5000), mail("small"), behaviour=Behaviour(uidl=False)) as h:
        for _ in range(3):
            report = h.poll(max_message_bytes=2000)
        assert (report.more, report.skipped) == (False, 0)
        assert h.subjects("skipped") == ["large"]
        assert h.subjects() == ["small"]
        assert sorted(kinds(h)) == [Kind.STORED, Kind.SKIPPED]


def test_without_uidls_a_budget_still_comes_to_every_message() -> None:
    with house(*(mail(f"{n}") for n in range(7)), behaviour=Behaviour(uidl=False)) as h:
        for _ in range(4):
            report = h.poll(max_messages=2)
        assert h.subjects() == [f"{n}" for n in range(7)]
        assert report.more is False


def test_an_idle_account_without_uidls_is_not_due_at_once() -> None:
    with house(*(mail(f"{n}") for n in range(3)), behaviour=Behaviour(uidl=False)) as h:
        h.poll()
        report = h.poll()
        assert (report.new, report.events) == (3, 0)
        assert report.next_due_s


def test_a_bug_in_decoding_is_the_messages_fault_and_the_next_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbling(buffer: memoryview, part: Part) -> Iterator[bytes]:
        yield b"some"
        raise RecursionError

    attached = mail("bad").replace(b"\r\n\r\n", b"\r\nContent-Type: application/pdf\r\n\r\n", 1)
    with house(attached, mail("good")) as h:
        monkeypatch.setattr(attaching, "decoded", stumbling)
        reports = [h.poll() for _ in range(3)]
        assert h.subjects() == ["good"]
        assert [report.quarantined for report in reports] == [0, 0, 1]
        assert [report.outcome for report in reports] == [Outcome.DONE] * 3


def test_a_bug_elsewhere_is_a_report_with_a_back_off_and_gives_the_lease_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one")) as h:

        def broken(*_: object) -> None:
            raise TypeError(PASSWORD)

        with monkeypatch.context() as patch:
            patch.setattr(h.ledger, "load", broken)
            report = h.poll()
        assert report.failure is not None
        assert report.failure.code == "internal"
        assert "TypeError at test_poll_oddities.py" in report.failure.what
        assert PASSWORD not in report.failure.line("a")
        assert report.next_due_s == 10
        assert h.poll().events == 1


def test_an_empty_but_incomplete_first_listing_is_not_taken_for_seeded() -> None:
    with house(mail("old"), mail("older"), behaviour=Behaviour(list_at_most=0)) as h:
        assert h.poll(account={"first_poll": "new"}).outcome is Outcome.FAILED
        h.server.behaviour = Behaviour()
        h.poll()
        assert h.events() == []
        h.maildrop.deliver(mail("new"))
        h.poll()
        assert h.subjects() == ["new"]


def test_a_server_that_wants_time_between_logins_gets_it_even_with_more_to_do() -> None:
    with house(*(mail(f"{n}") for n in range(4)), behaviour=Behaviour(login_delay_s=90)) as h:
        assert h.poll(max_messages=1).next_due_s == 90


def test_an_empty_maildrop_is_a_poll_like_any_other() -> None:
    with house() as h:
        report = h.poll()
        assert (report.outcome, report.listed, report.events) == (Outcome.DONE, 0, 0)


def test_an_empty_message_becomes_an_event() -> None:
    with house(b"") as h:
        assert h.poll().events == 1
        assert h.events()[0]["data"]["size"] == 0


def test_an_empty_maildrop_is_seeded_for_good_even_if_its_first_poll_can_not_write_what_it_learnt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(*_: object, **__: object) -> bool:
        raise StateRefused("planted")

    with house() as h:
        with monkeypatch.context() as patch:
            patch.setattr(h.lease, "release", lost)
            h.poll(account={"first_poll": "new"})
        h.clock.forward(minutes=5)
        h.maildrop.deliver(mail("new"))
        assert h.poll().events == 1


def test_an_interrupted_poll_gives_its_lease_back_and_keeps_what_it_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("one"), mail("two")) as h:
        put, puts = h.store.put, []

        def interrupted(*args: object, **kwargs: object) -> object:
            puts.append(args)
            if len(puts) > 1:
                raise KeyboardInterrupt
            return put(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(h.store, "put", interrupted)
            with pytest.raises(KeyboardInterrupt):
                h.poll()
        assert h.subjects() == ["one"]
        report = h.poll()
        assert (report.outcome, report.events) == (Outcome.DONE, 1)


def test_a_uidl_that_was_missing_while_a_session_was_dropped_is_read_when_it_is_used_again() -> None:
    with house(behaviour=Behaviour(delete_retrieved=True)) as h:  # each session that retrieves is dropped
        h.maildrop.deliver(mail("one"), uidl="1")
        h.poll()
        h.maildrop.remove(h.maildrop.messages())
        h.maildrop.deliver(mail("two"), uidl="2")
        h.poll()
        assert sorted(kinds(h)) == [Kind.STORED, Kind.GONE]
        h.maildrop.deliver(mail("three"), uidl="1")
        h.poll()
        assert h.subjects() == ["one", "two", "three"]


def test_without_uidls_mail_behind_more_known_mail_than_a_polls_time_can_read_is_reached() -> None:
    with house(*(mail(f"{n}") for n in range(4)), behaviour=Behaviour(uidl=False)) as h:
        h.poll()
        h.maildrop.deliver(mail("new"))
        assert h.server.wait_idle(5)
        report = h.poller(max_s=20).poll(h.account, lambda *_: h.clock.forward(seconds=15))
        assert (report.outcome, h.subjects()[-1]) == (Outcome.DONE, "new")


STAMP = "Wed, 18 Nov 2026 09:18:00 +0000"


def long_headed(received: str | None) -> bytes:
    """A message whose header block is longer than what is kept of a reply to TOP."""
    return mail("long", received=received).replace(
        b"Subject", b"X-Filler: %s\r\n" % (b"y" * 900) * 1500 + b"Subject", 1
    )


@pytest.mark.parametrize("received", [STAMP, None])
def test_without_uidls_a_message_that_is_larger_than_listed_holds_up_nobody(received: str | None) -> None:
    messages = mail("large", "x" * 5000, received=received), mail("small")
    with house(*messages, behaviour=Behaviour(uidl=False, sizes=Sizes.ZERO)) as h:
        for _ in range(3):
            h.poll(max_message_bytes=2000)
        assert h.subjects("skipped") == ["large"]
        assert h.subjects() == ["small"]


@pytest.mark.parametrize("cap", [50 << 20, 20_000], ids=["retrieved", "skipped"])
@pytest.mark.parametrize("received", [STAMP, None])
def test_without_uidls_a_message_with_endless_headers_holds_up_nobody(cap: int, received: str | None) -> None:
    with house(long_headed(received), behaviour=Behaviour(uidl=False)) as h:
        h.poll(max_message_bytes=cap)
        h.maildrop.deliver(mail("small"))
        h.poll(max_message_bytes=cap)
        h.poll(max_message_bytes=cap)
        assert h.subjects()[-1] == "small"
        assert len(h.events()) == 2
