"""Event ids. They come from type, account and content alone, and from nothing in Redis: every repeat has the same id.

Rules of this room:
- A received or quarantined message: its identity digest. A skipped one, whose content was not read: UIDL and LIST
  size; without UIDL header block and size. An account's event: its time.
"""

from __future__ import annotations

import hashlib


def event_id(type_: str, account_id: str, material: bytes) -> str:
    """32 hex digits: the first 128 bits of SHA-256 over the length-prefixed fields."""
    digest = hashlib.sha256()
    for field in (type_.encode(), account_id.encode(), material):
        digest.update(len(field).to_bytes(4, "big") + field)
    return digest.hexdigest()[:32]


def skipped_material(uidl: bytes | None, size: int, block: bytes) -> bytes:
    """What identifies a message that was not read: its UIDL, or its header block where it has none, and its size."""
    name = hashlib.sha256(block).digest() if uidl is None and block else uidl or b""
    return name + b"\0" + str(size).encode()
