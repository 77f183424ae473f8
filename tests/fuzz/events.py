"""Target: the event of a message: it keeps its limit, whatever the message holds, and is what its model says.

Inputs are repeated, since only large messages come near a limit.
"""

from __future__ import annotations

from datetime import UTC, datetime

from fuzz.reader import LIMITS
from ingest.events import build
from ingest.events.models import CloudEvent, ReceivedData
from ingest.mime.reader import read_message
from ingest.models import Account, StoredPart

_MAX_BYTES = 16 << 10  # the least that the setting allows
_ACCOUNT = Account("a", "pop.example.com", 995, "user", "env:PASSWORD")
_NOW = datetime(2025, 3, 4, tzinfo=UTC)
_DIGEST = "0" * 64
_TIMES = (1, 20)


def run(data: bytes) -> None:
    """One input."""
    for times in _TIMES:
        whole = data * times
        message = read_message(whole, LIMITS)
        event = build.received(
            _ACCOUNT,
            data[:70] or None,
            message,
            identity=bytes(32),
            raw=build.RawObject("s3://mail/raw", len(whole), _DIGEST),
            parts=[StoredPart(part, "s3://mail/part", part.end - part.start, _DIGEST) for part in message.attachments],
            first_seen=_NOW,
            time=_NOW,
            max_bytes=_MAX_BYTES,
        )
        assert len(event.json) <= _MAX_BYTES
        CloudEvent[ReceivedData].model_validate_json(event.json)
