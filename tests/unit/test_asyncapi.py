"""The AsyncAPI document says of events and of their stream what is true, and its check is never left out in silence."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, ValidationError

from ingest.adapters.redis_client import Keys
from ingest.events.asyncapi import CHANNELS, Channel, document
from ingest.events.models import EventType
from ingest.events.schema import example_of
from ingest.settings import Settings

ROOT = Path(__file__).parents[2]
MESSAGES = document()["components"]["messages"]


def payload(name: str) -> Draft7Validator:
    return Draft7Validator({**document(), "$ref": f"#/components/messages/{name}/payload"})


def test_every_type_is_a_message_with_its_example_in_every_channel() -> None:
    examples = {name: [each["payload"] for each in message["examples"]] for name, message in MESSAGES.items()}
    assert examples == {each.removeprefix("mailsluice."): [example_of(each)] for each in EventType}
    for channel in document()["channels"].values():
        assert channel["messages"] == {name: {"$ref": f"#/components/messages/{name}"} for name in MESSAGES}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_payload_holds_its_example_and_no_other_types(name: str) -> None:
    for other, message in MESSAGES.items():
        [example] = message["examples"]
        assert payload(name).is_valid(example["payload"]) == (name == other)


def test_a_header_field_is_a_pair_in_draft_07_too() -> None:
    event = example_of(EventType.RECEIVED)
    event["data"]["headers"] = [["Subject", 1]]
    with pytest.raises(ValidationError, match="1 is not of type 'string'"):
        payload("message.received.v1").validate(event)


def test_the_address_of_the_stream_is_its_key_in_redis() -> None:
    [stream] = (each for each in CHANNELS if each.name == "stream")
    defaults = {name: parameter["default"] for name, parameter in stream.parameters.items()}
    assert stream.address.format(**defaults) == Keys(Settings().key_prefix, 1).of_shard("events", 0)
    assert f"{stream.protocol}://{stream.host}" in Settings().redis_url


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_every_parameter_of_an_address_is_explained(channel: Channel) -> None:
    assert set(re.findall(r"{(\w+)}", channel.address)) == set(channel.parameters)


def test_without_npm_or_its_registry_the_check_says_that_it_is_left_out(tmp_path: Path) -> None:
    def check() -> str:
        done = subprocess.run(
            ["/bin/sh", ROOT / "tools" / "check_asyncapi.sh"],
            cwd=tmp_path, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stderr

    assert "no node, so ingest/events/schema/asyncapi.json is not read by @asyncapi/parser" in check()
    for tool in ("node", "npm"):
        (tmp_path / tool).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    assert "npm can't fetch @asyncapi/parser, so" in check()
