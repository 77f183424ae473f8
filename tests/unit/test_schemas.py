"""The schemas of the events: what ships is what the models say, and the examples in them are what the code makes."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from ingest.events import build
from ingest.events.models import EventType
from ingest.events.schema import FOLDER, example_of, schema_of
from ingest.events.shipped import files
from ingest.mime.envelope import read_envelope
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import Account, OutgoingEvent, StoredPart
from ingest.simulator.samples import sample_messages

LIMIT = 1 << 20
FORMATS = FormatChecker()
FORMATS.checks("date-time", ValueError)(lambda value: not isinstance(value, str) or datetime.fromisoformat(value))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_what_ships_is_what_the_models_say(path: Path) -> None:
    assert path.read_text("utf-8") == files()[path], "python -m ingest.events.shipped writes it"


def test_nothing_else_ships_as_a_schema() -> None:
    assert set(FOLDER.iterdir()) == set(files())


@pytest.mark.parametrize("type_", EventType)
def test_each_schema_is_one_and_its_example_fits(type_: EventType) -> None:
    schema = schema_of(type_)
    Draft202012Validator.check_schema(schema)
    [example] = schema["examples"]
    Draft202012Validator(schema, format_checker=FORMATS).validate(example)
    assert example["dataschema"] == schema["$id"]


@pytest.mark.parametrize("type_", EventType)
def test_each_schema_and_each_field_in_it_says_what_it_is(type_: EventType) -> None:
    schema = schema_of(type_)
    for each in (schema, *schema["$defs"].values()):
        assert each["title"]
        assert each["description"]
        assert [name for name, field in each["properties"].items() if not field.get("description")] == []


@pytest.mark.parametrize("type_", EventType)
def test_a_subject_may_be_absent_and_is_never_null(type_: EventType) -> None:
    validator, example = Draft202012Validator(schema_of(type_)), example_of(type_)
    assert not validator.is_valid({**example, "subject": None})
    example.pop("subject", None)
    assert validator.is_valid(example)


@pytest.mark.parametrize("type_", EventType)
def test_each_example_is_what_the_code_makes_of_its_content(type_: EventType) -> None:
    example = example_of(type_)
    assert json.loads(made_again(type_, example["data"], datetime.fromisoformat(example["time"])).json) == example


def made_again(type_: EventType, data: dict[str, Any], time: datetime) -> OutgoingEvent:
    """The event that the code makes of what an example says; a received message's is the demo's sample."""
    account = Account(data["account"], "pop.example.com", 995, "user", "env:PASSWORD", tags=data["tags"])
    if type_ in {EventType.FAILING, EventType.RECOVERED}:
        return build.account_event(type_, account, reason=data["reason"], detail=data["detail"], time=time)
    uidl = data["uidl"].encode()
    raw = build.RawObject(**data["raw"]) if data["raw"] else None
    if type_ is not EventType.RECEIVED:
        head = "".join(f"{name}: {value}\r\n" for name, value in data["headers"]).encode()
        return build.unprocessed(
            type_,
            account,
            uidl,
            size=data["size"],
            identity=None,
            block=None,
            envelope=read_envelope(head, MimeLimits()),
            reason=data["reason"],
            detail=data["detail"],
            raw=raw,
            time=time,
            max_bytes=LIMIT,
        )
    assert raw is not None
    [sample] = (each.raw for each in sample_messages() if each.name == "forwarded")
    parsed = read_message(sample, MimeLimits())
    stored = zip(parsed.attachments, data["attachments"], strict=True)
    return build.received(
        account,
        uidl,
        parsed,
        identity=bytes.fromhex(data["identity"]),
        raw=raw,
        parts=[StoredPart(part, each["url"], each["size"], each["sha256"]) for part, each in stored],
        first_seen=datetime.fromisoformat(data["first_seen"]),
        time=time,
        max_bytes=LIMIT,
    )
