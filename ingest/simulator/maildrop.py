"""A maildrop: messages with their UIDLs, and the lock of the one session that may hold it.

Rules of this room:
- A message is normalised once, when delivered: bare LF becomes CRLF and the last line ends in CRLF; a bare CR stays. So
  what LIST says is what RETR sends, to the octet.
- Messages are told apart by identity, not by UIDL: servers do give the same UIDL twice.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_BARE_LF = re.compile(rb"(?<!\r)\n")
_LISTABLE = re.compile("[\x00-\x09\x0b\x0c\x0e-\xff]+")


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message as it lies in the maildrop: its UIDL and its octets, lines ended by CRLF."""

    uidl: str
    octets: bytes


def normalise(raw: bytes) -> bytes:
    """The message as POP3 sends it: every line, the last one too, ends in CRLF. No octets stay none."""
    octets = _BARE_LF.sub(b"\r\n", raw)
    return octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"


class Maildrop:
    """Messages in order of delivery; safe to use from several threads.

    Args:
        messages: delivered first, in this order.
    """

    def __init__(self, messages: Iterable[bytes] = ()) -> None:
        self._messages: list[Message] = []
        self._delivered = 0
        self._held = False
        self._lock = threading.Lock()
        for raw in messages:
            self.deliver(raw)

    def __len__(self) -> int:
        with self._lock:
            return len(self._messages)

    def deliver(self, raw: bytes, uidl: str | None = None) -> str:
        """Add a message; sessions that are open don't see it (RFC 1939, 4).

        Args:
            raw: the message; a bare LF becomes CRLF.
            uidl: taken as given (one octet a character, Latin-1), even if it stands there already; None makes up one
                that depends on the order of delivery and the content alone.

        Returns:
            The UIDL.

        Raises:
            ValueError: a UIDL that a listing can't carry.
        """
        if uidl is not None and not _LISTABLE.fullmatch(uidl):
            raise ValueError("a UIDL is one or more octets without CR and LF")
        octets = normalise(raw)
        with self._lock:
            self._delivered += 1
            message = Message(uidl or f"{self._delivered:08x}{hashlib.sha256(octets).hexdigest()[:8]}", octets)
            self._messages.append(message)
        return message.uidl

    def uidls(self) -> list[str]:
        """The UIDLs, in order of delivery."""
        return [message.uidl for message in self.messages()]

    def messages(self) -> tuple[Message, ...]:
        """What lies in the maildrop now."""
        with self._lock:
            return tuple(self._messages)

    def remove(self, messages: Collection[Message]) -> None:
        """Remove these very messages; those that are gone already don't matter."""
        with self._lock:
            self._messages = [message for message in self._messages if message not in messages]

    def acquire(self) -> bool:
        """Take the exclusive lock of a session (RFC 1939, 4); False while another holds it."""
        with self._lock:
            free, self._held = not self._held, True
            return free

    def release(self) -> None:
        """Give the lock back."""
        with self._lock:
            self._held = False
