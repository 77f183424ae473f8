"""The form of an input: pieces, so that a mutation of one leaves the others where they are.

A piece is octets that arrive together, or, where it begins with ACT, something else that happens (a letter says what).
"""

from __future__ import annotations

from collections.abc import Iterable

BREAK = b"\x1e"
ACT = b"\x1c"
COMMAND, RESPONSE, TLS, ACROSS, GONE = (ACT + letter for letter in (b"C", b"R", b"T", b"A", b"G"))


def pieces(data: bytes) -> list[bytes]:
    """The pieces of an input."""
    return data.split(BREAK)


def score(parts: Iterable[bytes]) -> bytes:
    """An input of these pieces; what would split one of them is left out."""
    return BREAK.join(part.replace(BREAK, b"") for part in parts)
