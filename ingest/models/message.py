"""What the reader finds in a message."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Label(enum.StrEnum):
    """What a message or a part of it is, beside its type: a consumer may have to treat it in a way of its own."""

    SMIME_SIGNED = "smime_signed"
    """Signed (RFC 8551, 3.5): a multipart/signed, its signature part, or an application/pkcs7-mime."""
    SMIME_ENCRYPTED = "smime_encrypted"
    """Encrypted (RFC 8551, 3.3): an application/pkcs7-mime."""
    PGP_SIGNED = "pgp_signed"
    """Signed (RFC 3156, 5): a multipart/signed, its signature part, or a text with an armoured signature."""
    PGP_ENCRYPTED = "pgp_encrypted"
    """Encrypted (RFC 3156, 4): a multipart/encrypted, its content, or an armoured text."""
    CALENDAR = "calendar"
    """A meeting's request, reply or cancellation (RFC 6047)."""
    TNEF = "tnef"
    """A winmail.dat (MS-OXTNEF)."""
    REPORT = "report"
    """A delivery or disposition report (RFC 6522)."""


class Scan(enum.StrEnum):
    """What a virus scanner says of a part."""

    CLEAN = "clean"
    INFECTED = "infected"
    UNSCANNED = "unscanned"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A scanner's answer; `detail` is the signature's name, or why it was not scanned."""

    scan: Scan
    detail: str | None = None


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
    """The header fields an event carries, decoded. `date` is the sender's claim."""

    message_id: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    date: datetime | None = None
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
    What lies within a winmail.dat is a span over that part's decoded content instead.
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
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """What the reader found. `header_end` is the offset of the first octet after the top header block.

    `labels` are those of the message and of its parts, each once.
    """

    envelope: Envelope
    text: Body | None
    html: Body | None
    attachments: tuple[Part, ...]
    defects: tuple[Defect, ...]
    header_end: int
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredPart:
    """An attachment that lies in object storage: decoded size and SHA-256 (hex).

    `detected_type` is the media type that its first octets show, None where they show none; `verdict` is None where no
    scanner is set.
    """

    part: Part
    url: str
    size: int
    sha256: str
    detected_type: str | None = None
    verdict: Verdict | None = None
