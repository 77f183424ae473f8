"""Events that are too large for a sink."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from sink_stands import event

from ingest.adapters.directory_store import DirectoryStore
from ingest.adapters.sinks.claim_check import ClaimCheckSink
from ingest.adapters.sinks.memory import MemorySink
from ingest.errors import EventRefused, IngestError, SinkUnavailable, StoreUnavailable
from ingest.models import OutgoingEvent
from ingest.ports import ObjectStore

LIMIT = 2000
LARGE = "x" * LIMIT


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def failing() -> ObjectStore:
    raise StoreUnavailable("away")


def test_what_fits_goes_as_it_is_and_no_store_is_opened() -> None:
    sink = MemorySink(LIMIT)
    assert ClaimCheckSink(sink, failing).send([event(1)]) == [None]
    assert sink.taken == [event(1)]


def test_a_large_one_lies_whole_in_the_store_and_its_claim_check_leads_there(store: DirectoryStore) -> None:
    sink, told = MemorySink(LIMIT), event(1, "billing", text=LARGE)
    assert ClaimCheckSink(sink, lambda: store).send([event(0, "billing"), told]) == [None, None]
    [_, sent] = sink.taken
    assert (sent.id, sent.type) == (told.id, told.type)
    assert len(sent.json) <= LIMIT
    claim, whole = json.loads(sent.json), json.loads(told.json)
    digits = hashlib.sha256(told.json).hexdigest()
    key = f"events/billing/{digits[:2]}/{digits}"
    assert claim.pop("dataref") == store.url(key)
    del whole["data"]
    assert claim == whole
    with store.open(key) as body:
        assert body.read() == told.json


def test_while_the_store_is_away_the_account_waits_and_the_others_go_on() -> None:
    sink = MemorySink(LIMIT)
    outcomes = ClaimCheckSink(sink, failing).send([event(1, text=LARGE), event(2), event(1, "b")])
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable, type(None)]
    assert sink.taken == [event(1, "b")]


def test_a_large_one_that_is_no_event_is_refused_alone(store: DirectoryStore) -> None:
    sink = MemorySink(LIMIT)
    strange = OutgoingEvent("s", "t", b"x" * (LIMIT + 1))
    outcomes = ClaimCheckSink(sink, lambda: store).send([strange, event(1)])
    assert [type(outcome) for outcome in outcomes] == [EventRefused, type(None)]


def test_a_sink_that_cannot_say_its_limit_is_down() -> None:
    class Silent(MemorySink):
        @property
        def max_bytes(self) -> int | None:
            raise SinkUnavailable("away")

        @max_bytes.setter
        def max_bytes(self, value: int | None) -> None: ...

    outcomes: list[IngestError | None] = list(ClaimCheckSink(Silent(), failing).send([event(1), event(2)]))
    assert [type(outcome) for outcome in outcomes] == [SinkUnavailable, SinkUnavailable]


@pytest.mark.parametrize("extra", [b'"x":"\\ud800"', b'"x":' + b"[" * 200_000])
def test_a_large_one_whose_text_nobody_could_write_is_refused_alone(store: DirectoryStore, extra: bytes) -> None:
    sink = MemorySink(LIMIT)
    strange = OutgoingEvent("s", "t", b'{"data":"' + b"x" * LIMIT + b'",' + extra + b"}")
    outcomes = ClaimCheckSink(sink, lambda: store).send([strange, event(1)])
    assert [type(outcome) for outcome in outcomes] == [EventRefused, type(None)]
