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
from collections.abc import Iterable, Iterator

from ingest.models import Kind, Record

MAGIC = b"MSL1\0\0\0\0"
HEADER_BYTES = 16
RECORD_BYTES = 20
_MINUTES_MASK = (1 << 28) - 1
NO_IDENTITY = bytes(8)
UNCOVERING = frozenset({Kind.DELETED, Kind.DELETING, Kind.GONE, Kind.MISSED})


def uidl_digest(uidl: bytes) -> bytes:
    """The 8 octets under which a UIDL is remembered."""
    return hashlib.sha256(uidl).digest()[:8]


def new_header() -> bytes:
    """A header with a fresh generation."""
    return MAGIC + secrets.token_bytes(8)


def next_header(header: bytes) -> bytes:
    """The header after a rewrite: the same for each try of one rewrite, so that a lost reply can be recognised."""
    return MAGIC + hashlib.sha256(header).digest()[:8]


def extent_of(header: bytes, value_bytes: int) -> str:
    """What tells one version of a ledger from another: its generation and length, as text."""
    return f"{header.hex()}:{value_bytes}"


def encode(records: Iterable[Record]) -> bytes:
    """Records as they lie in the ledger."""
    return b"".join(
        r.uidl + r.identity + struct.pack(">I", (r.kind << 28) | (r.minutes & _MINUTES_MASK)) for r in records
    )


def decode(value: bytes) -> Iterator[Record]:
    """The records of a whole value (header included)."""
    for at in range(HEADER_BYTES, len(value), RECORD_BYTES):
        yield _record(value[at : at + RECORD_BYTES])


def _record(octets: bytes) -> Record:
    word = int.from_bytes(octets[16:], "big")
    return Record(octets[:8], octets[8:16], Kind(word >> 28), word & _MINUTES_MASK)


class LedgerImage:
    """One account's ledger as a poll sees it: loaded once, kept in step with its own commits.

    Records stay octets until somebody asks: a maildrop of 20,000 seen messages is looked through at every poll.

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
        self._by_uidl: dict[bytes, list[bytes]] = {}
        self._by_identity: dict[bytes, list[bytes]] | None = None
        self._count = 0
        self._append(value[HEADER_BYTES:])

    def __len__(self) -> int:
        return self._count

    @property
    def value_bytes(self) -> int:
        """Length of the value in Redis, 0 before the first commit."""
        return HEADER_BYTES + RECORD_BYTES * self._count if self.exists else 0

    @property
    def extent(self) -> str:
        """Generation and length as text; see `models.Grant`."""
        return extent_of(self.header if self.exists else b"", self.value_bytes)

    def records(self) -> list[Record]:
        """All records, grouped by UIDL digest in order of first sight."""
        return [_record(octets) for group in self._by_uidl.values() for octets in group]

    def of_uidl(self, uidl: bytes) -> list[Record]:
        """Records under a UIDL digest."""
        return [_record(octets) for octets in self._by_uidl.get(uidl, ())]

    def covering(self, uidl: bytes) -> int:
        """How many listed occurrences of this UIDL digest have their record."""
        return sum(octets[16] >> 4 not in UNCOVERING for octets in self._by_uidl.get(uidl, ()))

    def of_identity(self, identity: bytes) -> list[Record]:
        """Records under an identity digest (8 octets); none for the empty identity of seeded records."""
        if self._by_identity is None:
            self._by_identity = {}
            for group in self._by_uidl.values():
                for octets in group:
                    self._by_identity.setdefault(octets[8:16], []).append(octets)
        return [] if identity == NO_IDENTITY else [_record(octets) for octets in self._by_identity.get(identity, ())]

    def follow(self, records: Iterable[Record]) -> None:
        """These were appended to the ledger."""
        self.exists = True
        self._append(encode(records))

    def replace(self, header: bytes, records: Iterable[Record]) -> None:
        """The ledger was rewritten."""
        self.header, self.exists, self._count = header, True, 0
        self._by_uidl, self._by_identity = {}, None
        self._append(encode(records))

    def _append(self, octets: bytes) -> None:
        self._count += len(octets) // RECORD_BYTES
        for at in range(0, len(octets), RECORD_BYTES):
            record = octets[at : at + RECORD_BYTES]
            self._by_uidl.setdefault(record[:8], []).append(record)
            if self._by_identity is not None:
                self._by_identity.setdefault(record[8:16], []).append(record)
