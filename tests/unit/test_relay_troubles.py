"""What a relay does where accounts, the sink or its own end stand in the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from relay_street import Street, failing
from sink_stands import event

from ingest.adapters.sinks.claim_check import ClaimCheckSink
from ingest.adapters.sinks.memory import MemorySink
from ingest.errors import EventRefused, IngestError, SinkRefused, SinkUnavailable, StateFull
from ingest.models import OutgoingEvent
from ingest.ports import ObjectStore
from ingest.relay import Relayed, RelayLimits


@pytest.fixture
def street() -> Street:
    return Street()


def numbers(street: Street, account: str) -> list[int]:
    data = [json.loads(told.json)["data"] for told in street.sink.taken]
    return [each["n"] for each in data if each["account"] == account]


def of(account: str, error: IngestError, least: int = 0) -> Callable[[OutgoingEvent], IngestError | None]:
    def fault(told: OutgoingEvent) -> IngestError | None:
        data = json.loads(told.json)["data"]
        return error if data["account"] == account and data["n"] >= least else None

    return fault


def test_an_account_with_more_than_the_window_holds_keeps_no_other_one_back(street: Street) -> None:
    street.limits = RelayLimits(batch=5, window=10)
    street.tell(*(event(n, "stuck") for n in range(50)), *(event(n, "other") for n in range(20)))
    street.sink.fault = of("stuck", SinkUnavailable("500"))
    done = street.once()
    assert (done.sent, done.left) == (20, 50)
    assert numbers(street, "other") == list(range(20))

    street.sink.fault = lambda _: None  # now with what a predecessor left
    street.tell(*(event(n, "stuck") for n in range(50, 60)))
    assert street.once() == Relayed(sent=60)
    assert numbers(street, "stuck") == list(range(60))


def test_what_a_predecessor_left_of_a_waiting_account_keeps_no_other_one_back(street: Street) -> None:
    street.limits = RelayLimits(batch=5, window=10)
    street.tell(*(event(n, "stuck") for n in range(50)), *(event(n, "other") for n in range(20)))
    street.joined("dead").read(60, 0)
    street.sink.fault = of("stuck", SinkUnavailable("500"))
    assert street.once().sent == 20
    assert numbers(street, "other") == list(range(20))


def test_an_account_that_may_go_on_again_sends_all_that_came_meanwhile_in_order(street: Street) -> None:
    street.limits = RelayLimits(batch=4, window=8, max_wait_s=1)
    street.tell(*(event(n, "stuck") for n in range(30)))
    street.sink.fault = of("stuck", SinkUnavailable("500"), least=3)

    def more() -> None:
        street.tell(event(30 + street.waits, "stuck"), event(street.waits, "other"))
        if street.waits == 20:
            street.sink.fault = lambda _: None

    street.meanwhile = more
    done = street.relay().run()
    sent = numbers(street, "stuck")
    assert sent == [*range(30), *range(31, 31 + len(sent) - 30)]
    assert done.left <= 2  # told as it ended


def test_an_event_that_is_never_taken_is_given_up_however_much_is_behind_it(street: Street) -> None:
    street.limits = RelayLimits(batch=5, window=10, give_up_s=100)
    poison = event(0, "stuck")
    street.tell(poison, *(event(n, "stuck") for n in range(1, 100)), *(event(n, "other") for n in range(20)))
    street.sink.fault = failing(poison.id, error=SinkUnavailable("500"))
    street.meanwhile = lambda: street.tell(event(100 + street.waits, "other"))
    street.most_rests = 1000
    street.relay().run()
    assert [entry.event for entry, _ in street.group.dead] == [poison]
    assert numbers(street, "stuck") == list(range(1, 100))


def test_in_an_outage_nothing_is_given_up(street: Street) -> None:
    street.limits = RelayLimits(give_up_s=100, max_wait_s=1)
    street.tell(event(1))
    street.sink.fault = of("a", SinkUnavailable("500"))

    def others() -> None:
        if street.waits == 30:
            street.sink.fault = lambda _: SinkUnavailable("down")
        if street.waits <= 30:
            street.tell(event(street.waits, "b"), event(street.waits, "c"))

    street.meanwhile = others
    street.most_rests = 1000
    began = street.clock.monotonic()
    street.relay().run()
    assert street.clock.monotonic() - began > 200
    assert numbers(street, "b") == list(range(1, 30))
    assert street.group.dead == []


def test_a_sink_that_refuses_everything_is_down_and_nearly_nothing_is_a_dead_letter(street: Street) -> None:
    street.tell(*(event(n, f"acc-{n % 7}") for n in range(200)))
    street.sink.fault = lambda _: EventRefused("400")
    done = street.relay().run()
    assert (done.sent, done.dead, done.left) == (0, 3, 197)
    assert isinstance(done.failure, SinkRefused)
    assert max(street.rests) > 1

    street.sink.fault = lambda _: None
    street.waits = 0
    assert street.once() == Relayed(sent=197)


def test_while_others_are_taken_each_event_that_is_refused_is_a_dead_letter(street: Street) -> None:
    street.tell(*(event(n) for n in range(100)))
    odd = {event(n).id for n in range(0, 100, 2)}
    street.sink.fault = failing(*odd, error=EventRefused("too odd"))
    assert street.once() == Relayed(sent=50, dead=50)


def test_an_event_whose_successor_was_taken_never_comes_behind_it(street: Street) -> None:
    street.tell(*(event(n) for n in range(10)))
    odd = {event(n).id for n in range(5)}
    street.sink.fault = failing(*odd, error=EventRefused("too odd"))
    assert street.once() == Relayed(sent=5, dead=5)


def test_where_a_dead_letter_finds_no_room_its_account_waits(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    street.tell(event(1, "odd"), event(1, "b"), event(2, "b"))
    street.sink.fault = of("odd", EventRefused("too odd"))

    def full(*_: object) -> bool:
        raise StateFull("maxmemory")

    with monkeypatch.context() as patch:
        patch.setattr(street.group, "bury", full)
        done = street.once()
    assert (done.sent, done.dead, done.left) == (2, 0, 1)
    assert street.once() == Relayed(dead=1)


def test_a_stop_is_heard_between_two_events_and_what_is_not_begun_is_no_failure(street: Street) -> None:
    street.tell(*(event(n) for n in range(50)))

    def stop_at_ten(_: OutgoingEvent) -> None:
        if len(street.sink.taken) == 9:
            street.most_rests = 0

    street.sink.fault = stop_at_ten
    assert street.relay().run() == Relayed(sent=10, left=40)
    assert street.notes.failed == []
    assert street.turn.given_back == 1


def test_a_turn_that_is_lost_within_a_batch_ends_it(street: Street) -> None:
    street.tell(*(event(n) for n in range(50)))

    def lose_at_ten(_: OutgoingEvent) -> None:
        street.turn.free = len(street.sink.taken) != 9

    street.sink.fault = lose_at_ten
    assert street.once() == Relayed(sent=10, busy=True)


def test_nothing_more_is_stored_for_a_claim_check_once_a_stop_is_asked_for(street: Street) -> None:
    def store() -> ObjectStore:
        pytest.fail("is opened")

    sink = ClaimCheckSink(MemorySink(10), store)
    [outcome] = sink.send([event(1)], lambda: False)
    assert outcome is not None
    assert "not begun" in str(outcome)


def test_once_goes_on_behind_a_failure_with_all_that_can_go_and_still_tells_of_it(street: Street) -> None:
    street.limits = RelayLimits(batch=5)
    street.tell(*(event(n, "stuck") for n in range(5)), *(event(n, "other") for n in range(50)))
    street.sink.fault = of("stuck", SinkUnavailable("500"))
    done = street.once()
    assert (done.sent, done.left) == (50, 5)
    assert isinstance(done.failure, SinkUnavailable)


def test_an_account_that_stops_the_whole_sink_is_found_and_held_alone(street: Street) -> None:
    """As with a webhook of one connection: behind the first that fails no other is tried."""
    street.tell(*(event(n, account) for n in range(30) for account in ("bad", "b", "c")))
    send = street.sink.send

    def blocked(events: Sequence[OutgoingEvent], go_on: Callable[[], bool]) -> list[IngestError | None]:
        bad = next((at for at, told in enumerate(events) if b"mailsluice/bad" in told.json), len(events))
        error = SinkUnavailable("503", after_s=1)
        return [*send(events[:bad], go_on), *[error] * (len(events) - bad)]

    street.sink.send = blocked  # type: ignore[assignment,method-assign]
    street.relay().run()
    assert numbers(street, "b") == list(range(30))
    assert numbers(street, "c") == list(range(30))
    assert numbers(street, "bad") == []


def test_while_a_sink_is_down_one_event_is_tried_at_a_time_of_another_account_each(street: Street) -> None:
    street.tell(*(event(n, account) for n in range(3) for account in ("a", "b", "c")))
    send, tried = street.sink.send, list[list[str]]()

    def noted(events: Sequence[OutgoingEvent], go_on: Callable[[], bool]) -> Sequence[IngestError | None]:
        tried.append([json.loads(told.json)["data"]["account"] for told in events])
        return send(events, go_on)

    street.sink.send = noted  # type: ignore[assignment,method-assign]
    street.sink.fault = lambda _: SinkUnavailable("down")
    street.most_rests = 4
    street.relay().run()
    assert tried == [["a", "b", "c"] * 3, ["a"], ["b"], ["c"]]
