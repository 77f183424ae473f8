"""The event as consumers see it: CloudEvents 1.0, structured JSON. The one source of its JSON Schema.

Rules of this room:
- A change here is a change of contract: additions only within v1.
- Times are RFC 3339 in UTC; sizes are octets; digests are lower-case hex.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class EventType(enum.StrEnum):
    """What happened."""

    RECEIVED = "mailsluice.message.received.v1"
    SKIPPED = "mailsluice.message.skipped.v1"
    QUARANTINED = "mailsluice.message.quarantined.v1"
    FAILING = "mailsluice.account.failing.v1"
    RECOVERED = "mailsluice.account.recovered.v1"


def schema_uri(type_: str) -> str:
    """The absolute URI that names the JSON Schema of a type; the schema itself ships in `ingest/events/schema/`."""
    return f"urn:mailsluice:schema:{type_.removeprefix('mailsluice.')}"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)


class Mailbox(_Value):
    """A display name ("" if none) and an address, decoded but not verified."""

    name: str
    address: str


class StoredObject(_Value):
    """An object in storage."""

    url: str
    size: int
    sha256: Hex64


class BodyText(_Value):
    """Decoded text. `truncated`: the whole is in the raw object. `charset`: what it was decoded from."""

    content: str
    truncated: bool
    charset: str


class ScanResult(_Value):
    """What a virus scanner said. `detail`: the signature's name, or why it was not scanned."""

    verdict: Literal["clean", "infected", "unscanned"]
    detail: str | None


class Attachment(_Value):
    """A leaf part that did not become text or html, stored as decoded. Names and types are the sender's claims."""

    part: str = Field(description="section number, as 2.1")
    parent: str | None = Field(description="number of the message/rfc822 or winmail.dat part this one lies in")
    filename: str | None = Field(description="made safe: no path, no control or bidi characters")
    filename_raw: str | None = Field(description="as the sender wrote it, decoded; cut at 1,024 characters")
    content_type: str
    detected_type: str | None = Field(description="what the content looks like; null where it can't be told")
    label: str | None = Field(description="as smime_signed, calendar, tnef")
    disposition: str | None
    content_id: str | None
    size: int
    sha256: Hex64
    url: str
    scan: ScanResult | None = Field(description="null where no scanner is set")


class Flaw(_Value):
    """Something wrong in the message that did not stop it."""

    code: str
    part: str | None
    detail: str


class ReceivedData(_Value):
    """A message that was retrieved, stored and parsed."""

    account: str
    tags: dict[str, str]
    uidl: str | None
    size: int = Field(description="octets on the wire after dot-unstuffing")
    sha256: Hex64
    identity: Hex64 = Field(description="SHA-256 without the headers that mail stores rewrite")
    raw: StoredObject
    message_id: str | None
    in_reply_to: str | None
    references: list[str]
    date: datetime | None = Field(description="as the sender claims")
    from_: list[Mailbox] = Field(alias="from")
    sender: list[Mailbox]
    reply_to: list[Mailbox]
    to: list[Mailbox]
    cc: list[Mailbox]
    subject: str | None
    headers: list[tuple[str, str]]
    text: BodyText | None
    html: BodyText | None
    attachments: list[Attachment]
    labels: list[str] = Field(description="of the message and its parts, as smime_signed, calendar, tnef")
    defects: list[Flaw]
    first_seen: datetime
    replay: bool


class UnprocessedData(_Value):
    """A message that was skipped or quarantined: why, and its envelope as far as it is known."""

    account: str
    tags: dict[str, str]
    reason: str = Field(description="a code, as message_too_large")
    detail: str
    uidl: str | None
    size: int
    raw: StoredObject | None
    message_id: str | None
    date: datetime | None
    from_: list[Mailbox] = Field(alias="from")
    to: list[Mailbox]
    cc: list[Mailbox]
    subject: str | None
    headers: list[tuple[str, str]]


class AccountData(_Value):
    """An account that began to fail, or recovered."""

    account: str
    tags: dict[str, str]
    reason: str
    detail: str


Data = TypeVar("Data", ReceivedData, UnprocessedData, AccountData)


class CloudEvent(_Value, Generic[Data]):
    """The CloudEvents 1.0 envelope. `subject` is the UIDL, percent-encoded, absent where there is none."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str | None = Field(default=None, exclude_if=lambda value: value is None)
    datacontenttype: Literal["application/json"] = "application/json"
    time: datetime
    dataschema: str
    data: Data
