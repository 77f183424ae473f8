"""Records go only where several complete listings, far apart, lacked their mail; few at a time."""

from __future__ import annotations

import itertools

import pytest
from house import PASSWORD, House, house, mail

from ingest.ledger import LedgerImage, encode, new_header
from ingest.models import Kind, Listing, MessageRef, Record
from ingest.news import Digested, Pruning, after_session, listings_seen, uidl_of
from ingest.simulator.behaviour import Behaviour

DAY_MINUTES = 24 * 60


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)


def kinds(h: House) -> list[Kind]:
    return [record.kind for record in h.ledger.load("a").records()]


def gone(h: House) -> None:
    """Another client deletes the first message; the other one stays."""
    h.maildrop.remove(h.maildrop.messages()[:1])


def test_a_record_goes_once_three_complete_listings_a_month_apart_lacked_it() -> None:
    with house(mail("gone"), mail("stays")) as h:
        h.poll()
        gone(h)
        for _ in range(4):
            h.clock.forward(days=31)
            h.maildrop.deliver(mail(str(h.clock.now())))  # else the listing is unchanged, and the ledger not read
            h.poll()
            last = kinds(h)
        assert Kind.GONE not in last
        assert last.count(Kind.STORED) == 5


def test_many_listings_within_a_month_are_one() -> None:
    with house(mail("gone"), mail("stays")) as h:
        h.poll()
        gone(h)
        for _ in range(20):
            h.clock.forward(days=1)
            h.maildrop.deliver(mail(str(h.clock.now())))
            h.poll()
        assert Kind.GONE in kinds(h)


@pytest.mark.parametrize(
    "behaviour", [Behaviour(list_at_most=1), Behaviour(truncate_listing=True), Behaviour(uidl=False)]
)
def test_incomplete_listings_prune_nothing(behaviour: Behaviour) -> None:
    with house(mail("gone"), mail("stays"), mail("stays, too")) as h:
        h.poll()
        gone(h)
        h.poll()
        h.server.behaviour = behaviour
        for _ in range(6):
            h.clock.forward(days=31)
            h.poll()
        assert Kind.GONE in kinds(h)


def test_empty_listings_prune_nothing() -> None:
    with house(mail("one"), mail("two")) as h:
        h.poll()
        h.maildrop.remove(h.maildrop.messages())
        for _ in range(8):
            h.clock.forward(days=31)
            h.poll()
        assert kinds(h) == [Kind.GONE, Kind.GONE]


def test_an_empty_listing_prunes_nothing_however_long_all_is_missing() -> None:
    image = LedgerImage(new_header() + encode([Record(b"missing!", b"i" * 8, Kind.GONE, 1)]), 10**6)
    assert after_session(Digested(Listing((), complete=True)), image, earlier=(2000, 3000, 4000)) is None


def refs(*uidls: bytes) -> list[MessageRef]:
    return [MessageRef(n, 1, uidl) for n, uidl in enumerate(uidls, 1)]


def test_pruning_takes_the_longest_missing_ones_and_a_share_at_a_time() -> None:
    there = refs(*(b"there%d" % n for n in range(1000)))
    missing = refs(*(b"missing%d" % n for n in range(1000)))
    records = [Record(uidl_of(ref), b"i" * 8, Kind.STORED, 1) for ref in there]
    records += [Record(uidl_of(ref), uidl_of(ref), Kind.GONE, n) for n, ref in enumerate(missing)]
    image = LedgerImage(new_header() + encode(records), 10**6)
    after = after_session(Digested(Listing(tuple(there), complete=True)), image, earlier=(2000, 3000, 4000))
    assert after is not None
    left = {record.minutes for record in after if record.kind is Kind.GONE}
    assert left == set(range(200, 1000))
    assert len([record for record in after if record.kind is Kind.STORED]) == 1000


def test_a_record_that_was_listed_meanwhile_is_not_pruned() -> None:
    """It would be GONE since later than the first of the listings that count."""
    there = refs(b"there")
    records = [Record(b"missing!", b"i" * 8, Kind.GONE, 2001), Record(uidl_of(there[0]), b"i" * 8, Kind.STORED, 1)]
    image = LedgerImage(new_header() + encode(records), 10**6)
    listing = Digested(Listing(tuple(there), complete=True))
    assert after_session(listing, image, earlier=(2000, 3000, 4000)) is None
    assert after_session(listing, image, earlier=(1000, 2001, 3000, 4000)) == records[1:]


def test_a_server_that_makes_up_uidls_in_each_session_does_not_grow_the_ledger_without_end() -> None:
    with house(mail("one"), mail("two")) as h:
        for n in range(30):
            messages = h.maildrop.messages()
            h.maildrop.remove(messages)
            for k, message in enumerate(messages):
                h.maildrop.deliver(message.octets, uidl=f"session{n}-{k}")
            h.poll()
            h.clock.forward(minutes=5)
        assert len(h.events()) == 2
        assert len(kinds(h)) <= 2 + 2 * 8


def test_the_listings_that_count_are_far_apart_and_the_newest() -> None:
    pruning, seen = Pruning(listings=3, apart_s=86400), ()
    for minutes in range(0, 6 * DAY_MINUTES, 600):
        seen = listings_seen(seen, minutes, pruning)
    assert len(seen) == 3
    assert all(later - earlier >= DAY_MINUTES for earlier, later in itertools.pairwise(seen))
    assert seen[-1] >= 4 * DAY_MINUTES
