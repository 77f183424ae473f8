"""What polls produce, and the examples that ship, are CloudEvents to the official SDK, and fit their schemas."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from house import PASSWORD, house
from jsonschema import Draft202012Validator

from ingest.events.models import EventType
from ingest.events.schema import example_path, path_of
from ingest.simulator.samples import sample_messages

EXAMPLES = [pytest.param(example_path(each).read_bytes(), id=each.value) for each in EventType]


@pytest.fixture(scope="module")
def produced() -> list[bytes]:
    """Every event of a maildrop with the demo's mail, whose one large message is skipped, and of failing logins."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOUSE_PASSWORD", PASSWORD)
        with house(*(sample.raw for sample in sample_messages())) as h:
            h.poll(max_message_bytes=100_000)
            environment.setenv("HOUSE_PASSWORD", "wrong")
            h.poll()
            h.poll()
            environment.setenv("HOUSE_PASSWORD", PASSWORD)
            h.poll()
            return [event.json for event in h.state.events]


def test_polls_produced_all_kinds_but_the_quarantined(produced: list[bytes]) -> None:
    assert {json.loads(event)["type"] for event in produced} == {*EventType} - {EventType.QUARANTINED}


def same_to_the_sdk(event: bytes) -> None:
    """The SDK's reader for structured JSON gets the attributes and the data, and its writer gives the event back."""
    plain: dict[str, Any] = json.loads(event)
    read = JSONFormat().read(None, event)
    attributes = {name: value for name, value in plain.items() if name != "data"}
    attributes["time"] = datetime.fromisoformat(plain["time"])
    assert attributes["time"].tzinfo is UTC
    assert read.get_attributes() == attributes
    assert read.get_data() == plain["data"]
    assert json.loads(JSONFormat().write(read)) == plain


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_sdk_reads_each_example(example: bytes) -> None:
    same_to_the_sdk(example)


def test_the_sdk_reads_every_event_of_a_poll(produced: list[bytes]) -> None:
    for event in produced:
        same_to_the_sdk(event)


def test_the_sdk_refuses_what_is_no_cloudevent() -> None:
    event = json.loads(example_path(EventType.FAILING).read_bytes())
    del event["source"]
    with pytest.raises(CloudEventValidationError):
        JSONFormat().read(None, json.dumps(event))


def test_every_event_of_a_poll_fits_its_schema(produced: list[bytes]) -> None:
    for event in map(json.loads, produced):
        schema = json.loads(path_of(EventType(event["type"])).read_text("utf-8"))
        Draft202012Validator(schema).validate(event)
