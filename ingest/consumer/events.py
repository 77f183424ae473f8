"""Events as a consumer meets them: the models of the contract, with contents that can be opened.

Rules of this file:
- What a later version adds is passed over: unknown fields are dropped, an unknown type is an `UnknownEvent`.
- Where contents lie is put beside the fields behind the validation, as functools.cached_property would: a private
  attribute of pydantic's costs half as much again as all of a small event.
- What is of a known type and not as its model says is no event: ValueError.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from ingest.consumer.content import open_checked
from ingest.events import models
from ingest.ports import Contents

_CONTENTS = "contents"


class StoredObject(models.StoredObject):
    """An object in storage."""

    def open(self) -> BinaryIO:
        """Its octets, to be closed (`with`); StoreRefused at their end if they are not those of the event."""
        return _opened(self)


class Attachment(models.Attachment):
    """An attachment, its names and types as its sender claims."""

    def open(self) -> BinaryIO:
        """Its octets, to be closed (`with`); StoreRefused at their end if they are not those of the event."""
        return _opened(self)


class ReceivedData(models.ReceivedData):
    """A message that was retrieved, stored and parsed."""

    raw: StoredObject
    attachments: list[Attachment]  # type: ignore[assignment]  # a list that nobody appends to


class UnprocessedData(models.UnprocessedData):
    """A message that was skipped or quarantined."""

    raw: StoredObject | None


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime
    dataschema: str = ""


class Received(_Envelope):
    """mailsluice.message.received.v1."""

    data: ReceivedData


class Unprocessed(_Envelope):
    """mailsluice.message.skipped.v1, mailsluice.message.quarantined.v1."""

    data: UnprocessedData


class AccountEvent(_Envelope):
    """mailsluice.account.failing.v1, mailsluice.account.recovered.v1."""

    data: models.AccountData


class UnknownEvent(_Envelope):
    """Of a type that this version does not know."""

    data: dict[str, Any]


Event = Received | Unprocessed | AccountEvent | UnknownEvent

_MODELS: dict[str, type[Event]] = {
    models.EventType.RECEIVED: Received,
    models.EventType.SKIPPED: Unprocessed,
    models.EventType.QUARANTINED: Unprocessed,
    models.EventType.FAILING: AccountEvent,
    models.EventType.RECOVERED: AccountEvent,
}


def read_event(type_: str, json: bytes | str, contents: Contents) -> Event:
    """The event of a stream's entry; ValueError where it is none, with a line that repeats nothing of it."""
    try:
        event = _MODELS.get(type_, UnknownEvent).model_validate_json(json)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"no event of type {type_[:100]!r}: {where} {first['msg']}") from None
    if isinstance(event, Received):
        lies_in(event.data.raw, contents)
        for attachment in event.data.attachments:
            lies_in(attachment, contents)
    elif isinstance(event, Unprocessed) and event.data.raw is not None:
        lies_in(event.data.raw, contents)
    return event


def lies_in(stored: StoredObject | Attachment, contents: Contents) -> None:
    """Say where it is opened."""
    stored.__dict__[_CONTENTS] = contents


def contents_of(stored: StoredObject | Attachment) -> Contents | None:
    """Where it is opened; None if nobody said."""
    return stored.__dict__.get(_CONTENTS)


def _opened(stored: StoredObject | Attachment) -> BinaryIO:
    contents = contents_of(stored)
    if contents is None:
        raise ValueError("only what a consumer read or ingest.testing made can be opened")
    return open_checked(contents, stored.url, size=stored.size, sha256=stored.sha256)
