"""From what was parsed and stored to the JSON of an event. Pure; tests hold what it writes against the models.

Rules of this room:
- An event never passes its limit: bodies are dropped first, then headers, then what else is long; each drop is marked.
- Text that is no valid Unicode becomes question marks here at the latest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from ingest.events.ids import event_id, skipped_material
from ingest.events.models import EventType, schema_uri
from ingest.models import Account, Address, Body, Envelope, OutgoingEvent, ParsedMessage, StoredPart

_LONG_CHARS = 1024
_FEW = 20
_HALVINGS = 12  # from 4,096 attachments to one
_ATTACHMENTS_LEFT_OUT = "event_without_attachments"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RawObject:
    """The stored raw message: address, octets, SHA-256 of all of it (hex)."""

    url: str
    size: int
    sha256: str


def received(
    account: Account,
    uidl: bytes | None,
    parsed: ParsedMessage,
    *,
    identity: bytes,
    raw: RawObject,
    parts: Sequence[StoredPart],
    first_seen: datetime,
    time: datetime,
    max_bytes: int,
    replay: bool = False,
) -> OutgoingEvent:
    """The event of a message that was stored and parsed; `identity` is its 32-octet identity digest."""
    envelope = parsed.envelope
    data = {
        "account": account.id,
        "tags": dict(account.tags),
        "uidl": _uidl_text(uidl),
        "size": raw.size,
        "sha256": raw.sha256,
        "identity": identity.hex(),
        "raw": _stored(raw),
        "message_id": envelope.message_id,
        "in_reply_to": envelope.in_reply_to,
        "references": list(envelope.references),
        "date": _timestamp(envelope.date),
        "from": _mailboxes(envelope.from_),
        "sender": _mailboxes(envelope.sender),
        "reply_to": _mailboxes(envelope.reply_to),
        "to": _mailboxes(envelope.to),
        "cc": _mailboxes(envelope.cc),
        "subject": envelope.subject,
        "headers": list(envelope.headers),
        "text": _body(parsed.text),
        "html": _body(parsed.html),
        "attachments": [_attachment(part) for part in parts],
        "labels": list(parsed.labels),
        "defects": [{"code": each.code, "part": each.part, "detail": each.detail} for each in parsed.defects],
        "first_seen": _timestamp(first_seen),
        "replay": replay,
    }
    return _fitted(_envelope_of(EventType.RECEIVED, account.id, identity, uidl, time), data, max_bytes)


def as_replay(event: OutgoingEvent) -> OutgoingEvent:
    """A received message's event, marked as a replay after it was built."""
    whole = json.loads(event.json)
    return OutgoingEvent(event.id, event.type, _dumped(whole, {**whole["data"], "replay": True}))


def unprocessed(
    type_: EventType,
    account: Account,
    uidl: bytes | None,
    *,
    size: int,
    identity: bytes | None,
    block: bytes | None,
    envelope: Envelope,
    reason: str,
    detail: str,
    raw: RawObject | None,
    time: datetime,
    max_bytes: int,
) -> OutgoingEvent:
    """The event of a skipped or quarantined message; without an identity UIDL (or header block) and size stand in."""
    data = {
        "account": account.id,
        "tags": dict(account.tags),
        "reason": reason,
        "detail": detail[:_LONG_CHARS],
        "uidl": _uidl_text(uidl),
        "size": size,
        "raw": _stored(raw) if raw else None,
        "message_id": envelope.message_id,
        "date": _timestamp(envelope.date),
        "from": _mailboxes(envelope.from_),
        "to": _mailboxes(envelope.to),
        "cc": _mailboxes(envelope.cc),
        "subject": envelope.subject,
        "headers": list(envelope.headers),
    }
    material = identity or skipped_material(uidl, size, block or b"")
    return _fitted(_envelope_of(type_, account.id, material, uidl, time), data, max_bytes)


def account_event(type_: EventType, account: Account, *, reason: str, detail: str, time: datetime) -> OutgoingEvent:
    """The event of an account that began to fail or recovered; its time is what makes its id."""
    data = {"account": account.id, "tags": dict(account.tags), "reason": reason, "detail": detail[:_LONG_CHARS]}
    event = _envelope_of(type_, account.id, time.isoformat().encode(), None, time)
    return OutgoingEvent(event["id"], type_, _dumped(event, data))


def _envelope_of(type_: EventType, account_id: str, material: bytes, uidl: bytes | None, time: datetime) -> Json:
    """CloudEvents 1.0 context attributes; `subject` is absent where there is no UIDL."""
    subject = {"subject": uidl.decode() if uidl.isalnum() else quote(uidl, safe="")} if uidl else {}
    return {
        "specversion": "1.0",
        "id": event_id(type_, account_id, material),
        "source": f"mailsluice/{account_id}",
        "type": type_.value,
        **subject,
        "datacontenttype": "application/json",
        "time": _timestamp(time),
        "dataschema": schema_uri(type_),
    }


def _fitted(event: Json, data: Json, max_bytes: int) -> OutgoingEvent:
    text = _dumped(event, data)
    if len(text) > max_bytes:
        for drop in _DROPS:
            drop(data)
            text = _dumped(event, data)
            if len(text) <= max_bytes:
                break
    return OutgoingEvent(event["id"], event["type"], text)


def _drop_bodies(data: Json) -> None:
    if data.get("text") or data.get("html"):
        data["text"] = data["html"] = None
        _mark(data, "event_without_bodies", "too large for an event: the bodies are in the raw object")


def _drop_headers(data: Json) -> None:
    if data["headers"]:
        data["headers"] = []
        _mark(data, "event_without_headers", "too large for an event: the headers are in the raw object")


def _drop_the_long(data: Json) -> None:
    """What a sender can still make long: many addresses, references, defects, names, a giant subject."""
    for name in ("from", "sender", "reply_to", "to", "cc"):
        if name in data:
            data[name] = [each for each in data[name] if len(each["name"] + each["address"]) <= _LONG_CHARS][:_FEW]
    for name in ("subject", "message_id", "in_reply_to"):
        if data.get(name):
            data[name] = data[name][:_LONG_CHARS]
    if "references" in data:
        data["references"] = [each for each in data["references"] if len(each) <= _LONG_CHARS][:_FEW]
        data["defects"] = [{**each, "detail": each["detail"][:_LONG_CHARS]} for each in data["defects"]][:_FEW]
        data["attachments"] = [{**each, "filename_raw": None, "content_id": None} for each in data["attachments"]]
    _mark(data, "event_cut", "too large for an event: long fields are cut, the whole is in the raw object")


def _halve_attachments(data: Json) -> None:
    """The last resort, for hundreds of parts with long names and types."""
    if data.get("attachments"):
        data["attachments"] = data["attachments"][: len(data["attachments"]) // 2]
        if all(each["code"] != _ATTACHMENTS_LEFT_OUT for each in data["defects"]):
            _mark(data, _ATTACHMENTS_LEFT_OUT, "too large for an event: some attachments are left out, all are stored")


_DROPS: tuple[Callable[[Json], None], ...] = (
    _drop_bodies,
    _drop_headers,
    _drop_the_long,
    *[_halve_attachments] * _HALVINGS,
)


def _mark(data: Json, code: str, detail: str) -> None:
    if "defects" in data:
        data["defects"] = [*data["defects"], {"code": code, "part": None, "detail": detail}]


def _dumped(event: Json, data: Json) -> bytes:
    whole = {**event, "data": data}
    try:
        return to_json(whole)  # what json.dumps would write, in a fifth of the time
    except ValueError:  # lone surrogates
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), default=_rfc3339).encode("utf-8", "replace")


def _timestamp(time: datetime | None) -> datetime | None:
    """In UTC, as `_dumped` writes it; a date at the edge of the calendar that has none there is as good as no date."""
    if time is None or time.tzinfo is UTC:
        return time
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return None


def _rfc3339(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _mailboxes(addresses: Sequence[Address]) -> list[Json]:
    return [{"name": each.name, "address": each.address} for each in addresses]


def _stored(raw: RawObject) -> Json:
    return {"url": raw.url, "size": raw.size, "sha256": raw.sha256}


def _body(body: Body | None) -> Json | None:
    if body is None:
        return None
    return {"content": body.content, "truncated": body.truncated, "charset": body.charset}


def _attachment(stored: StoredPart) -> Json:
    part = stored.part
    return {
        "part": part.number,
        "parent": part.parent,
        "filename": part.filename,
        "filename_raw": part.filename_raw and part.filename_raw[:_LONG_CHARS],
        "content_type": part.content_type,
        "detected_type": stored.detected_type,
        "label": part.label,
        "disposition": part.disposition,
        "content_id": part.content_id,
        "size": stored.size,
        "sha256": stored.sha256,
        "url": stored.url,
        "scan": None if stored.verdict is None else {"verdict": stored.verdict.scan, "detail": stored.verdict.detail},
    }


def _uidl_text(uidl: bytes | None) -> str | None:
    return uidl.decode("ascii", "backslashreplace") if uidl else None
