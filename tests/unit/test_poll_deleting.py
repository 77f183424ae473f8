"""Deletes whose end is not known, that fail, or that a server ignores: nothing deleted unread, nothing told twice."""

from __future__ import annotations

import pytest
from house import PASSWORD, House, house, mail

from ingest.errors import ConnectionLost
from ingest.models import Kind, MessageRef
from ingest.pop3.session import Session
from ingest.simulator.behaviour import Behaviour, Uidls


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


def kinds(h: House) -> list[Kind]:
    return [record.kind for record in h.ledger.load("a").records()]


def undeleted(h: House) -> int:
    return h.schedule.states(["a"])["a"].undeleted


def stored_and_due(h: House) -> None:
    """All mail is told of, and old enough to be deleted."""
    h.poll(account={"keep_s": 0})
    h.clock.forward(hours=2)


def test_after_a_lost_reply_to_quit_the_next_listing_shows_what_was_deleted() -> None:
    with house(mail("one"), behaviour=Behaviour(quit_reply=False)) as h:
        stored_and_due(h)
        assert h.poll().undeleted == 1
        assert (kinds(h), len(h.maildrop)) == ([Kind.DELETING], 0)
        h.poll()
        assert kinds(h) == [Kind.GONE]
        assert len(h.events()) == 1


def test_a_uidl_used_again_after_a_lost_reply_to_quit_is_read() -> None:
    with house(behaviour=Behaviour(quit_reply=False)) as h:
        h.maildrop.deliver(mail("one"), uidl="1")
        stored_and_due(h)
        h.poll()
        h.maildrop.deliver(mail("two"), uidl="1")
        h.clock.forward(hours=2)
        assert h.poll().deleted == 0
        assert h.subjects() == ["one", "two"]


@pytest.mark.parametrize("marked", [False, True])
def test_a_message_whose_deletion_was_cut_short_is_deleted_later_and_told_of_once(
    monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    def lost(_: Session, refs: list[MessageRef]) -> tuple[list[MessageRef], bool]:
        if marked:
            return refs, False
        raise ConnectionLost("planted")

    with house(mail("one")) as h:
        stored_and_due(h)
        with monkeypatch.context() as patch:
            patch.setattr(Session, "delete_and_quit", lost)
            h.poll()
        assert (kinds(h), len(h.maildrop)) == ([Kind.DELETING], 1)
        h.poll()  # its content says that it is the same
        assert kinds(h) == [Kind.STORED]
        h.clock.forward(hours=2)
        h.poll()
        assert len(h.maildrop) == 0
        assert len(h.events()) == 1


def test_a_message_that_the_server_will_not_delete_is_tried_for_ever_and_counted() -> None:
    with house(mail("one"), mail("two"), behaviour=Behaviour(refuse_dele=frozenset({1}))) as h:
        stored_and_due(h)
        assert (h.poll().deleted, undeleted(h)) == (1, 1)
        for count in (2, 3, 4):
            assert h.poll().undeleted == 1
            assert undeleted(h) == count
        h.server.behaviour = Behaviour()
        assert h.poll().deleted == 1
        assert (undeleted(h), len(h.maildrop), len(h.events())) == (0, 0, 2)


def test_a_server_that_confirms_and_keeps_is_tried_again_after_the_grace_and_counted() -> None:
    with house(mail("one"), behaviour=Behaviour(keep_deleted=True)) as h:
        stored_and_due(h)
        assert h.poll().deleted == 1
        assert h.poll().undeleted == 1  # it is still there, and the same
        assert (kinds(h), undeleted(h)) == ([Kind.STORED], 1)
        h.server.behaviour = Behaviour()
        assert h.poll().deleted == 0
        h.clock.forward(hours=2)
        assert h.poll().deleted == 1
        assert len(h.events()) == 1


def test_only_the_record_of_what_is_deleted_changes_under_a_uidl_that_stood_for_other_mail_before() -> None:
    """A DELE that is refused must not bring a record back that covers what is no longer there."""
    with house() as h:
        h.maildrop.deliver(mail("first"), uidl="1")
        h.poll(account={"keep_s": 0})
        h.maildrop.remove(h.maildrop.messages())
        h.poll()
        h.maildrop.deliver(mail("second"), uidl="1")
        stored_and_due(h)
        assert sorted(kinds(h)) == [Kind.STORED, Kind.GONE]
        h.server.behaviour = Behaviour(refuse_dele=frozenset({1}))
        assert h.poll().undeleted == 1
        assert sorted(kinds(h)) == [Kind.STORED, Kind.GONE]
        h.server.behaviour = Behaviour()
        assert h.poll().deleted == 1
        assert sorted(kinds(h)) == [Kind.DELETED, Kind.GONE]


def test_one_of_two_copies_that_is_not_deleted_is_known_by_its_content() -> None:
    with house(behaviour=Behaviour(refuse_dele=frozenset({2}))) as h:
        for _ in range(2):
            h.maildrop.deliver(mail("one"), uidl="1")
        stored_and_due(h)
        h.poll()
        assert len(h.maildrop) == 1
        h.poll()
        assert kinds(h).count(Kind.STORED) == 1
        h.server.behaviour = Behaviour()
        h.clock.forward(hours=2)
        h.poll()
        assert (len(h.maildrop), len({event["id"] for event in h.events()})) == (0, 1)


def test_a_server_that_renumbers_within_its_session_has_nothing_deleted() -> None:
    with house(*(mail(f"mail {number}") for number in range(3))) as h:
        stored_and_due(h)
        h.server.behaviour = Behaviour(uidls=Uidls.SHIFTING)
        report = h.poll()
        assert report.failure is not None
        assert (report.failure.code, report.deleted, len(h.maildrop)) == ("protocol", 0, 3)
        assert kinds(h) == [Kind.STORED] * 3
