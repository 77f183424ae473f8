"""The ledger's record string, and its image in memory. Pure: bytes in, records out.

Rules of this room:
- A value is a header of 16 octets (b"MSL1", 4 reserved, generation of 8) and records of 20 octets each: UIDL digest 8,
  identity digest 8, then 4 big-endian: kind in the upper 4 bits, minutes since the epoch in the lower 28.
- One record for each listed occurrence. Length and generation are the optimistic lock: a writer whose image is not the
  ledger is refused.
- Digests are keyed by nothing: they are looked up, never trusted to be unique alone (see docs/adr).
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Iterable, Iterator, Sequence

from ingest.models import Kind, Record

MAGIC = b"MSL1\0\0\0\0"
HEADER_BYTES = 16
RECORD_BYTES = 20
_MINUTES_MASK = (1 << 28) - 1
NO_IDENTITY = bytes(8)


def uidl_digest(uidl: bytes) -> bytes:
    """The 8 octets under which a UIDL is remembered."""
    return hashlib.sha256(uidl).digest()[:8]


def new_header() -> bytes:
    """A header with a fresh generation."""
    return MAGIC + secrets.token_bytes(8)


def next_header(header: bytes) -> bytes:
    """The header after a rewrite: the same for each try of one rewrite, so that a lost reply can be recognised."""
    return MAGIC + hashlib.sha256(header).digest()[:8]


def encode(records: Iterable[Record]) -> bytes:
    """Records as they lie in the ledger."""
    return b"".join(
        r.uidl + r.identity + struct.pack(">I", (r.kind << 28) | (r.minutes & _MINUTES_MASK)) for r in records
    )


def decode(value: bytes) -> Iterator[Record]:
    """The records of a whole value (header included)."""
    for uidl, identity, word in struct.iter_unpack(">8s8sI", memoryview(value)[HEADER_BYTES:]):
        yield Record(uidl, identity, Kind(word >> 28), word & _MINUTES_MASK)


class LedgerImage:
    """One account's ledger as a poll sees it: loaded once, kept in step with its own commits.

    Args:
        value: the whole value, or b"" where there is none yet (a fresh generation is made up then).
        now_minutes: the ledger's own clock when it was read, minutes since the epoch.
    """

    def __init__(self, value: bytes, now_minutes: int = 0) -> None:
        if value and (len(value) < HEADER_BYTES or value[: len(MAGIC)] != MAGIC):
            raise ValueError("not a ledger of this version")
        if value and (len(value) - HEADER_BYTES) % RECORD_BYTES:
            raise ValueError("the ledger ends in a broken record")
        self.header = value[:HEADER_BYTES] or new_header()
        self.exists = bool(value)
        self.now_minutes = now_minutes
        self._by_uidl: dict[bytes, list[Record]] = {}
        self._by_identity: dict[bytes, list[Record]] = {}
        self._count = 0
        self._index(decode(value) if value else ())

    def __len__(self) -> int:
        return self._count

    @property
    def value_bytes(self) -> int:
        """Length of the value in Redis, 0 before the first commit."""
        return HEADER_BYTES + RECORD_BYTES * self._count if self.exists else 0

    def records(self) -> list[Record]:
        """All records, grouped by UIDL digest in order of first sight."""
        return [record for group in self._by_uidl.values() for record in group]

    def of_uidl(self, uidl: bytes) -> Sequence[Record]:
        """Records under a UIDL digest."""
        return self._by_uidl.get(uidl, ())

    def of_identity(self, identity: bytes) -> Sequence[Record]:
        """Records under an identity digest (8 octets); none for the empty identity of seeded records."""
        return () if identity == NO_IDENTITY else self._by_identity.get(identity, ())

    def follow(self, records: Iterable[Record]) -> None:
        """These were appended to the ledger."""
        self.exists = True
        self._index(records)

    def replace(self, header: bytes, records: Iterable[Record]) -> None:
        """The ledger was rewritten."""
        self.header, self.exists, self._count = header, True, 0
        self._by_uidl, self._by_identity = {}, {}
        self._index(records)

    def _index(self, records: Iterable[Record]) -> None:
        for record in records:
            self._by_uidl.setdefault(record.uidl, []).append(record)
            if record.identity != NO_IDENTITY:
                self._by_identity.setdefault(record.identity, []).append(record)
            self._count += 1
