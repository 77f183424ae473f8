"""An event keeps its limit: bodies go first, then headers, then what else a sender made long; each drop is marked."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ingest.events import build
from ingest.events.models import CloudEvent, ReceivedData
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import Account, Address, Envelope, ParsedMessage, Part, StoredPart

NOW = datetime(2025, 3, 4, tzinfo=UTC)
DIGEST = "0" * 64
LIMIT = 1 << 20


def told(parsed: ParsedMessage, max_bytes: int = LIMIT) -> ReceivedData:
    """What the event says, after a look at its size."""
    event = build.received(
        Account("a", "pop.example.com", 995, "user", "env:PASSWORD"),
        b"1",
        parsed,
        identity=bytes(32),
        raw=build.RawObject("s3://mail/raw", 1, DIGEST),
        parts=[StoredPart(part, "s3://mail/part", 1, DIGEST) for part in parsed.attachments],
        first_seen=NOW,
        time=NOW,
        max_bytes=max_bytes,
    )
    assert len(event.json) <= max_bytes
    return CloudEvent[ReceivedData].model_validate_json(event.json).data


def marks(data: ReceivedData) -> list[str]:
    return [defect.code for defect in data.defects if defect.code.startswith("event_")]


def read(raw: bytes) -> ParsedMessage:
    return read_message(raw, MimeLimits())


def test_an_event_that_fits_is_whole() -> None:
    data = told(read(b"Subject: a\r\n\r\n" + b"x" * 300_000))
    assert data.text is not None
    assert (len(data.text.content), data.text.truncated, marks(data)) == (262_144, True, [])


def test_bodies_are_dropped_first() -> None:
    # a quotation mark takes two octets in JSON, a control character six
    data = told(read(b"Subject: a\r\n\r\n" + b"\x01" * 300_000))
    assert (data.text, data.html) == (None, None)
    assert data.headers == [("Subject", "a")]
    assert marks(data) == ["event_without_bodies"]


def test_then_headers_are_dropped() -> None:
    head = b"".join(b"X-%d: " % at + b'"' * 60_000 + b"\r\n" for at in range(16))
    data = told(read(b"Subject: a\r\n" + head + b"\r\nb"))
    assert (data.text, data.headers, data.subject) == (None, [], "a")
    assert marks(data) == ["event_without_bodies", "event_without_headers"]


def test_then_what_else_is_long_is_cut() -> None:
    many = tuple(Address("n" * 900, f"{at}@x.example") for at in range(1000))
    envelope = Envelope(subject="s" * 90_000, to=many, cc=many, references=("<a@x>",) * 1000)
    data = told(ParsedMessage(envelope, None, None, (), (), 0))
    assert (len(data.to), len(data.cc), len(data.references), len(data.subject or "")) == (20, 20, 20, 1024)
    assert marks(data) == ["event_cut"]


def test_the_last_that_goes_is_attachments() -> None:
    parts = tuple(
        Part(str(at), None, "a/" + "b" * 127, None, None, "f" * 255, "f" * 255, None, "7bit", 0, 0)
        for at in range(1, 1001)
    )
    data = told(ParsedMessage(Envelope(), None, None, parts, (), 0), max_bytes=16 << 10)
    assert 0 < len(data.attachments) < 1000
    assert data.attachments[0].part == "1"
    assert marks(data)[-1] == "event_without_attachments"


@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_a_body_is_cut_between_two_characters(character: str) -> None:
    text = ("a" + character * 200_000).encode()
    body = told(read(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text)).text
    assert body is not None
    assert body.truncated
    assert 262_140 < len(body.content.encode()) <= 262_144
    assert set(body.content) == {"a", character}
