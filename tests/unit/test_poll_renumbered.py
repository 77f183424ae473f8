"""Other UIDLs, other windows, rewritten headers, no UIDLs: nothing lost, nothing repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from house import PASSWORD, House, house, mail

from ingest import intake, news
from ingest.models import Kind, MessageRef, Outcome
from ingest.simulator.behaviour import Behaviour


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


def kinds(h: House) -> list[Kind]:
    return sorted(record.kind for record in h.ledger.load("a").records())


def received(subject: str, ago: timedelta) -> bytes:
    """A message that the server got so long ago."""
    return mail(subject, received=format_datetime(datetime.now(UTC) - ago))


def renumber(h: House, change: Callable[[bytes], bytes] = lambda octets: octets) -> None:
    """A migration: the same mail under UIDLs of another server."""
    messages = h.maildrop.messages()
    h.maildrop.remove(messages)
    for n, message in enumerate(messages):
        h.maildrop.deliver(change(message.octets), uidl=f"migrated-{h.maildrop.uidls()}-{n}-{message.uidl}"[-60:])


def empty(h: House) -> None:
    h.maildrop.remove(h.maildrop.messages())


OLD = timedelta(days=3)


# Retrieved mail


def test_after_a_migration_the_same_mail_is_not_told_of_again() -> None:
    with house(mail("one"), mail("two")) as h:
        h.poll()
        renumber(h)
        h.maildrop.deliver(mail("three"))
        report = h.poll()
        assert (report.messages, report.events) == (3, 1)
        assert h.subjects() == ["one", "two", "three"]
        assert h.poll().new == 0


def test_a_migration_that_loses_some_mail_repeats_none() -> None:
    with house(mail("one"), mail("two"), mail("three")) as h:
        h.poll()
        h.maildrop.remove(h.maildrop.messages()[:1])
        renumber(h)
        assert h.poll().events == 0


def test_a_store_that_writes_status_headers_while_it_renumbers_repeats_nothing() -> None:
    with house(mail("one"), b"Status: O\r\nX-UID: 7\r\n" + mail("two")) as h:
        h.poll()
        renumber(h, lambda octets: b"Status: RO\r\nX-UIDL: abc\r\n" + octets.removeprefix(b"Status: O\r\nX-UID: 7\r\n"))
        assert h.poll().events == 0
        assert len(h.events()) == 2


def test_a_content_whose_first_objects_were_never_told_of_is_told_of_once() -> None:
    """A match of 64 bits alone withholds nothing: here the objects are there, but no record is."""
    with house(mail("one")) as h:
        h.poll()
        h.state.ledgers.clear()
        h.state.states.clear()
        assert h.poll().events == 1


def test_a_match_of_64_bits_that_storage_does_not_confirm_is_told_of() -> None:
    with house(mail("one")) as h:
        h.poll()
        renumber(h)
        h.store._objects.clear()
        assert h.poll().events == 1
        first, again = h.events()
        assert first["id"] == again["id"]


def test_a_maildrop_that_was_emptied_and_refilled_repeats_nothing() -> None:
    with house(mail("one"), mail("two")) as h:
        h.poll()
        before = h.maildrop.messages()
        empty(h)
        h.poll()
        for message in before:
            h.maildrop.deliver(message.octets, uidl=message.uidl)
        assert h.poll().events == 0
        assert kinds(h) == [Kind.STORED, Kind.STORED]


def test_a_window_that_rolls_over_the_mail_loses_and_repeats_nothing() -> None:
    """The server lists its newest three, and older ones again when newer ones go."""
    with house() as h:
        messages = [mail(str(n)) for n in range(8)]
        for window in (messages[:3], messages[2:5], messages[4:7], messages[2:5], messages[:3], messages[5:]):
            empty(h)
            for octets in window:
                h.maildrop.deliver(octets, uidl=f"g{messages.index(octets)}")
            h.poll()
        assert h.subjects() == [str(n) for n in range(8)]


def test_a_uidl_used_again_for_other_content_after_it_was_missing_is_a_new_message() -> None:
    with house() as h:
        h.maildrop.deliver(mail("one"), uidl="1")
        h.poll()
        empty(h)
        h.poll()
        h.maildrop.deliver(mail("two"), uidl="1")
        h.poll()
        assert h.subjects() == ["one", "two"]


@pytest.mark.parametrize("behaviour", [Behaviour(list_at_most=1), Behaviour(truncate_listing=True)])
def test_a_truncated_or_windowed_listing_changes_nothing(behaviour: Behaviour) -> None:
    with house(mail("one"), mail("two"), mail("three")) as h:
        h.poll()
        before = h.ledger.load("a").records()
        h.server.behaviour = behaviour
        h.poll()
        assert h.ledger.load("a").records() == before


def test_uidls_whose_digests_collide_are_told_apart_by_content(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (news, intake):
        monkeypatch.setattr(room, "uidl_digest", lambda _: b"the same")
    with house(mail("one"), mail("two")) as h:
        h.poll(account={"keep_s": 0})
        h.maildrop.deliver(mail("three"))
        h.poll()
        assert h.subjects() == ["one", "two", "three"]
        h.clock.forward(hours=2)
        assert h.poll().deleted == 3


# Seeded mail


def test_seeded_mail_under_other_uidls_is_seeded_again_and_an_event_says_so() -> None:
    with house(*(received(str(n), OLD) for n in range(5))) as h:
        h.poll(account={"first_poll": "new"})
        h.clock.forward(hours=1)
        renumber(h)
        h.maildrop.deliver(received("fresh", timedelta(hours=-1)))
        h.poll()
        assert h.subjects() == ["fresh"]
        [notice] = [event for event in h.events() if event["type"] == "mailsluice.account.failing.v1"]
        assert notice["data"]["reason"] == "renumbered"
        assert "5 others" in notice["data"]["detail"]
        h.clock.forward(hours=1)
        assert h.poll().new == 0
        assert len(h.events()) == 2


def test_seeded_mail_that_comes_back_in_pieces_is_seeded_again_piece_by_piece() -> None:
    with house(*(received(str(n), OLD) for n in range(6))) as h:
        h.poll(account={"first_poll": "new"})
        before = h.maildrop.messages()
        empty(h)
        h.poll()
        for n, message in enumerate(before):
            h.maildrop.deliver(message.octets, uidl=f"migrated{n}")
            if n % 2:
                h.clock.forward(hours=1)
                h.poll()
        assert h.subjects() == []


def test_a_seeding_by_date_is_repeated_by_the_same_date() -> None:
    with house(received("old", timedelta(days=40)), received("recent", OLD)) as h:
        since = (datetime.now(UTC) - timedelta(days=10)).date().isoformat()
        h.poll(account={"first_poll": since})
        renumber(h)
        h.poll()
        assert h.subjects() == ["recent"]


def test_new_mail_without_a_date_is_retrieved_even_if_the_seeded_mail_is_gone() -> None:
    with house(received("old", OLD), received("older", OLD)) as h:
        h.poll(account={"first_poll": "new"})
        empty(h)
        h.maildrop.deliver(mail("no Received header"))
        h.poll()
        assert h.subjects() == ["no Received header"]


def test_a_few_seeded_messages_that_go_are_no_renumbering() -> None:
    with house(*(received(str(n), OLD) for n in range(6))) as h:
        h.poll(account={"first_poll": "new"})
        h.maildrop.remove(h.maildrop.messages()[:2])
        h.maildrop.deliver(received("delivered late", OLD))
        h.poll()
        assert h.subjects() == ["delivered late"]


def test_seeded_mail_that_a_listing_missed_is_still_known() -> None:
    with house() as h:
        h.maildrop.deliver(received("old", OLD), uidl="1")
        h.poll(account={"first_poll": "new"})
        empty(h)
        h.poll()
        assert kinds(h) == [Kind.MISSED]
        h.maildrop.deliver(received("old", OLD), uidl="1")
        assert h.poll().new == 0
        assert kinds(h) == [Kind.SEEDED]


# Skipped and quarantined mail


def test_a_skipped_message_that_a_listing_missed_is_not_told_of_again() -> None:
    with house() as h:
        for _ in range(2):
            h.maildrop.deliver(mail("large", "x" * 5000), uidl="1")
            h.poll(max_message_bytes=2000)
            empty(h)
            h.poll(max_message_bytes=2000)
        assert len(h.events()) == 1


# Without UIDLs


def test_without_uidls_what_is_known_by_header_and_size_is_not_retrieved_again() -> None:
    with house(received("one", OLD), received("two", OLD), behaviour=Behaviour(uidl=False)) as h:
        assert h.poll().messages == 2
        h.maildrop.deliver(received("three", OLD))
        report = h.poll()
        assert (report.new, report.messages, report.events) == (1, 1, 1)
        assert h.poll().messages == 0


def test_without_uidls_a_message_that_no_server_stamped_is_retrieved_and_known_by_content() -> None:
    with house(mail("one", "text A\r\n"), behaviour=Behaviour(uidl=False)) as h:
        h.poll()
        h.maildrop.deliver(mail("one", "text B\r\n"))  # the same header block and size
        report = h.poll()
        assert (report.messages, report.events) == (2, 1)
        assert len(h.events()) == 2


def test_without_uidls_status_headers_change_nothing() -> None:
    with house(received("one", OLD), behaviour=Behaviour(uidl=False)) as h:
        h.poll()
        [message] = h.maildrop.messages()
        empty(h)
        h.maildrop.deliver(b"Status: RO\r\n" + message.octets)
        assert h.poll().messages == 0


def test_without_uidls_and_without_top_everything_is_retrieved_and_nothing_repeated() -> None:
    with house(received("one", OLD), behaviour=Behaviour(uidl=False, top=False)) as h:
        h.poll()
        report = h.poll()
        assert (report.messages, report.events) == (1, 0)


def test_a_server_that_loses_its_uidls_between_two_polls_repeats_nothing() -> None:
    with house(received("one", OLD), received("two", OLD)) as h:
        h.poll()
        h.server.behaviour = replace(Behaviour(), uidl=False)
        assert h.poll().events == 0
        assert h.poll().outcome is Outcome.DONE
        assert len(h.events()) == 2


def test_a_whole_maildrop_of_seeded_mail_that_is_back_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 300
    compared = 0

    def compare(self: MessageRef, other: object) -> bool:
        nonlocal compared
        compared += 1
        return isinstance(other, MessageRef) and self.number == other.number

    with house(*(received(str(n), OLD) for n in range(count))) as h:
        h.poll(account={"first_poll": "new"})
        messages = h.maildrop.messages()
        h.maildrop.remove(messages)
        h.poll()
        for message in messages:
            h.maildrop.deliver(message.octets, message.uidl)
        monkeypatch.setattr(MessageRef, "__eq__", compare)
        assert h.poll().events == 0
        assert compared <= 5 * count
