"""Retrying what was quarantined or skipped: from storage, or by the next poll; and what refuses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from house import PASSWORD, House, house, mail

from ingest.errors import (
    AccountMisconfigured,
    LeaseLost,
    LedgerMoved,
    MaildropBusy,
    MessageRefused,
    MessageTooLarge,
    MessageUnprocessable,
    StateFull,
    StoreRefused,
    StoreUnavailable,
)
from ingest.ledger import uidl_digest
from ingest.models import Kind, Record, Refusal
from ingest.pipeline import Pipeline
from ingest.ports import ObjectInfo
from ingest.quarantine import Retried
from ingest.simulator.behaviour import Behaviour

RECEIVED_AT = "Wed, 18 Nov 2026 09:18:00 +0000"


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


class Stumbling(Pipeline):
    """Fails on what says "bad", by the message's own fault."""

    def read(self, spool):  # noqa: ANN001, ANN201
        if b"bad" in bytes(spool.buffer):
            raise MessageUnprocessable("planted")
        return super().read(spool)


def stumbling(h: House) -> Pipeline:
    planted = h.pipeline()
    planted.__class__ = Stumbling
    return planted


def quarantined(h: House) -> Refusal:
    """The one refusal, after the polls that lead to it."""
    poller = h.poller(stumbling(h))
    for _ in range(3):
        h.poll(poller)
    [refusal] = h.refusals.all()
    return refusal


def skipped(h: House) -> Refusal:
    h.poll(max_message_bytes=2000)
    [refusal] = h.refusals.all()
    return refusal


def kinds(h: House) -> list[str]:
    return [record.kind.name for record in h.ledger.load("a").records()]


def rewrite(h: House, records: Iterable[Record]) -> None:
    """Somebody else's session, which leaves the ledger like this."""
    grant = h.lease.acquire("a")
    assert grant is not None
    h.ledger.rewrite("a", grant.token, h.ledger.load("a"), list(records))
    h.lease.release("a", grant.token, due_in_s=0, state=grant.state)


# From storage


def test_a_retried_message_is_told_of_as_if_it_had_just_come_and_listed_no_more() -> None:
    with house(mail("bad"), mail("good")) as h:
        refusal = quarantined(h)
        assert h.quarantine().retry(refusal) is Retried.RECEIVED
        assert h.subjects() == ["good", "bad"]
        told = h.events()[-1]
        assert told["subject"] == h.maildrop.uidls()[0]
        assert told["data"]["tags"] == h.account.tags
        assert h.refusals.all() == []
        assert kinds(h) == ["STORED", "STORED"]
        report = h.poll()
        assert (report.new, report.events) == (0, 0)


def test_the_event_of_a_retried_message_has_the_id_it_would_have_had() -> None:
    with house(mail("bad")) as h, house(mail("bad")) as other:
        h.quarantine().retry(quarantined(h))
        other.poll()
        assert h.events()[-1]["id"] == other.events()[-1]["id"]


def test_the_event_of_a_retried_message_says_when_a_poll_first_found_it() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        info = h.store.head(refusal.raw or "")
        assert info is not None
        h.clock.forward(days=3)
        h.quarantine().retry(refusal)
        first_seen = datetime.fromisoformat(h.events()[-1]["data"]["first_seen"])
        assert first_seen == datetime.fromisoformat(info.metadata["first-seen"])


def test_without_metadata_the_quarantine_itself_is_when_it_was_first_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        monkeypatch.setattr(h.store, "head", lambda key: ObjectInfo(1, {}))
        h.quarantine().retry(refusal)
        first_seen = datetime.fromisoformat(h.events()[-1]["data"]["first_seen"])
        assert first_seen == datetime.fromtimestamp(refusal.time, UTC)


def test_a_message_that_its_server_no_longer_has_is_retried_from_storage() -> None:
    with house(mail("bad"), mail("good")) as h:
        refusal = quarantined(h)
        h.maildrop.remove(h.maildrop.messages()[:1])
        h.poll()
        assert "GONE" in kinds(h)
        assert h.quarantine().retry(refusal) is Retried.RECEIVED
        assert kinds(h) == ["STORED", "GONE"]
        assert h.subjects() == ["good", "bad"]


def test_a_uidl_that_stands_for_other_mail_by_now_is_read_behind_a_retry_of_what_it_stood_for() -> None:
    with house() as h:
        h.maildrop.deliver(mail("bad"), uidl="1")
        refusal = quarantined(h)
        h.maildrop.remove(h.maildrop.messages())
        h.poll()
        h.maildrop.deliver(mail("other"), uidl="1")
        h.quarantine().retry(refusal)
        h.poll()
        assert h.subjects() == ["bad", "other"]


def test_a_message_whose_record_was_pruned_is_retried_and_remembered() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        rewrite(h, [])
        assert h.quarantine().retry(refusal) is Retried.RECEIVED
        assert kinds(h) == ["GONE"]
        assert h.poll().events == 0
        assert kinds(h) == ["STORED"]


def test_a_message_without_uidl_is_remembered_by_its_content() -> None:
    raw = mail("bad", received=RECEIVED_AT)
    with house(raw, behaviour=Behaviour(uidl=False)) as h:
        h.quarantine().retry(quarantined(h))
        assert h.subjects() == ["bad"]
        report = h.poll()
        assert (report.messages, report.events) == (0, 0)  # its header block is known: it need not be read


def test_a_message_without_uidl_whose_headers_are_not_its_own_is_remembered_too() -> None:
    with house(mail("bad"), behaviour=Behaviour(uidl=False)) as h:
        h.quarantine().retry(quarantined(h))
        assert h.poll().events == 0
        assert h.subjects() == ["bad"]


@pytest.mark.parametrize("uidl", ["\xe4", "\\xff"], ids=["an octet", "what stands for one"])
def test_a_uidl_beyond_ascii_is_told_of_as_before(uidl: str) -> None:
    with house() as h:
        h.maildrop.deliver(mail("bad"), uidl=uidl)
        h.quarantine().retry(quarantined(h))
        assert h.ledger.load("a").of_uidl(uidl_digest(uidl.encode("latin-1")))[0].kind is Kind.STORED
        quarantine, received = h.events()
        assert (quarantine["subject"], quarantine["data"]["uidl"]) == (received["subject"], received["data"]["uidl"])


def test_a_retried_message_is_deleted_after_the_grace_by_a_later_session() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        h.clock.forward(days=2)
        h.quarantine().retry(refusal)
        assert h.poll(account={"keep_s": 0}).deleted == 0
        h.clock.forward(hours=2)
        assert h.poll().deleted == 1


def test_two_occurrences_under_one_uidl_are_both_remembered() -> None:
    with house() as h:
        for _ in range(2):
            h.maildrop.deliver(mail("bad"), uidl="same")
        h.quarantine().retry(quarantined(h))
        assert kinds(h) == ["STORED", "STORED"]
        assert h.poll().new == 0


def test_copies_under_other_uidls_are_looked_at_by_the_next_poll() -> None:
    with house(mail("bad"), mail("bad")) as h:
        h.quarantine().retry(quarantined(h))
        assert h.poll().events == 1
        assert h.subjects() == ["bad", "bad"]
        assert kinds(h) == ["STORED", "STORED"]


def test_a_message_that_was_renumbered_in_quarantine_is_told_of_once() -> None:
    with house(mail("bad"), mail("good")) as h:
        refusal = quarantined(h)
        bad = h.maildrop.messages()[0]
        h.maildrop.remove([bad])
        h.maildrop.deliver(bad.octets, uidl="renumbered")
        h.poll(h.poller(stumbling(h)))
        h.quarantine().retry(refusal)
        h.poll()
        assert h.subjects() == ["good", "bad"]
        assert h.ledger.load("a").covering(uidl_digest(b"renumbered")) == 1


# Already told of


def test_a_message_that_a_poll_told_of_meanwhile_is_only_listed_no_more() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        rewrite(h, [])
        h.poll()
        assert h.subjects() == ["bad"]
        assert h.quarantine().retry(refusal) is Retried.KNOWN
        assert h.subjects() == ["bad"]
        assert kinds(h) == ["STORED"]
        assert h.refusals.all() == []


def test_a_message_that_came_under_another_uidl_meanwhile_is_not_told_of_again() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        rewrite(h, [])
        bad = h.maildrop.messages()
        h.maildrop.deliver(bad[0].octets, uidl="renumbered")
        h.maildrop.remove(bad)
        h.poll()
        assert h.quarantine().retry(refusal) is Retried.KNOWN
        assert h.subjects() == ["bad"]


def test_a_copy_under_another_uidl_does_not_take_the_event_of_one_that_is_listed() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        h.maildrop.deliver(mail("bad"), uidl="copy")
        h.poll()
        assert h.subjects() == ["bad"]
        assert h.quarantine().retry(refusal) is Retried.RECEIVED
        assert h.subjects() == ["bad", "bad"]


def test_a_second_retry_of_the_same_message_tells_of_nothing() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        assert h.quarantine().retry(refusal) is Retried.RECEIVED
        assert h.quarantine().retry(refusal) is Retried.KNOWN
        assert h.subjects() == ["bad"]


# What fails changes nothing


def unchanged(h: House, refusal: Refusal, events: int = 1) -> bool:
    """Whether the message is as it was, and a next holder finds the lease free and no suspect."""
    grant = h.lease.acquire("a")
    return (
        grant is not None
        and dict(grant.suspects) == {}
        and h.refusals.all() == [refusal]
        and kinds(h) == [refusal.record.kind.name]
        and len(h.events()) == events
    )


def test_a_message_that_still_fails_stays_as_it_is() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        with pytest.raises(MessageUnprocessable, match="planted"):
            h.quarantine(stumbling(h)).retry(refusal)
        assert unchanged(h, refusal)


def test_a_store_that_is_down_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(key: str) -> None:
        raise StoreUnavailable("down")

    with house(mail("bad")) as h:
        refusal = quarantined(h)
        monkeypatch.setattr(h.store, "open", down)
        with pytest.raises(StoreUnavailable):
            h.quarantine().retry(refusal)
        assert unchanged(h, refusal)


def test_an_object_that_is_gone_or_damaged_is_said() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        content, metadata = h.store._objects.pop(refusal.raw or "")
        with pytest.raises(StoreRefused, match="no object"):
            h.quarantine().retry(refusal)
        h.store._objects[refusal.raw or ""] = (content[:-1], metadata)
        with pytest.raises(StoreRefused, match="not what was put there"):
            h.quarantine().retry(refusal)
        assert unchanged(h, refusal)


def test_a_full_stream_refuses_a_retry() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        h.state.stream_max_bytes = 1
        with pytest.raises(StateFull):
            h.quarantine().retry(refusal)
        assert unchanged(h, refusal)


def test_while_a_poll_holds_the_account_a_retry_is_refused() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        grant = h.lease.acquire("a")
        assert grant is not None
        with pytest.raises(MaildropBusy):
            h.quarantine().retry(refusal)
        h.lease.release("a", grant.token, due_in_s=0, state=grant.state)
        assert unchanged(h, refusal)


def test_a_retry_whose_lease_ran_out_writes_nothing() -> None:
    class Slow(Pipeline):
        def read(self, spool):  # noqa: ANN001, ANN202
            h.clock.forward(hours=1)
            return super().read(spool)

    with house(mail("bad")) as h:
        refusal = quarantined(h)
        slow = h.pipeline()
        slow.__class__ = Slow
        with pytest.raises(LeaseLost):
            h.quarantine(slow).retry(refusal)
        assert unchanged(h, refusal)


def test_a_retry_whose_ledger_was_changed_under_it_writes_nothing() -> None:
    class Racing(Pipeline):
        def read(self, spool):  # noqa: ANN001, ANN202
            value = h.state.ledgers["a"]
            h.state.ledgers["a"] = value + value[-20:]
            return super().read(spool)

    with house(mail("bad")) as h:
        refusal = quarantined(h)
        racing = h.pipeline()
        racing.__class__ = Racing
        with pytest.raises(LedgerMoved):
            h.quarantine(racing).retry(refusal)
        assert len(h.events()) == 1
        assert h.refusals.all() == [refusal]


def test_an_account_that_was_removed_can_not_be_retried_for() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        h.registry.remove(["a"])
        with pytest.raises(AccountMisconfigured, match="there is no account a"):
            h.quarantine().retry(refusal)


def test_a_retry_keeps_the_lease_while_it_works() -> None:
    class Slow(Pipeline):
        def process(self, *arguments, beat, **other):  # noqa: ANN001, ANN002, ANN003, ANN202
            for _ in range(4):
                h.clock.forward(seconds=50)
                beat()
            return super().process(*arguments, beat=beat, **other)

    with house(mail("bad")) as h:
        refusal = quarantined(h)
        slow = h.pipeline()
        slow.__class__ = Slow
        assert h.quarantine(slow).retry(refusal) is Retried.RECEIVED


# Lease, state, due time


@pytest.mark.parametrize("works", [True, False], ids=["works", "fails"])
def test_a_retry_from_storage_leaves_state_and_due_time_as_they_were(works: bool) -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        h.poll()
        state = h.state.states["a"]
        h.schedule.set_due(["a"], 1000)
        if works:
            h.quarantine().retry(refusal)
        else:
            with pytest.raises(MessageUnprocessable):
                h.quarantine(stumbling(h)).retry(refusal)
        left = h.state.states["a"]
        assert left.fingerprint is None
        assert (left.failures, left.interval_s, left.last_poll, left.listings) == (
            state.failures,
            state.interval_s,
            state.last_poll,
            state.listings,
        )
        assert 900 < h.schedule.due_in(["a"])["a"] <= 1000
        assert "a" not in h.state.leases


def test_a_paused_account_stays_out_of_the_schedule() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        h.schedule.drop(["a"])
        assert h.quarantine().retry(refusal) is Retried.RECEIVED
        assert h.schedule.due_in(["a"]) == {}


# What only the server has


def test_a_skipped_message_is_retrieved_by_the_next_poll_once_the_cap_is_raised() -> None:
    with house(mail("large", "x" * 5000), mail("good")) as h:
        refusal = skipped(h)
        h.schedule.set_due(["a"], 1000)
        assert h.quarantine().retry(refusal) is Retried.AWAITED
        assert h.schedule.due_in(["a"])["a"] <= 0
        assert h.refusals.all() == []
        assert h.subjects() == ["good"]
        h.poll()
        assert h.subjects() == ["good", "large"]


def test_a_skipped_message_is_not_retried_under_the_same_cap() -> None:
    with house(mail("large", "x" * 5000)) as h:
        refusal = skipped(h)
        with pytest.raises(MessageTooLarge, match="octets, the cap is still 2000"):
            h.quarantine(max_message_bytes=2000).retry(refusal)
        assert unchanged(h, refusal)


def test_a_skipped_message_that_is_gone_has_nothing_to_be_retried_from() -> None:
    with house(mail("large", "x" * 5000), mail("good")) as h:
        refusal = skipped(h)
        h.schedule.set_due(["a"], 1000)
        h.maildrop.remove(h.maildrop.messages()[:1])
        h.poll()
        h.schedule.set_due(["a"], 1000)
        with pytest.raises(MessageRefused, match="nothing to retry from"):
            h.quarantine().retry(refusal)
        assert h.refusals.all() == [refusal]
        assert h.schedule.due_in(["a"])["a"] > 900


def test_a_message_that_the_server_refused_is_retrieved_by_the_next_poll() -> None:
    with house(mail("one"), mail("two"), behaviour=Behaviour(refuse_retr=frozenset({1}))) as h:
        for _ in range(3):
            h.poll()
        [refusal] = h.refusals.all()
        assert refusal.raw is None
        assert h.quarantine().retry(refusal) is Retried.AWAITED
        h.server.behaviour = Behaviour()
        h.poll()
        assert h.subjects() == ["two", "one"]


# Listing and discarding


def test_a_refusal_is_found_by_the_beginning_of_its_id() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        assert h.quarantine().find(refusal.id[:8]) == [refusal]
        assert h.quarantine().find("z") == []


def test_a_discarded_message_is_listed_no_more_and_neither_fetched_nor_deleted() -> None:
    with house(mail("bad")) as h:
        refusal = quarantined(h)
        assert h.quarantine().discard(refusal)
        assert h.quarantine().all() == []
        h.clock.forward(days=1)
        report = h.poll(account={"keep_s": 0})
        assert (report.new, report.deleted) == (0, 0)
        assert len(h.maildrop) == 1
        assert h.store.head(refusal.raw or "") is not None
