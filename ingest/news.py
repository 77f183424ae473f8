"""Listing against ledger: what is new, what may be deleted, what the ledger should say afterwards. Pure.

Rules of this room:
- Absence from a listing is never evidence of deletion, and drops no record; only DELETED records, whose QUIT the server
  confirmed, go once a complete listing no longer shows them.
- A record covers one listed occurrence of its UIDL. If more are listed than covered, all of them are new: which of them
  is which only their content tells.
- What may be deleted comes from records read at the start of the session, so from an earlier one: the barrier.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import cached_property

from ingest.ledger import UNCOVERING, LedgerImage, uidl_digest
from ingest.models import Kind, Listing, MessageRef, Record

SECONDS_PER_MINUTE = 60


def content_digest(content: bytes) -> bytes:
    """What stands for the UIDL of a message that has none: 8 octets from its content (identity, or headers and size).

    With the identity digest beside it a record without UIDL holds 128 bits of the content.
    """
    return hashlib.sha256(b"no uidl\0" + content).digest()[:8]


class Digested:
    """A listing with the digest of each UIDL, worked out once, and only if something has to be looked up."""

    def __init__(self, listing: Listing) -> None:
        self.messages = listing.messages
        self.complete = listing.complete

    @cached_property
    def names(self) -> list[bytes | None]:
        """Digests in the order of the listing, None where there is no UIDL."""
        return [None if ref.uidl is None else uidl_digest(ref.uidl) for ref in self.messages]

    @cached_property
    def listed(self) -> Counter[bytes]:
        """How often each digest is listed."""
        return Counter(name for name in self.names if name is not None)

    @cached_property
    def all_named(self) -> bool:
        """Whether every message has a UIDL."""
        return all(ref.uidl is not None for ref in self.messages)

    def fingerprint(self) -> str | None:
        """Of a complete listing whose messages all have UIDLs, in its order."""
        if not self.complete or not self.all_named:
            return None
        return hashlib.sha256(b"\n".join(ref.uidl or b"" for ref in self.messages)).hexdigest()


def new_messages(listing: Digested, image: LedgerImage) -> list[MessageRef]:
    """What must be looked at, in the order of the listing; a message without UIDL always."""
    uncovered = {name for name, count in listing.listed.items() if count > image.covering(name)}
    return [ref for ref, name in zip(listing.messages, listing.names, strict=True) if name is None or name in uncovered]


def deletable(listing: Digested, image: LedgerImage, *, keep_s: int | None, grace_s: float) -> list[MessageRef]:
    """What may be deleted in this session.

    Only from a complete listing, and only where each listed occurrence of the UIDL has its STORED record, old enough by
    the ledger's clock, and no other record stands under it.
    """
    if keep_s is None or not listing.complete:
        return []
    oldest = image.now_minutes - max(keep_s, grace_s) / SECONDS_PER_MINUTE

    def may_go(name: bytes) -> bool:
        records = image.of_uidl(name)
        return len(records) == listing.listed[name] and all(
            record.kind is Kind.STORED and record.minutes < oldest for record in records
        )

    return [ref for ref, name in zip(listing.messages, listing.names, strict=True) if name is not None and may_go(name)]


def renumbered(image: LedgerImage, listed: Collection[bytes], identity: bytes) -> bool:
    """Whether this content stands in the ledger under a UIDL that is no longer listed, and was not deleted by us.

    A match of 64 bits: the caller confirms it against the stored raw object before it withholds an event.
    """
    return any(
        record.uidl not in listed and record.kind is not Kind.DELETED for record in image.of_identity(identity[:8])
    )


def after_session(
    listing: Digested, image: LedgerImage, deleted: Iterable[MessageRef], *, keeps: bool
) -> list[Record] | None:
    """The records as they should stand after a confirmed QUIT, or None if nothing changes.

    What was deleted becomes DELETED; what was DELETED before and a complete listing no longer shows, or has a newer
    record, is dropped. Where mail is deleted (not `keeps`), a STORED record that a complete listing does not show
    becomes GONE: should its UIDL be listed again, it may be another message, which must not be deleted unread.
    """
    going = {uidl_digest(ref.uidl) for ref in deleted if ref.uidl is not None}
    listed = listing.listed
    all_named = listing.complete and listing.all_named
    before = image.records()
    after: list[Record] = []
    for record in before:
        if record.kind is Kind.STORED and record.uidl in going:
            after.append(replace(record, kind=Kind.DELETED))
        elif record.kind is Kind.STORED and all_named and not keeps and record.uidl not in listed:
            after.append(replace(record, kind=Kind.GONE))
        elif record.kind in UNCOVERING and _replaced(record, image):
            continue
        elif record.kind is not Kind.DELETED or not all_named or record.uidl in listed:
            after.append(record)
    return after if after != before else None


def _replaced(record: Record, image: LedgerImage) -> bool:
    return image.covering(record.uidl) > 0
