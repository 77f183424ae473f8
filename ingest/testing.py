"""For the tests of those downstream: events as the stream has them, and a consumer without a Redis.

Rules of this file:
- What is made here is valid by the models that the stream's events are read with, and reads the same from its JSON.
- Contents are opened and checked by the code that opens stored ones; only the store is memory.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from threading import Event as Flag
from typing import Any, BinaryIO

from pydantic_core import to_json

from ingest.consumer.events import Attachment, Event, Received, StoredObject, contents_of, lies_in, read_event
from ingest.consumer.loop import Consumer
from ingest.consumer.reader import Reader
from ingest.errors import StoreRefused
from ingest.events.ids import event_id
from ingest.events.models import EventType, schema_uri
from ingest.models import OutgoingEvent
from ingest.wiring.consuming import join_memory

_NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
_MESSAGE = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: Invoice 4711\r\n\r\nPlease find it attached.\r\n"
_ACCOUNT = "billing"
_MOMENT_S, _LONG_S = 0.01, 3600.0


@dataclass
class MadeContents:
    """Implements `ports.Contents`: by URL, in memory."""

    octets: dict[str, bytes] = field(default_factory=dict)

    def take(self, stored: StoredObject | Attachment) -> None:
        """What lies behind it, also if that is not what it says."""
        made = contents_of(stored)
        if isinstance(made, MadeContents):
            self.octets[stored.url] = made.octets[stored.url]

    def open(self, url: str) -> AbstractContextManager[BinaryIO]:
        if url not in self.octets:
            raise StoreRefused(f"{url}: there is no such object")
        return io.BytesIO(self.octets[url])

    def close(self) -> None:
        """Nothing is held open."""


def make_attachment(content: bytes, filename: str | None = None, **fields: object) -> Attachment:
    """An attachment that opens as this content; `fields` are those of the event's, in place of the usual ones."""
    made: dict[str, Any] = {
        "part": "2",
        "parent": None,
        "filename": filename,
        "filename_raw": filename,
        "content_type": "application/octet-stream",
        "detected_type": None,
        "label": None,
        "disposition": "attachment",
        "content_id": None,
        "scan": None,
        **_stored(content, "attachments"),
        **fields,
    }
    attachment = Attachment.model_validate(made)
    lies_in(attachment, MadeContents({attachment.url: content}))
    return attachment


def make_event(
    type_: str = EventType.RECEIVED,
    *,
    attachments: Iterable[Attachment] = (),
    message: bytes = _MESSAGE,
    envelope: Mapping[str, Any] | None = None,
    **fields: object,
) -> Event:
    """An event as a consumer gets it; ValueError where it is none.

    Args:
        type_: what happened, as `EventType` has it; one that nobody knows makes an event of `fields` alone.
        attachments: from `make_attachment`, of a received message.
        message: what `raw.open()` gives, of a received message.
        envelope: fields around the data, in place of the usual ones.
        fields: of the data, in place of the usual ones; `from_` stands for `from`.
    """
    given, contents = list(attachments), MadeContents()
    data = _USUAL[type_](message) if type_ in _USUAL else {}
    data |= {name.removesuffix("_"): value for name, value in fields.items()}
    if type_ == EventType.RECEIVED:
        data["attachments"] = [attachment.model_dump() for attachment in given]
        contents.octets[data["raw"]["url"]] = message
        for attachment in given:
            contents.take(attachment)
        # other fields make another event, as another message would
        data = {"identity": hashlib.sha256(message + to_json(fields | {"": data["attachments"]})).hexdigest()} | data
    account = str(data.get("account", _ACCOUNT))
    outer = {
        "specversion": "1.0",
        "id": event_id(type_, account, to_json(data.get("identity", data))),
        "source": f"mailsluice/{account}",
        "type": type_,
        "datacontenttype": "application/json",
        "time": _NOON,
        "dataschema": schema_uri(type_),
        **({"subject": data["uidl"]} if data.get("uidl") else {}),
        **(envelope or {}),
    }
    return read_event(type_, to_json(outer | {"data": data}), contents)


class FakeConsumer(Consumer):
    """A consumer of given events, which ends behind the last. No signal stops it.

    `handled` are the ids of those that were, in order; `dead_letters` those that failed for good, each with the reason.
    """

    def __init__(self, events: Iterable[Event], *, types: Collection[str] | None = None, attempts: int = 5) -> None:
        given, contents = list(events), MadeContents()
        for event in given:
            if isinstance(event, Received):
                contents.take(event.data.raw)
                for attachment in event.data.attachments:
                    contents.take(attachment)
        self._joined, self._acknowledged, self._dead = join_memory(map(as_entry, given))

        def open_reader(stopping: Flag) -> tuple[Reader, Callable[[], None]]:
            return Reader(
                self._joined.group,
                None,
                stopping,
                batch=len(given) or 1,
                idle_s=_LONG_S,
                attempts=attempts,
                timeout_s=_MOMENT_S,
            ), self._joined.close

        super().__init__(open_reader, contents, types=types, attempts=attempts, signals=False)

    @property
    def handled(self) -> list[str]:
        return [entry.event.id for entry in self._acknowledged]

    @property
    def dead_letters(self) -> list[tuple[str, str]]:
        return [(entry.event.id, reason) for entry, reason in self._dead]


def as_entry(event: Event) -> OutgoingEvent:
    """What lies in the stream: the fields `id`, `type` and, as `json`, `event`."""
    return OutgoingEvent(event.id, event.type, event.model_dump_json(by_alias=True).encode())


def _received(message: bytes) -> dict[str, Any]:
    raw = _stored(message, "raw", ".eml")
    return _unprocessed(message) | {
        "sha256": raw["sha256"],
        "raw": raw,
        "in_reply_to": None,
        "references": [],
        "sender": [],
        "reply_to": [],
        "text": {"content": "Please find it attached.\r\n", "truncated": False, "charset": "utf-8"},
        "html": None,
        "labels": [],
        "defects": [],
        "first_seen": _NOON,
        "replay": False,
    }


def _unprocessed(message: bytes, reason: str = "") -> dict[str, Any]:
    return {
        **_account(message, reason),
        "uidl": "0000000134208d39",
        "size": len(message),
        "raw": None,
        "message_id": "<4711@example.com>",
        "date": _NOON,
        "from": [{"name": "Supplier", "address": "a@example.com"}],
        "to": [{"name": "", "address": "b@example.com"}],
        "cc": [],
        "subject": "Invoice 4711",
        "headers": [["From", "Supplier <a@example.com>"], ["Subject", "Invoice 4711"]],
    }


def _account(_message: bytes, reason: str = "") -> dict[str, Any]:
    return {"account": _ACCOUNT, "tags": {}, "reason": reason, "detail": ""}


def _stored(content: bytes, kind: str, suffix: str = "") -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    url = f"s3://made/{kind}/{_ACCOUNT}/{digest[:2]}/{digest}{suffix}"
    return {"url": url, "size": len(content), "sha256": digest}


_USUAL: dict[str, Callable[[bytes], dict[str, Any]]] = {
    EventType.RECEIVED: _received,
    EventType.SKIPPED: partial(_unprocessed, reason="message_too_large"),
    EventType.QUARANTINED: partial(_unprocessed, reason="message_refused"),
    EventType.FAILING: partial(_account, reason="credentials"),
    EventType.RECOVERED: partial(_account, reason="recovered"),
}
