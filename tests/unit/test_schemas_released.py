"""The guard over released schemas: each kind of breaking change is caught, and what may change within v1 passes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import check_schema
import pytest

from ingest.events.models import EventType
from ingest.events.schema import path_of, schema_of

Schema = dict[str, Any]
NULL = {"type": "null"}
RELEASED: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:x:v1",
    "$defs": {
        "Part": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "inner": {"anyOf": [{"$ref": "#/$defs/Part"}, NULL]}},
            "required": ["name"],
        },
    },
    "type": "object",
    "properties": {
        "kind": {"const": "x"},
        "verdict": {"enum": ["clean", "infected"], "type": "string"},
        "digest": {"type": "string", "pattern": "^[0-9a-f]+$", "minLength": 2, "maxLength": 64},
        "size": {"type": "integer", "minimum": 0},
        "time": {"type": "string", "format": "date-time"},
        "reason": {"type": "string", "description": "as credentials"},
        "parent": {"anyOf": [{"type": "string"}, NULL]},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "string"}], "maxItems": 2},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        "closed": {"type": "object", "properties": {}, "additionalProperties": False},
    },
    "required": ["kind", "size", "parent", "parts"],
}


def broken(change: Callable[[Schema], object]) -> list[str]:
    """What the guard says of a change to the released schema."""
    current = copy.deepcopy(RELEASED)
    change(current)
    assert current != RELEASED
    return list(check_schema.problems({"x.json": RELEASED}, {"x.json": current}))


def put(*path: str | int, to: object) -> Callable[[Schema], None]:
    """The change that sets what lies at a path."""

    def change(schema: Schema) -> None:
        reduce(getitem, path[:-1], schema)[path[-1]] = to

    return change


def drop(*path: str | int) -> Callable[[Schema], None]:
    """The change that takes out what lies at a path."""

    def change(schema: Schema) -> None:
        del reduce(getitem, path[:-1], schema)[path[-1]]

    return change


def field(name: str, **schema: object) -> Callable[[Schema], None]:
    return put("properties", name, to=schema)


def rename(schema: Schema) -> None:
    schema["properties"]["octets"] = schema["properties"].pop("size")
    schema["required"] = ["octets" if name == "size" else name for name in schema["required"]]


BREAKING: dict[str, tuple[Callable[[Schema], object], str]] = {
    "a removed field": (drop("properties", "reason"), "/reason: the field is gone"),
    "a renamed field": (rename, "/size: the field is gone"),
    "a field removed from a definition": (drop("$defs", "Part", "properties", "name"), "/parts[]/name: the field is"),
    "a field that may be absent": (put("required", to=["kind", "parent", "parts"]), "/size: the field may be absent"),
    "another type": (field("size", type="string"), "/size: the type was integer and is string"),
    "a wider type": (field("size", type="number", minimum=0), "/size: the type was integer and is number"),
    "a further type": (field("size", anyOf=[{"type": "integer"}, {"type": "string"}]), "/size: the type was"),
    "no type": (field("reason"), "/reason: the type was string"),
    "null": (field("reason", anyOf=[{"type": "string"}, NULL]), "/reason: null is newly allowed"),
    "null in a list of types": (field("reason", type=["string", "null"]), "/reason: null is newly allowed"),
    "null for a definition": (
        put("properties", "parts", "items", to={"anyOf": [{"$ref": "#/$defs/Part"}, NULL]}),
        "/parts[]: null is newly allowed",
    ),
    "another value of a constant": (field("kind", const="y"), "/kind: besides x there may be y"),
    "a further value": (
        field("verdict", enum=["clean", "infected", "unscanned"], type="string"),
        "/verdict: besides clean or infected there may be unscanned",
    ),
    "any value": (field("verdict", type="string"), "/verdict: besides clean or infected there may be anything"),
    "another pattern": (put("properties", "digest", "pattern", to="^[0-9A-F]+$"), "/digest: the pattern was"),
    "no pattern": (drop("properties", "digest", "pattern"), "/digest: the pattern was"),
    "another format": (field("time", type="string", format="date"), "/time: the format was 'date-time' and is 'date'"),
    "no format": (field("time", type="string"), "/time: the format was 'date-time' and is None"),
    "a smaller least": (put("properties", "digest", "minLength", to=1), "/digest: minLength was 2 and is 1"),
    "a larger most": (put("properties", "digest", "maxLength", to=65), "/digest: maxLength was 64 and is 65"),
    "no least": (drop("properties", "size", "minimum"), "/size: minimum was 0 and is None"),
    "another type of what a list holds": (put("properties", "parts", "items", to={"type": "string"}), "/parts[]: the"),
    "a list of anything": (drop("properties", "parts", "items"), "/parts[]: no such fields"),
    "another type in a pair": (
        put("properties", "pair", "prefixItems", 1, to={"type": "integer"}),
        "/pair/1: the type",
    ),
    "a third in a pair": (put("properties", "pair", "prefixItems", to=[{"type": "string"}] * 3), "/pair: there were 2"),
    "another type in a map": (put("properties", "tags", "additionalProperties", to={"type": "null"}), "/tags/*: "),
    "a map of anything": (drop("properties", "tags", "additionalProperties"), "/tags/*: no such fields"),
    "a field where all were named": (put("properties", "closed", "properties", "a", to={}), "/closed/a: no such"),
    "another name": (put("$id", to="urn:x:v2"), "/: $id was 'urn:x:v1' and is 'urn:x:v2'"),
    "another dialect": (drop("$schema"), "/: $schema was"),
    "what nobody can compare": (field("reason", type="string", **{"not": {"const": "a"}}), "/reason: 'not' is nothing"),
}

ALLOWED: dict[str, Callable[[Schema], object]] = {
    "an optional field": field("new", type="string"),
    "a new field that is always there": lambda schema: (
        field("new", type="string")(schema),
        schema["required"].append("new"),
    ),
    "a field of a definition": put("$defs", "Part", "properties", "new", to={"type": "integer"}),
    "a further value of an open text": put("properties", "reason", "description", to="as credentials, renumbered"),
    "titles, examples and defaults": put("properties", "size", to={**RELEASED["properties"]["size"], "title": "Size"}),
    "a field that is never absent any more": put("required", to=list(RELEASED["properties"])),
    "a value that is never null any more": field("parent", type="string"),
    "one value less": field("verdict", const="clean"),
    "a pattern where there was none": field("reason", type="string", pattern="^[a-z_]+$"),
    "narrower bounds": put("properties", "size", "minimum", to=1),
    "a definition written in place": put("properties", "parts", "items", to=RELEASED["$defs"]["Part"]),
}


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_consumers_is_caught(name: str) -> None:
    change, said = BREAKING[name]
    line, *_ = broken(change)  # a definition may be used in several places
    assert line.startswith(f"x.json: {said}")


@pytest.mark.parametrize("name", ALLOWED)
def test_what_may_change_within_a_version_passes(name: str) -> None:
    assert broken(ALLOWED[name]) == []


def test_a_schema_that_is_gone_is_caught() -> None:
    assert list(check_schema.problems({"x.json": RELEASED}, {})) == ["x.json: the schema is gone"]


@pytest.mark.parametrize("type_", EventType)
def test_no_field_of_an_event_can_go_unnoticed(type_: EventType) -> None:
    released = schema_of(type_)
    for definition in released["$defs"]:
        for name in released["$defs"][definition]["properties"]:
            current = copy.deepcopy(released)
            del current["$defs"][definition]["properties"][name]
            assert list(check_schema.Comparison(released, current).broken()), f"{definition}.{name}"


def kept() -> dict[str, Schema]:
    return {path.name: json.loads(path.read_text("utf-8")) for path in check_schema.RELEASED.glob("*.json")}


def test_the_schemas_of_a_new_version_must_be_kept() -> None:
    current = {path_of(each).name: schema_of(each) for each in EventType}
    assert list(check_schema.problems(kept(), current)) == []
    [version] = {schema[check_schema.RELEASE] for schema in kept().values()}
    assert list(check_schema.forgotten(kept(), current, version)) == []
    assert len(list(check_schema.forgotten(kept(), current, "999.0"))) == len(EventType)


def test_a_release_keeps_the_schemas_unless_one_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_schema, "RELEASED", tmp_path)
    assert check_schema.main([]) == 1
    assert (check_schema.main(["--release"]), check_schema.main([])) == (0, 0)
    assert len(kept()) == len(EventType)

    name, schema = kept().popitem()
    schema["properties"]["gone"] = {"type": "string"}
    (tmp_path / name).write_text(json.dumps(schema), "utf-8")
    assert (check_schema.main(["--release"]), check_schema.main([])) == (1, 1)
    assert kept()[name] == schema
