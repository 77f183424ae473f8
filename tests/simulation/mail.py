"""Maildrops as they really are: what was delivered, under which UIDL, and what became of it.

Rules of this file:
- `Mail` is one delivered message. Renumbering changes its UIDL, stores rewrite its Status field; it stays itself.
- Message-ID carries the serial of the content, by which an event is told from another.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field


@dataclass(eq=False)
class Mail:
    """One message in a maildrop."""

    serial: int
    content: bytes  # without what stores rewrite
    uidl: bytes
    delivered_at: float
    heals_after: int | None = 0  # parsings that fail; None: all
    too_large: bool = False
    status: bytes = b""
    said_size: int | None = None  # what LIST says, where it lies
    uidls: list[bytes] = field(default_factory=list)
    handed: set[str] = field(default_factory=set)  # SHA-256 of what was handed over whole
    refused: int = 0
    failed: int = 0  # parsings that failed
    gone: str = ""  # why it is no longer in the maildrop

    def __post_init__(self) -> None:
        self.uidls.append(self.uidl)
        self.identity = hashlib.sha256(self.content).hexdigest()

    @property
    def octets(self) -> bytes:
        return self.status + self.content

    @property
    def size(self) -> int:
        return self.said_size or len(self.octets)

    def renumber(self, uidl: bytes) -> None:
        self.uidl = uidl
        self.uidls.append(uidl)

    def __repr__(self) -> str:
        return f"mail {self.serial} ({self.uidl.decode()})"


def compose(serial: int, *, large: bool, attachment: bool, filler: int) -> bytes:
    """A message of its own."""
    head = (
        f"Message-ID: <{serial}@simulated.example>\r\nFrom: a@example.com\r\nTo: b@example.com\r\n"
        f"Subject: message {serial}\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
    )
    text = f"message {serial}\r\n.\r\n..dots {'.' * (serial % 3)}\r\n" + "x" * filler + "\r\n"
    if large:
        text += "large\r\n" * (700 + serial)
    if not attachment:
        return f"{head}\r\n{text}".encode()
    octets = base64.encodebytes(b"attachment %d " % serial * 9).replace(b"\n", b"\r\n").decode()
    return (
        f'{head}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b{serial}"\r\n\r\n'
        f"--b{serial}\r\n\r\n{text}\r\n--b{serial}\r\nContent-Type: application/octet-stream; name=a.bin\r\n"
        f"Content-Transfer-Encoding: base64\r\n\r\n{octets}\r\n--b{serial}--\r\n"
    ).encode()


@dataclass
class Maildrop:
    """One account's maildrop and the server it lies on."""

    account_id: str
    pipelining: bool
    capa: bool
    top: bool
    exclusive: bool
    mails: list[Mail] = field(default_factory=list)
    all: list[Mail] = field(default_factory=list)
    held_by: object | None = None
    held_until: float = 0.0  # by a connection that broke, as the server sees it
    numbered: int = 0
    free: set[bytes] = field(default_factory=set, repr=False)  # UIDLs that the client knows to be without a message

    def fresh_uidl(self) -> bytes:
        self.numbered += 1
        return b"%s-%d" % (self.account_id.encode(), self.numbered)

    def add(self, mail: Mail) -> None:
        self.mails.append(mail)
        self.all.append(mail)

    def remove(self, mail: Mail, why: str) -> None:
        self.mails.remove(mail)
        mail.gone = why
