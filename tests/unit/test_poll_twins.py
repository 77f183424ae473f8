"""Several messages under one UIDL, or without any: none hides another, and none is told of twice."""

from __future__ import annotations

import pytest
from house import PASSWORD, House, house, mail

from ingest.errors import MessageUnprocessable
from ingest.models import Kind
from ingest.pipeline import Pipeline, Read
from ingest.poll import Poller
from ingest.ports import Spool
from ingest.simulator.behaviour import Behaviour


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


class Stumbling(Pipeline):
    """Fails over the subject `bad`, until it is mended."""

    mended = False

    def read(self, spool: Spool) -> Read:
        if b"Subject: bad" in bytes(spool.buffer) and not self.mended:
            raise MessageUnprocessable("planted")
        return super().read(spool)


def stumbling(h: House) -> tuple[Poller, Stumbling]:
    planted = h.pipeline()
    planted.__class__ = Stumbling
    return h.poller(planted), planted  # type: ignore[return-value]  # it is one now


def twins(h: House, *subjects: str) -> None:
    for subject in subjects:
        h.maildrop.deliver(mail(subject), uidl="same")


def kinds(h: House) -> list[Kind]:
    return sorted(record.kind for record in h.ledger.load("a").records())


def empty(h: House) -> list[bytes]:
    messages = h.maildrop.messages()
    h.maildrop.remove(messages)
    return [message.octets for message in messages]


def test_one_that_can_not_be_processed_hides_no_other_under_its_uidl() -> None:
    with house() as h:
        poller, _ = stumbling(h)
        twins(h, "bad")
        for _ in range(3):
            h.poll(poller)
        twins(h, "good", "better")
        for _ in range(3):
            h.poll(poller)
        assert h.subjects() == ["good", "better"]
        assert len(h.subjects("quarantined")) == 1
        assert kinds(h) == [Kind.STORED, Kind.STORED, Kind.QUARANTINED]


def test_one_that_was_quarantined_and_is_looked_at_for_the_sake_of_its_twin_keeps_its_record() -> None:
    """Two records of one message would hide the other one."""
    with house() as h:
        poller, planted = stumbling(h)
        twins(h, "bad")
        for _ in range(3):
            h.poll(poller)
        planted.mended = True
        twins(h, "good")
        h.poll(poller)
        assert h.subjects() == ["good"]
        assert kinds(h) == [Kind.STORED, Kind.QUARANTINED]


def test_too_large_ones_hide_no_other_under_their_uidl() -> None:
    with house() as h:
        h.maildrop.deliver(mail("large", "x" * 5000), uidl="same")
        h.poll(max_message_bytes=2000)
        twins(h, "small")
        for _ in range(2):
            h.poll(max_message_bytes=2000)
        assert (h.subjects("skipped"), h.subjects()) == (["large"], ["small"])
        assert kinds(h) == [Kind.STORED, Kind.SKIPPED]


def test_known_ones_that_must_be_looked_at_again_use_up_no_budget() -> None:
    with house() as h:
        for n in range(4):
            twins(h, f"{n}")
            h.poll(max_messages=1)
        assert h.subjects() == ["0", "1", "2", "3"]


def test_of_two_that_a_listing_missed_each_is_known_again_though_they_come_one_by_one() -> None:
    with house() as h:
        twins(h, "one", "two")
        h.poll()
        one, two = empty(h)
        h.poll()
        h.maildrop.deliver(two, uidl="same")
        h.poll()
        h.maildrop.deliver(one, uidl="same")
        assert h.poll().events == 0
        assert len(h.events()) == 2


def test_of_two_the_one_that_stays_is_known_and_deleted_later() -> None:
    with house() as h:
        twins(h, "one", "two")
        h.poll(account={"keep_s": 0})
        h.maildrop.remove(h.maildrop.messages()[:1])
        h.poll()
        h.poll()
        assert len(h.events()) == 2
        h.clock.forward(hours=2)
        assert h.poll().deleted == 1


def test_of_two_the_one_that_the_server_kept_is_known_after_a_listing_of_nothing() -> None:
    with house(behaviour=Behaviour(refuse_dele=frozenset({1}))) as h:
        twins(h, "kept", "deleted")
        h.poll(account={"keep_s": 0})
        h.clock.forward(hours=2)
        h.poll()
        [kept] = empty(h)
        h.poll()
        h.maildrop.deliver(kept, uidl="same")
        assert h.poll().events == 0
        assert h.subjects() == ["kept", "deleted"]


def test_without_uidls_two_large_messages_of_one_size_have_ids_of_their_own() -> None:
    with house(mail("large A", "x" * 5000), mail("large B", "x" * 5000), behaviour=Behaviour(uidl=False)) as h:
        h.poll(max_message_bytes=2000)
        assert h.poll(max_message_bytes=2000).skipped == 0
        assert h.subjects("skipped") == ["large A", "large B"]
        assert len({event["id"] for event in h.events()}) == 2


def test_without_uidls_copies_of_a_quarantined_message_are_told_of_once() -> None:
    with house(mail("bad"), behaviour=Behaviour(uidl=False)) as h:
        poller, _ = stumbling(h)
        for _ in range(3):
            h.poll(poller)
        h.maildrop.deliver(mail("bad"))
        for _ in range(3):
            assert h.poll(poller).quarantined == 0
        assert len(h.events()) == 1


def test_a_delete_that_a_twin_forbids_is_not_due_at_every_poll() -> None:
    with house() as h:
        poller, _ = stumbling(h)
        twins(h, "good", "bad")
        for _ in range(3):
            h.poll(poller)
        assert kinds(h) == [Kind.STORED, Kind.QUARANTINED]
        h.poll(account={"keep_s": 0})
        h.clock.forward(minutes=90)
        assert h.poll(glance_from=1).deleted == 0
        assert h.state.states["a"].delete_at is None
