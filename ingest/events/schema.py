"""JSON Schemas of the events, generated from the models, each with a worked example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import WithDefaultSchema

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
_MODELS: dict[EventType, tuple[type[BaseModel], str]] = {
    EventType.RECEIVED: (CloudEvent[ReceivedData], "A message was retrieved, stored and parsed."),
    EventType.SKIPPED: (CloudEvent[UnprocessedData], "A message is too large; it is left on its server."),
    EventType.QUARANTINED: (
        CloudEvent[UnprocessedData],
        "A message failed by its own fault, or holds a virus; it is left on its server.",
    ),
    EventType.FAILING: (CloudEvent[AccountData], "An account began to fail, or was renumbered: see the reason."),
    EventType.RECOVERED: (CloudEvent[AccountData], "The first good poll of an account that was failing."),
}


class _ForConsumers(GenerateJsonSchema):
    """Without titles that only repeat a field's name, and without defaults, which are ours when we build an event."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def schema_of(type_: EventType) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one type."""
    model, description = _MODELS[type_]
    schema = model.model_json_schema(mode="serialization", by_alias=True, schema_generator=_ForConsumers)
    for name, value in (("type", type_.value), ("dataschema", schema_uri(type_))):
        schema["properties"][name]["const"] = value
    return {
        "$schema": _ForConsumers.schema_dialect,
        "$id": schema_uri(type_),
        "title": type_.value,
        "description": description,
        "type": "object",
        "properties": schema["properties"],
        "required": schema["required"],
        "examples": [example_of(type_)],
        "$defs": schema["$defs"],
    }


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
