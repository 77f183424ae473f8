"""What a relay promises, over a stream, a turn and a sink in memory."""

from __future__ import annotations

import pytest
from relay_street import Street, failing
from sink_stands import event

from ingest.errors import EventRefused, SinkRefused, SinkUnavailable, StateUnavailable
from ingest.relay import Relayed, RelayLimits


@pytest.fixture
def street() -> Street:
    return Street()


def test_all_that_waits_is_sent_in_order_and_acknowledged(street: Street) -> None:
    told = [event(n, f"acc-{n % 3}") for n in range(250)]
    street.tell(*told)
    assert street.once() == Relayed(sent=250)
    assert {each.id for each in street.sink.taken} == {each.id for each in told}
    for account in range(3):
        ids = [each.id for each in told if f"acc-{account}".encode() in each.json]
        assert [each.id for each in street.sink.taken if each.id in ids] == ids
    assert street.waiting() == 0
    assert street.turn.given_back == 1


def test_where_nothing_waits_it_ends(street: Street) -> None:
    assert street.once() == Relayed()


def test_an_event_that_is_refused_goes_to_the_dead_letters_and_the_ones_behind_it_go_on(street: Street) -> None:
    first, bad, last = (event(n) for n in range(3))
    street.tell(first, bad, last)
    street.sink.fault = failing(bad.id, error=EventRefused("too odd"))
    assert street.once() == Relayed(sent=2, dead=1)
    assert street.sink.taken == [first, last]
    assert [(entry.event, reason) for entry, reason in street.group.dead] == [(bad, "too odd")]
    assert street.notes.messages == [("a", "event_refused")]
    assert street.waiting() == 0


def test_behind_an_event_that_must_wait_its_account_waits_and_the_others_go_on(street: Street) -> None:
    slow, behind, other = event(1, "slow"), event(2, "slow"), event(1, "other")
    street.tell(slow, behind, other)
    street.sink.fault = failing(slow.id, error=SinkUnavailable("500"))
    done = street.once()
    assert (done.sent, done.left) == (1, 2)
    assert street.sink.taken == [other]
    assert street.notes.failed == [("relay of slow", "sink_unavailable")]

    street.sink.fault = lambda _: None
    assert street.once() == Relayed(sent=2)
    assert street.sink.taken == [other, slow, behind]


def test_a_sink_that_is_down_is_waited_for_longer_each_time_and_nothing_is_lost(street: Street) -> None:
    street.tell(*(event(1, f"acc-{n}") for n in range(20)))
    street.sink.fault = lambda _: SinkUnavailable("down")
    street.most_rests = 12
    street.relay().run()
    assert street.sink.taken == []
    assert max(street.rests) <= street.limits.max_wait_s
    assert sum(street.rests[-4:]) > sum(street.rests[:4])
    assert street.waiting() == 20

    street.sink.fault = lambda _: None
    street.waits = 0
    assert street.once() == Relayed(sent=20)


def test_what_a_sink_asks_for_is_waited_for_even_where_that_is_long(street: Street) -> None:
    street.tell(event(1))
    street.sink.fault = lambda _: SinkUnavailable("later", after_s=700)
    street.most_rests = 1
    street.relay().run()
    assert street.rests == [700]


def test_it_goes_on_by_itself_once_the_sink_is_back(street: Street) -> None:
    street.tell(event(1), event(2, "b"))
    street.sink.fault = lambda _: SinkRefused("no such queue")

    def mend() -> None:
        if street.waits == 5:
            street.sink.fault = lambda _: None

    street.meanwhile = mend
    done = street.relay().run()
    assert (done.sent, done.left) == (2, 0)


def test_an_event_that_is_never_taken_while_others_are_is_given_up(street: Street) -> None:
    street.limits = RelayLimits(give_up_s=3600)
    stuck, behind = event(1, "stuck"), event(2, "stuck")
    street.tell(stuck, behind)
    street.sink.fault = failing(stuck.id, error=SinkUnavailable("500"))
    street.meanwhile = lambda: street.tell(event(street.waits, "busy")) if street.waits < 200 else None
    street.most_rests = 5000
    street.relay().run()
    [(entry, reason)] = street.group.dead
    assert entry.event == stuck
    assert "not taken for 3600 s: 500" in reason
    assert behind in street.sink.taken


def test_where_the_sink_takes_nothing_at_all_no_event_is_given_up(street: Street) -> None:
    street.limits = RelayLimits(give_up_s=10)
    street.tell(event(1), event(1, "b"))
    street.sink.fault = lambda _: SinkUnavailable("down")
    street.relay().run()
    assert sum(street.rests) > 20
    assert street.group.dead == []


def test_what_a_predecessor_left_is_sent_before_what_is_new(street: Street) -> None:
    told = [event(n) for n in range(30)]
    street.tell(*told[:20])
    street.joined("dead").read(20, 0)
    street.tell(*told[20:])
    street.limits = RelayLimits(batch=7, window=14)
    assert street.once() == Relayed(sent=30)
    assert street.sink.taken == told


def test_while_another_relay_has_the_turn_nothing_is_read(street: Street) -> None:
    street.tell(event(1))
    street.turn.free = False
    assert street.once() == Relayed(busy=True)
    assert street.sink.taken == []


def test_a_turn_that_was_lost_is_begun_anew_with_what_is_not_acknowledged(street: Street) -> None:
    told = [event(n, "slow") for n in range(3)]
    street.tell(*told)
    street.sink.fault = failing(told[1].id, error=SinkUnavailable("500"))

    def lose_and_win() -> None:
        street.turn.free = street.waits % 2 == 0
        if street.waits == 10:
            street.sink.fault = lambda _: None

    street.meanwhile = lose_and_win
    street.relay().run()
    assert street.sink.taken == told


def test_when_redis_fails_behind_a_send_the_events_come_again(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [event(n) for n in range(3)]
    street.tell(*told)
    acknowledge, failures = street.group.acknowledge, iter([True, False])

    def fail_first(entries: list[object]) -> None:
        if next(failures, False):
            raise StateUnavailable("gone")
        acknowledge(entries)  # type: ignore[arg-type]  # what it was given

    monkeypatch.setattr(street.group, "acknowledge", fail_first)
    done = street.relay().run()
    assert [each.id for each in street.sink.taken] == [each.id for each in told] * 2
    assert done.left == 0
    assert ("relay", "state_unavailable") in street.notes.failed
