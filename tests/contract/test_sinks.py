"""The contract of `EventSink`, on each sink with its real other side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sink_stands import POISONABLE, STANDS, Stand, event

from ingest.adapters.directory_store import DirectoryStore
from ingest.adapters.sinks.claim_check import ClaimCheckSink
from ingest.errors import EventRefused, IngestError, Retry
from ingest.events.order import NOT_BEGUN
from ingest.ports import EventSink


@pytest.fixture(params=list(STANDS))
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    with STANDS[request.param](request.getfixturevalue) as made:
        yield made


def numbers(bodies: list[bytes], account: str) -> list[int]:
    """The numbers of an account's events as they arrived, each at its first time."""
    found = [body["data"] for body in map(json.loads, bodies)]
    return list(dict.fromkeys(data["n"] for data in found if data["account"] == account))


def sent(sink: EventSink, events: list[Any], tries: int = 40) -> None:
    """Send them, and again what was not confirmed."""
    for _ in range(tries):
        outcomes = sink.send(events)
        assert len(outcomes) == len(events)
        events = [e for e, outcome in zip(events, outcomes, strict=True) if outcome is not None]
        if not events:
            return
    pytest.fail(f"{len(events)} are never confirmed")


def test_an_event_arrives_as_its_plain_json(stand: Stand) -> None:
    told = event(1)
    assert list(stand.sink.send([told])) == [None]
    assert stand.taken(1) == [told.json]


def test_nothing_to_send_is_nothing(stand: Stand) -> None:
    assert list(stand.sink.send([])) == []


def test_a_thousand_events_arrive_and_those_of_an_account_in_order(stand: Stand) -> None:
    events = [event(n, f"acc-{n % 7}") for n in range(stand.many)]
    for at in range(0, stand.many, 100):
        assert list(stand.sink.send(events[at : at + 100])) == [None] * 100
    bodies = stand.taken(stand.many)
    assert {json.loads(body)["id"] for body in bodies} == {told.id for told in events}
    for account in range(7):
        arrived = numbers(bodies, f"acc-{account}")
        assert (arrived if stand.ordered else sorted(arrived)) == list(range(account, stand.many, 7))


def test_what_one_event_holds_does_not_matter(stand: Stand) -> None:
    odd = "\ud7ff\ue000\ufffd\ufffe\uffff\x7f\x85\u2028 <&> \"'\\ \U0010ffff"
    told = event(1, text=odd)
    assert list(stand.sink.send([told])) == [None]
    [body] = stand.taken(1)
    assert json.loads(body) == json.loads(told.json)


@pytest.mark.parametrize("stand", POISONABLE, indirect=True)
def test_an_event_that_is_refused_for_itself_stops_no_other_one(stand: Stand) -> None:
    poison = stand.poison()
    outcomes = stand.sink.send([event(1), poison, event(2), event(1, "poison")])
    assert [type(outcome) for outcome in outcomes] == [type(None), EventRefused, type(None), type(None)]
    assert numbers(stand.taken(3), "a") == [1, 2]
    assert numbers(stand.taken(3), "poison") == [1]


def test_a_sink_that_is_down_says_so_for_each_event_and_all_arrive_once_it_is_back(stand: Stand) -> None:
    sent(stand.sink, [event(0)])
    stand.down()
    events = [event(n, account) for n in range(1, 4) for account in ("a", "b")]
    outcomes = stand.sink.send(events)
    assert len(outcomes) == len(events)
    for outcome in outcomes:
        assert isinstance(outcome, IngestError)
        assert outcome.retry is Retry.SOON
    stand.up()
    sent(stand.sink, events)
    bodies = stand.taken(7)
    assert set(numbers(bodies, "a")) == {0, 1, 2, 3}
    assert set(numbers(bodies, "b")) == {1, 2, 3}


def test_once_a_stop_is_asked_for_no_other_event_is_begun(stand: Stand) -> None:
    events = [event(n, account) for n in range(20) for account in ("a", "b")]
    answers = iter([True, True])
    outcomes = stand.sink.send(events, lambda: next(answers, False))
    assert set(outcomes) <= {None, NOT_BEGUN}
    assert 20 <= list(outcomes).count(NOT_BEGUN) < len(events)  # two requests of ten each at most
    assert len(stand.taken(1)) == list(outcomes).count(None)


def test_a_ping_says_whether_it_is_there_and_sends_nothing(stand: Stand) -> None:
    stand.sink.ping()
    assert stand.taken(0) == []


@pytest.mark.parametrize("stand", ["sqs", "sns-fifo"], indirect=True)
def test_an_event_over_the_limit_goes_by_way_of_object_storage(stand: Stand, tmp_path: Path) -> None:
    store, large = DirectoryStore(tmp_path), stand.poison()
    sink = ClaimCheckSink(stand.sink, lambda: store)
    assert list(sink.send([large, event(1, "poison")])) == [None, None]
    claims = [json.loads(body) for body in stand.taken(2)]
    [claim] = [each for each in claims if "dataref" in each]
    assert claim["id"] == large.id
    key = store.key_of(claim["dataref"])
    assert key is not None
    with store.open(key) as body:
        assert body.read() == large.json


def test_a_limit_is_a_number_of_octets_or_there_is_none(stand: Stand) -> None:
    assert stand.sink.max_bytes is None or stand.sink.max_bytes >= 1 << 16
