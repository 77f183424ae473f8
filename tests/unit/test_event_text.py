"""An event is UTF-8 and JSON whatever text is in it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.events import build
from ingest.events.models import CloudEvent, EventType, ReceivedData
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import Account, ParsedMessage

NOW = datetime(2025, 3, 4, tzinfo=UTC)
HALF = "half \ud83d, other half \ude00"
SAID = "half ?, other half ?"


def received(parsed: ParsedMessage, tags: dict[str, str], max_bytes: int = 1 << 20) -> bytes:
    return build.received(
        Account("a", "pop.example.com", 995, "user", "env:PASSWORD", tags=tags),
        b"1",
        parsed,
        identity=bytes(32),
        raw=build.RawObject("s3://mail/raw", 1, "0" * 64),
        parts=[],
        first_seen=NOW,
        time=NOW,
        max_bytes=max_bytes,
    ).json


def parsed(subject: str) -> ParsedMessage:
    message = read_message(b"Subject: a\r\n\r\ntext\r\n", MimeLimits())
    return replace(message, envelope=replace(message.envelope, subject=subject))


@pytest.mark.parametrize(
    "text", ["", "plain", 'quotes " and \\', "\0\x01\x1f\x7f", "\u2028\u2029", "Grüße 日本 \U0001f600", "\ufffe\uffff"]
)
def test_text_comes_back_as_it_was(text: str) -> None:
    assert json.loads(received(parsed(text), {"tag": text}))["data"]["subject"] == text
    assert CloudEvent[ReceivedData].model_validate_json(received(parsed(text), {})).data.subject == text


def test_half_of_a_character_becomes_a_question_mark_and_the_rest_stays() -> None:
    whole = received(parsed(f"Grüße {HALF}"), {"tag": HALF, "other": "日本"})
    data = CloudEvent[ReceivedData].model_validate_json(whole).data
    assert data.subject == f"Grüße {SAID}"
    assert dict(data.tags) == {"tag": SAID, "other": "日本"}


def test_an_event_with_half_a_character_is_written_as_any_other() -> None:
    plain, half = received(parsed("Grüße ?"), {}), received(parsed("Grüße \ud800"), {})
    assert half == plain


def test_an_event_with_half_a_character_keeps_its_limit() -> None:
    message = replace(parsed("\ud800" * 20_000), text=None)
    whole = received(message, {}, max_bytes=16 << 10)
    assert len(whole) <= 16 << 10
    assert "event_" in json.loads(whole)["data"]["defects"][-1]["code"]


def test_events_of_accounts_may_hold_half_a_character_too() -> None:
    event = build.account_event(
        EventType.FAILING,
        Account("a", "pop.example.com", 995, "user", "env:PASSWORD"),
        reason="credentials",
        detail=HALF,
        time=NOW,
    )
    told: dict[str, Any] = json.loads(event.json)
    assert told["data"]["detail"] == SAID
