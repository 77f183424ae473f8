"""What the reader finds in a message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox (RFC 5322, 3.4): decoded display name or "", and addr-spec as written."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Defect:
    """Something wrong in a message that did not stop it. `part` is the part number or None for the whole."""

    code: str
    part: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """The header fields an event carries, decoded. `received`: newest Received date; `date`: the sender's claim."""

    message_id: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    date: datetime | None = None
    received: datetime | None = None
    from_: tuple[Address, ...] = ()
    sender: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    subject: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """Decoded text, cut at a limit without splitting a character."""

    content: str
    truncated: bool
    charset: str


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf (or message/rfc822) part as a span over the message's buffer.

    `number` is the IMAP-like section ("2.1", RFC 3501 6.4.5); `parent` the number of the message/rfc822 part it lies
    in, if any. `start` and `end` delimit the still encoded content; `encoding` is the lower-case transfer encoding.
    """

    number: str
    parent: str | None
    content_type: str
    charset: str | None
    disposition: str | None
    filename: str | None
    filename_raw: str | None
    content_id: str | None
    encoding: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """What the reader found. `header_end` is the offset of the first octet after the top header block."""

    envelope: Envelope
    text: Body | None
    html: Body | None
    attachments: tuple[Part, ...]
    defects: tuple[Defect, ...]
    header_end: int


@dataclass(frozen=True, slots=True)
class StoredPart:
    """An attachment that lies in object storage: decoded size and SHA-256 (hex)."""

    part: Part
    url: str
    size: int
    sha256: str
