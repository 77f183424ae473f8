"""Holds the events' schemas to what was released: within a version nothing changes that a consumer may rely on.

- The schemas are of what Mailsluice writes, so a change is safe when all that the new one lets through would have been
  let through before, but for fields that came on top. Descriptions and the like are free.
- What this file does not know how to compare is a fault, even where it did not change.
- `--release` keeps the schemas of today as released in `tools/released/`, unless something broke.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ingest.events.models import EventType
from ingest.events.schema import path_of, schema_of

ROOT = Path(__file__).resolve().parent.parent
RELEASED = ROOT / "tools/released"
RELEASE = "$comment"  # in a released schema: which release it is of
Schema = dict[str, Any]

_ANNOTATIONS = {"title", "description", "default", "examples", "$comment", "$defs", "deprecated"}
_SAME = {"$schema", "$id"}
_OTHER_LETS_IN = {"pattern", "format"}
_LEAST = {"minLength", "minItems", "minimum", "exclusiveMinimum"}
_MOST = {"maxLength", "maxItems", "maximum", "exclusiveMaximum"}
_COMPARED = {"type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems"}
_KNOWN = _ANNOTATIONS | _SAME | _OTHER_LETS_IN | _LEAST | _MOST | _COMPARED | {"anyOf", "$ref"}
_TYPES = {"null", "boolean", "integer", "number", "string", "array", "object"}
_NAMES = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}


class Comparison:
    """One released schema beside the one of today."""

    def __init__(self, released: Schema, current: Schema) -> None:
        self._released = released
        self._current = current
        self._open: set[tuple[int, int]] = set()  # pairs under way, for definitions that hold themselves

    def broken(self) -> Iterator[str]:
        """What a consumer may rely on and that no longer holds, one line each."""
        yield from self._value(self._released, self._current, "")

    def _value(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        pair = (id(old), id(new))
        if pair in self._open:
            return
        self._open.add(pair)
        before, after = _by_type(old, self._released), _by_type(new, self._current)
        for unknown in sorted({key for each in (*before, *after) for key in each} - _KNOWN):
            yield f"{at or '/'}: '{unknown}' is nothing that this check can compare"
        types, now = ({name for each in alternatives for name in _types(each)} for alternatives in (before, after))
        if now | {"null"} != types | {"null"}:
            yield f"{at or '/'}: the type was {_listed(types)} and is {_listed(now)}"
        elif now - types:
            yield f"{at or '/'}: null is newly allowed"
        else:
            for each in after:
                yield from self._nearest(before, each, at)
        self._open.remove(pair)

    def _nearest(self, before: list[Schema], new: Schema, at: str) -> Iterator[str]:
        """What is wrong with one alternative, beside the released one that it comes nearest to."""
        found = [list(self._alternative(old, new, at)) for old in before if _types(old) & _types(new) - {"null"}]
        yield from min(found, key=len, default=[])

    def _alternative(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        here = at or "/"
        for key in sorted(_SAME & {*old, *new}):
            if old.get(key) != new.get(key):
                yield f"{here}: {key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in sorted(_OTHER_LETS_IN & {*old}):
            if old[key] != new.get(key):
                yield f"{here}: the {key} was {old[key]!r} and is {new.get(key)!r}"
        for key in sorted((_LEAST | _MOST) & {*old}):
            if key not in new or (new[key] < old[key] if key in _LEAST else new[key] > old[key]):
                yield f"{here}: {key} was {old[key]} and is {new.get(key)}"
        values = _values(old)
        if values is not None:
            added = [each for each in _values(new) or [] if each not in values]
            if added or _values(new) is None:
                yield f"{here}: besides {_listed(values)} there may be {_listed(added) or 'anything'}"
        yield from self._fields(old, new, at)
        yield from self._items(old, new, at)

    def _fields(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        fields, now = old.get("properties", {}), new.get("properties", {})
        for name in fields:
            if name not in now:
                yield f"{at}/{name}: the field is gone"
            else:
                yield from self._value(fields[name], now[name], f"{at}/{name}")
        for name in old.get("required", []):
            if name not in new.get("required", []) and (name in now or name not in fields):
                yield f"{at}/{name}: the field may be absent"
        others = old.get("additionalProperties", True)
        if others is not True:
            for name in now.keys() - fields.keys():
                yield from self._further(others, now[name], f"{at}/{name}")
            yield from self._further(others, new.get("additionalProperties", True), f"{at}/*")

    def _further(self, old: Schema | bool, new: Schema | bool, at: str) -> Iterator[str]:
        if isinstance(old, dict) and isinstance(new, dict):
            yield from self._value(old, new, at)
        elif new is not False:
            yield f"{at}: no such fields were allowed"

    def _items(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        firsts, now = old.get("prefixItems", []), new.get("prefixItems", [])
        if len(firsts) != len(now):
            yield f"{at or '/'}: there were {len(firsts)} items with a place of their own and are {len(now)}"
        for place, (before, after) in enumerate(zip(firsts, now, strict=False)):
            yield from self._value(before, after, f"{at}/{place}")
        if "items" in old:
            yield from self._further(old["items"], new.get("items", True), f"{at}[]")


def _by_type(schema: Schema, root: Schema) -> list[Schema]:
    """A schema as its alternatives, each without a reference."""
    own = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
    found = [own]
    if "$ref" in schema:
        found = [{**each, **own} for each in _by_type(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)]
    if "anyOf" in schema:
        found = [{**each, **inner} for each in found for one in schema["anyOf"] for inner in _by_type(one, root)]
    return found


def _types(schema: Schema) -> set[str]:
    """The JSON types that a value may have."""
    if "type" in schema:
        return {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
    values = _values(schema)
    return _TYPES if values is None else {_NAMES[type(value)] for value in values}


def _values(schema: Schema) -> list[Any] | None:
    """The only values there are, or None where the field is open."""
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _listed(values: set[str] | list[Any]) -> str:
    return " or ".join(sorted(map(str, values)))


def problems(released: Mapping[str, Schema], current: Mapping[str, Schema]) -> Iterator[str]:
    """Everything by which the schemas of today, by file name, break with those that were released."""
    for name, schema in released.items():
        if name in current:
            yield from (f"{name}: {line}" for line in Comparison(schema, current[name]).broken())
        else:
            yield f"{name}: the schema is gone"


def forgotten(released: Mapping[str, Schema], current: Mapping[str, Schema], version: str) -> Iterator[str]:
    """Schemas of a release that nobody kept."""
    for name in current:
        if released.get(name, {}).get(RELEASE) != version:
            yield f"{name}: not kept as released with {version}: python tools/check_schema.py --release"


def main(arguments: list[str]) -> int:
    """Compare, or keep what is there; one line a problem."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    released = {path.name: json.loads(path.read_text("utf-8")) for path in sorted(RELEASED.glob("*.json"))}
    current = {path_of(each).name: schema_of(each) for each in EventType}
    found = list(problems(released, current))
    if arguments != ["--release"]:
        found += forgotten(released, current, version)
    elif not found:
        for name, schema in current.items():
            text = json.dumps({RELEASE: version, **schema}, indent=1, ensure_ascii=False)
            (RELEASED / name).write_text(f"{text}\n", "utf-8")
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"schemas: nothing breaks with those of {version}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
