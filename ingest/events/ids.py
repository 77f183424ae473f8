"""Event ids. They come from type, account and content alone, and from nothing in Redis: every repeat has the same id.

Rules of this room:
- A received or quarantined message: its identity digest. A skipped one, whose content was not read: UIDL and LIST
  size. An account's event: its time.
"""

from __future__ import annotations

import hashlib


def event_id(type_: str, account_id: str, material: bytes) -> str:
    """32 hex digits: the first 128 bits of SHA-256 over the length-prefixed fields."""
    digest = hashlib.sha256()
    for field in (type_.encode(), account_id.encode(), material):
        digest.update(len(field).to_bytes(4, "big") + field)
    return digest.hexdigest()[:32]


def skipped_material(uidl: bytes | None, size: int) -> bytes:
    """What identifies a message that was not read."""
    return (uidl or b"") + b"\0" + str(size).encode()
