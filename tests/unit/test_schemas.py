"""The schemas of the events: what ships is what the models say."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from ingest.events.models import EventType
from ingest.events.schema import path_of, schema_of, text_of


@pytest.mark.parametrize("type_", EventType)
def test_what_ships_is_what_the_models_say(type_: EventType) -> None:
    assert path_of(type_).read_text("utf-8") == text_of(type_), "python -m ingest.events.schema writes it"


@pytest.mark.parametrize("type_", EventType)
def test_each_schema_is_one(type_: EventType) -> None:
    Draft202012Validator.check_schema(schema_of(type_))
