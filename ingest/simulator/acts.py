"""What a scripted server does in the place of its ordinary answer: refuse, say something else, go on for ever.

Rules of this room:
- Values only, so that a script can be shared, compared and printed; `replies` performs them.
- Nothing is built before it is sent: a reply of a megabyte is a short piece and how often it comes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias


class Then(enum.Enum):
    """What follows a `Say`: the next command, nothing more for good, or the end of the connection."""

    GO_ON = "go on"
    SILENCE = "silence"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Refuse:
    """-ERR with this text, and a response code without its brackets (RFC 2449, 8) where the server sends such."""

    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """These very octets."""

    octets: bytes
    then: Then = Then.GO_ON


@dataclass(frozen=True, slots=True)
class Repeat:
    """`head`, then one piece again and again, then `tail`.

    `times` None: for as long as the client stays. `numbered`: the piece's %d counts from 1. `paced`: the server waits
    `Behaviour.pace_s` before each piece.
    """

    piece: bytes
    head: bytes = b""
    tail: bytes = b""
    times: int | None = None
    numbered: bool = False
    paced: bool = False


Act: TypeAlias = Refuse | Say | Repeat

SILENCE = Say(b"", Then.SILENCE)
CLOSE = Say(b"", Then.CLOSE)
