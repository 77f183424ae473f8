"""The event as consumers see it: CloudEvents 1.0, structured JSON. The one source of its JSON Schema.

Rules of this room:
- A change here is a change of contract: additions only within v1.
- Every field says what it holds: its description is what a consumer sees in an editor or in generated code.
- Times are RFC 3339 in UTC; sizes are octets; digests are lower-case hex.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Octets = Annotated[int, Field(ge=0)]


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
    """A display name and an address, decoded but not verified."""

    name: str = Field(description='decoded; "" if there is none')
    address: str = Field(description="local part and domain; not verified")


class StoredObject(_Value):
    """An object in storage."""

    url: str = Field(description="where it lies: s3://bucket/key or file:///path")
    size: Octets = Field(description="octets")
    sha256: Hex64 = Field(description="of those octets")


class BodyText(_Value):
    """Decoded text."""

    content: str = Field(description="the text; of flowed text the lines are joined")
    truncated: bool = Field(description="true where it is cut; the whole is in the raw object")
    charset: str = Field(description="what it was decoded from")


class ScanResult(_Value):
    """What a virus scanner said."""

    verdict: Literal["clean", "infected", "unscanned"] = Field(description="what was found")
    detail: str | None = Field(description="the signature's name, or why it was not scanned")


class Attachment(_Value):
    """A leaf part that did not become text or html, stored as decoded. Names and types are the sender's claims."""

    part: str = Field(description="section number, as 2.1")
    parent: str | None = Field(description="number of the message/rfc822 or winmail.dat part this one lies in")
    filename: str | None = Field(description="made safe: no path, no control or bidi characters")
    filename_raw: str | None = Field(description="as the sender wrote it, decoded; cut at 1,024 characters")
    content_type: str = Field(description="the media type that the sender claims")
    detected_type: str | None = Field(description="what the content looks like; null where it can't be told")
    label: str | None = Field(description="as smime_signed, calendar, tnef")
    disposition: str | None = Field(description="as inline or attachment; what the sender claims")
    content_id: str | None = Field(description="what HTML refers to it by")
    size: Octets = Field(description="octets of the decoded content")
    sha256: Hex64 = Field(description="of the decoded content")
    url: str = Field(description="where the decoded content lies: s3://bucket/key or file:///path")
    scan: ScanResult | None = Field(description="null where no scanner is set")


class Flaw(_Value):
    """Something wrong in the message that did not stop it."""

    code: str = Field(description="as charset_unknown")
    part: str | None = Field(description="section number; null for the message")
    detail: str = Field(description="one line for a person")


AccountId = Annotated[str, Field(description="the account's id")]
Tags = Annotated[dict[str, str], Field(description="copied from the accounts file")]
Uidl = Annotated[str | None, Field(description="as the server gave it; octets beyond ASCII as \\xhh; null if none")]
MessageId = Annotated[str | None, Field(description="with its angle brackets")]
SentDate = Annotated[datetime | None, Field(description="as the sender claims")]
Mailboxes = Annotated[list[Mailbox], Field(description="of the field of this name; nothing is verified")]
Subject = Annotated[str | None, Field(description="decoded")]
Headers = Annotated[list[tuple[str, str]], Field(description="name and value of each field, decoded, in order")]
Detail = Annotated[str, Field(description="one line for a person")]


class ReceivedData(_Value):
    """A message that was retrieved, stored and parsed."""

    account: AccountId
    tags: Tags
    uidl: Uidl
    size: Octets = Field(description="octets on the wire after dot-unstuffing")
    sha256: Hex64 = Field(description="of those octets")
    identity: Hex64 = Field(description="SHA-256 without the headers that mail stores rewrite")
    raw: StoredObject = Field(description="the stored message")
    message_id: MessageId
    in_reply_to: MessageId
    references: list[str] = Field(description="message ids, with their angle brackets")
    date: SentDate
    from_: Mailboxes = Field(alias="from")
    sender: Mailboxes
    reply_to: Mailboxes
    to: Mailboxes
    cc: Mailboxes
    subject: Subject
    headers: Headers
    text: BodyText | None = Field(description="the first plain text that is no attachment")
    html: BodyText | None = Field(description="the first HTML that is no attachment")
    attachments: list[Attachment] = Field(description="each part that did not become text or html")
    labels: list[str] = Field(description="of the message and its parts, as smime_signed, calendar, tnef")
    defects: list[Flaw] = Field(description="what was wrong and did not stop it")
    first_seen: datetime = Field(description="when the poll that found it began")
    replay: bool = Field(
        description="true where it was made again from storage: a repeat, with the id of the first time"
    )


class UnprocessedData(_Value):
    """A message that was skipped or quarantined: why, and its envelope as far as it is known."""

    account: AccountId
    tags: Tags
    reason: str = Field(description="a code, as message_too_large")
    detail: Detail
    uidl: Uidl
    size: Octets = Field(description="octets, as the server says or as they came")
    raw: StoredObject | None = Field(description="the stored message; null where nothing was stored")
    message_id: MessageId
    date: SentDate
    from_: Mailboxes = Field(alias="from")
    to: Mailboxes
    cc: Mailboxes
    subject: Subject
    headers: Headers


class AccountData(_Value):
    """An account that began to fail, or recovered."""

    account: AccountId
    tags: Tags
    reason: str = Field(description="a code, as credentials, renumbered or recovered")
    detail: Detail


Data = TypeVar("Data", ReceivedData, UnprocessedData, AccountData)


class CloudEvent(_Value, Generic[Data]):
    """The CloudEvents 1.0 envelope."""

    specversion: Literal["1.0"] = Field(description="of CloudEvents")
    id: str = Field(pattern=r"^[0-9a-f]{32}$", description="from type, account and content: a repeat has the same")
    source: str = Field(description="mailsluice/ and the account's id")
    type: str = Field(description="what happened")
    subject: str | SkipJsonSchema[None] = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="the UIDL, percent-encoded; absent where there is none, and in events of accounts",
    )
    datacontenttype: Literal["application/json"] = Field(description="of data")
    time: datetime = Field(description="when the event was built, just before it was committed")
    dataschema: str = Field(description="the name of this schema")
    data: Data = Field(description="what it is about")
