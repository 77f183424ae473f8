"""Event ids. They come from type, account and content alone, and from nothing in Redis: every repeat has the same id.

Rules of this room:
- A received or quarantined message: its identity digest. A skipped one, whose content was not read: UIDL and LIST
  size; without UIDL header block and size. An account's event: its time.
"""

from __future__ import annotations

import functools
import hashlib


def event_id(type_: str, account_id: str, material: bytes) -> str:
    """32 hex digits: the first 128 bits of SHA-256 over the length-prefixed fields."""
    return hashlib.sha256(_beginning(type_, account_id) + _prefixed(material)).hexdigest()[:32]


@functools.lru_cache(maxsize=256)
def _beginning(type_: str, account_id: str) -> bytes:
    return _prefixed(type_.encode()) + _prefixed(account_id.encode())


def _prefixed(field: bytes) -> bytes:
    return len(field).to_bytes(4, "big") + field


def skipped_material(uidl: bytes | None, size: int, block: bytes) -> bytes:
    """What identifies a message that was not read: its UIDL, or its header block where it has none, and its size."""
    name = hashlib.sha256(block).digest() if uidl is None and block else uidl or b""
    return name + b"\0" + str(size).encode()
