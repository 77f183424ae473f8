"""What consumers get for their own tests: events as from the stream, and a consumer over them."""

from __future__ import annotations

import json
import pickle

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from ingest.consumer import AccountEvent, Received, TryLater, UnknownEvent, Unprocessed
from ingest.errors import StoreRefused
from ingest.events.models import EventType
from ingest.events.schema import path_of
from ingest.testing import FakeConsumer, as_entry, make_attachment, make_event


@pytest.mark.parametrize("type_", list(EventType))
def test_an_event_of_each_type_fits_its_schema(type_: EventType) -> None:
    event = make_event(type_)
    assert event.type == type_
    schema = json.loads(path_of(type_).read_text("utf-8"))
    made = json.loads(as_entry(event).json) | {"specversion": "1.0", "datacontenttype": "application/json"}
    if made.get("subject") is None:
        made.pop("subject", None)
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(made)


def test_each_type_has_its_class() -> None:
    assert isinstance(make_event(), Received)
    assert isinstance(make_event(EventType.SKIPPED), Unprocessed)
    assert isinstance(make_event(EventType.FAILING), AccountEvent)
    assert isinstance(make_event("mailsluice.moon.risen.v1", phase="full"), UnknownEvent)


def test_fields_of_data_and_envelope_can_be_given() -> None:
    event = make_event(subject="Order", from_=[{"name": "", "address": "x@example.com"}], envelope={"id": "1"})
    assert isinstance(event, Received)
    assert (event.id, event.data.subject, event.data.from_[0].address) == ("1", "Order", "x@example.com")


def test_what_is_no_event_is_not_made() -> None:
    with pytest.raises(ValueError, match=r"data\.size"):
        make_event(size="large")


def test_another_message_is_another_event_and_the_same_is_the_same() -> None:
    assert make_event().id == make_event().id
    ids = {
        make_event().id,
        make_event(subject="Other").id,
        make_event(message=b"x").id,
        make_event(attachments=[make_attachment(b"x")]).id,
    }
    assert len(ids) == 4


def test_contents_open_without_a_store() -> None:
    event = make_event(attachments=[make_attachment(b"%PDF", "a.pdf")], message=b"From: a\r\n\r\n")
    assert isinstance(event, Received)
    (attachment,) = event.data.attachments
    assert attachment.filename == "a.pdf"
    with attachment.open() as content:
        assert content.read() == b"%PDF"
    with event.data.raw.open() as content:
        assert content.read() == b"From: a\r\n\r\n"


def test_an_event_that_went_to_another_process_opens_there() -> None:
    event = pickle.loads(pickle.dumps(make_event(attachments=[make_attachment(b"x")])))  # noqa: S301
    with event.data.attachments[0].open() as content:
        assert content.read() == b"x"


def test_a_copy_opens_and_equals_what_it_was_made_of() -> None:
    attachment = make_attachment(b"x", "a.txt")
    copy = attachment.model_copy(update={"filename": "b.txt"})
    with copy.open() as content:
        assert content.read() == b"x"
    assert attachment == make_attachment(b"x", "a.txt") != copy


def test_what_nobody_made_or_read_cannot_be_opened() -> None:
    attachment = make_attachment(b"x")
    with pytest.raises(ValueError, match="can be opened"):
        type(attachment).model_validate(attachment.model_dump()).open()


@pytest.mark.parametrize("given", [{"sha256": "0" * 64}, {"size": 3}, {"size": 5}])
def test_a_content_that_is_another_is_not_handed_out_whole(given: dict[str, object]) -> None:
    with make_attachment(b"%PDF", **given).open() as content, pytest.raises(StoreRefused, match="not what the event"):
        content.read()


def test_a_fake_consumer_gives_the_events_as_a_loop_and_ends() -> None:
    events = [make_event(subject=str(n)) for n in range(3)]
    consumer = FakeConsumer(events)
    assert [event.id for event in consumer] == [event.id for event in events]
    assert consumer.handled == [event.id for event in events]


def test_a_fake_consumer_calls_a_handler_with_contents_that_open() -> None:
    found = []

    def keep(event: object) -> None:
        assert isinstance(event, Received)
        with event.data.attachments[0].open() as content:
            found.append(content.read())

    FakeConsumer([make_event(attachments=[make_attachment(b"x")])]).handle(keep)
    assert found == [b"x"]


def test_what_a_handler_fails_at_so_often_goes_to_the_dead_letters() -> None:
    good, bad = make_event(subject="good"), make_event(subject="bad")
    consumer, tries = FakeConsumer([bad, good], attempts=2), []

    def refuse(event: object) -> None:
        tries.append(event)
        if event == bad:
            raise ValueError("no such supplier")

    consumer.handle(lambda event: refuse(bad if event.id == bad.id else good))
    assert consumer.handled == [good.id]
    assert consumer.dead_letters == [(bad.id, "ValueError: no such supplier")]
    assert len(tries) == 3


def test_what_is_away_for_a_while_counts_as_no_failure() -> None:
    event, tries = make_event(), []

    def wait(_event: object) -> None:
        tries.append(1)
        if len(tries) < 4:
            raise TryLater("the database restarts")

    consumer = FakeConsumer([event], attempts=1)
    consumer.handle(wait)
    assert (consumer.handled, consumer.dead_letters) == ([event.id], [])


def test_a_type_that_is_not_asked_for_is_passed_over() -> None:
    events = [make_event(EventType.SKIPPED), make_event()]
    consumer = FakeConsumer(events, types={EventType.RECEIVED})
    assert [event.type for event in consumer] == [EventType.RECEIVED]
    assert len(consumer.handled) == 2


def test_a_loop_that_is_left_leaves_its_event_unhandled() -> None:
    consumer = FakeConsumer([make_event(subject=str(n)) for n in range(3)])
    for _event in consumer:
        break
    assert consumer.handled == []


def test_a_consumer_that_is_stopped_finishes_the_event_in_hand() -> None:
    events = [make_event(subject=str(n)) for n in range(3)]
    consumer = FakeConsumer(events)
    for _event in consumer:
        consumer.stop()
    assert consumer.handled == [events[0].id]


def test_a_damaged_content_can_be_made_too() -> None:
    event = make_event(attachments=[make_attachment(b"x", sha256="0" * 64)])
    assert isinstance(event, Received)
    with event.data.attachments[0].open() as content, pytest.raises(StoreRefused):
        content.read()
