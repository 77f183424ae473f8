"""JSON Schemas of the events, generated from the models, each with a worked example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ingest.events.models import (
    AccountData,
    CloudEvent,
    EventType,
    ReceivedData,
    UnprocessedData,
    schema_uri,
)

FOLDER = Path(__file__).with_name("schema")
EXAMPLES = Path(__file__).with_name("examples")
_MODELS: dict[EventType, type[BaseModel]] = {
    EventType.RECEIVED: CloudEvent[ReceivedData],
    EventType.SKIPPED: CloudEvent[UnprocessedData],
    EventType.QUARANTINED: CloudEvent[UnprocessedData],
    EventType.FAILING: CloudEvent[AccountData],
    EventType.RECOVERED: CloudEvent[AccountData],
}


def schema_of(type_: EventType) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one type."""
    schema = _MODELS[type_].model_json_schema(mode="serialization", by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = schema_uri(type_)
    schema["title"] = type_.value
    schema["properties"]["type"] = {"const": type_.value}
    schema["examples"] = [example_of(type_)]
    return schema


def example_of(type_: EventType) -> dict[str, Any]:
    """The worked example of one type, which every page and document shows."""
    example: dict[str, Any] = json.loads(example_path(type_).read_text("utf-8"))
    return example


def example_path(type_: EventType) -> Path:
    """Where the example is kept, as it is printed."""
    return EXAMPLES / path_of(type_).name


def path_of(type_: EventType) -> Path:
    """Where the schema ships."""
    return FOLDER / f"{type_.value.removeprefix('mailsluice.')}.json"
