"""The AsyncAPI 3.0 document of the events: where they go, and what they are, for tools that read such documents.

Rules of this room:
- Nothing is described twice: payloads, titles and examples come from the JSON Schemas.
- A schema object of AsyncAPI follows JSON Schema draft-07: what 2020-12 writes otherwise is translated, or an error.
- A transport is an entry of `CHANNELS`, and stands there only if the code can send by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ingest.events.models import EventType
from ingest.events.schema import schema_of

Json = dict[str, Any]
_ONLY_AT_THE_TOP = {"$schema", "$id", "$defs", "examples"}
_UNKNOWN_TO_DRAFT_07 = {"dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems"}


@dataclass(frozen=True, slots=True)
class Channel:
    """One way that events take: its name, protocol, host, where it is there, and what to know of it."""

    name: str
    protocol: str
    host: str
    address: str
    title: str
    description: str
    parameters: Json = field(default_factory=dict)


CHANNELS = (
    Channel(
        "stream",
        "redis",
        "127.0.0.1:6379",
        "{prefix}:{shard}:events",
        "A Redis stream, one for each shard",
        "In the Redis of MAILSLUICE_REDIS_URL. All events of an account are in one shard. An entry has three fields: "
        "`id`, `type` and `event`, the JSON.",
        {
            "prefix": {"description": "MAILSLUICE_KEY_PREFIX", "default": "mailsluice"},
            "shard": {
                "description": "The shard, from 0, below MAILSLUICE_SHARDS; the braces belong to the key.",
                "default": "{s0}",
                "examples": ["{s0}", "{s1}"],
            },
        },
    ),
)


def document() -> Json:
    """The whole document."""
    schemas = {each: schema_of(each) for each in EventType}
    names = {each: each.removeprefix("mailsluice.") for each in EventType}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Mailsluice events",
            "version": "v1",
            "description": "Mail in POP3 maildrops as CloudEvents 1.0, attachments already in object storage. An event "
            "may come again, always under the same `id`. Within v1 fields are only added.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {each.name: {"host": each.host, "protocol": each.protocol} for each in CHANNELS},
        "channels": {
            each.name: {
                "address": each.address,
                "servers": [{"$ref": f"#/servers/{each.name}"}],
                "title": each.title,
                "description": each.description,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names.values()},
                **({"parameters": each.parameters} if each.parameters else {}),
            }
            for each in CHANNELS
        },
        "operations": {
            f"send-to-{each.name}": {"action": "send", "channel": {"$ref": f"#/channels/{each.name}"}}
            for each in CHANNELS
        },
        "components": {
            "messages": {names[each]: _message(schema) for each, schema in schemas.items()},
            "schemas": _definitions(list(schemas.values())),
        },
    }


def _message(schema: Json) -> Json:
    return {
        "name": schema["title"],
        "title": schema["title"],
        "summary": schema["description"],
        "contentType": "application/cloudevents+json",
        "payload": _translated({key: value for key, value in schema.items() if key not in _ONLY_AT_THE_TOP}),
        "examples": [{"payload": example} for example in schema["examples"]],
    }


def _definitions(schemas: list[Json]) -> Json:
    """What the payloads are made of; a name is one thing in all of them."""
    found: Json = {}
    for schema in schemas:
        for name, definition in schema["$defs"].items():
            if found.setdefault(name, definition) is not definition and found[name] != definition:
                raise ValueError(f"two schemas define {name}, each its own way")
    return {name: _translated(found[name]) for name in sorted(found)}


def _translated(schema: Json) -> Json:
    """A schema of draft 2020-12 as one of draft-07, with its references into this document."""
    if unknown := _UNKNOWN_TO_DRAFT_07 & schema.keys() or schema.keys() >= {"prefixItems", "items"}:
        raise ValueError(f"{unknown} can't be said in draft-07")
    found: Json = {}
    for key, value in schema.items():
        if key == "$ref":
            found[key] = value.replace("#/$defs/", "#/components/schemas/")
        elif key == "properties":
            found[key] = {name: _translated(each) for name, each in value.items()}
        elif key == "prefixItems":
            found["items"] = [_translated(each) for each in value]
        elif key == "anyOf":
            found[key] = [_translated(each) for each in value]
        else:
            found[key] = _translated(value) if key in {"items", "additionalProperties"} else value
    return found
