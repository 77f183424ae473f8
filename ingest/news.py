"""Listing against ledger: what is new, what may be deleted, what the ledger may forget. Pure.

Rules of this room:
- Absence from a listing is never evidence of deletion; only DELETED records, whose QUIT the server confirmed, go once a
  complete listing no longer shows them.
- What may be deleted comes from records read at the start of the session, so from an earlier one: the barrier.
- A message without UIDL is always new here; its content decides later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from ingest.ledger import NO_UIDL, LedgerImage, uidl_digest
from ingest.models import Kind, Listing, MessageRef, Record

SECONDS_PER_MINUTE = 60


def digest_of(ref: MessageRef) -> bytes:
    """Under what a listed message is remembered; all without UIDL share one digest of zeros."""
    return NO_UIDL if ref.uidl is None else uidl_digest(ref.uidl)


def new_messages(listing: Listing, image: LedgerImage) -> list[MessageRef]:
    """Listed occurrences that no record covers, in the order of the listing.

    A DELETED record covers nothing: what is still listed under its UIDL must show its content.
    """
    occurrences: Counter[bytes] = Counter()
    new = []
    for ref in listing.messages:
        if ref.uidl is None:
            new.append(ref)
            continue
        digest = uidl_digest(ref.uidl)
        occurrences[digest] += 1
        covered = sum(record.kind is not Kind.DELETED for record in image.of_uidl(digest))
        if occurrences[digest] > covered:
            new.append(ref)
    return new


def deletable(listing: Listing, image: LedgerImage, *, keep_s: int | None, grace_s: float) -> list[MessageRef]:
    """What may be deleted in this session.

    Only from a complete listing, only where every record of the UIDL is STORED and old enough by the ledger's clock,
    and only where the listing shows no more occurrences than are remembered.
    """
    if keep_s is None or not listing.complete:
        return []
    oldest = image.now_minutes - max(keep_s, grace_s) / SECONDS_PER_MINUTE
    listed = Counter(uidl_digest(ref.uidl) for ref in listing.messages if ref.uidl is not None)

    def may_go(digest: bytes) -> bool:
        records = image.of_uidl(digest)
        return len(records) >= listed[digest] and all(
            record.kind is Kind.STORED and record.minutes < oldest for record in records
        )

    return [ref for ref in listing.messages if ref.uidl is not None and may_go(uidl_digest(ref.uidl))]


def already_told(image: LedgerImage, ref: MessageRef, identity: bytes) -> bool:
    """Whether this content already has its event under the same UIDL (a copy, or a DELE that the server ignored)."""
    digest = digest_of(ref)
    return any(record.uidl == digest for record in image.of_identity(identity[:8]))


def renumbered(image: LedgerImage, listed: frozenset[bytes], identity: bytes) -> bool:
    """Whether this content stands in the ledger under a UIDL that is no longer listed.

    A match of 64 bits: the caller confirms it against the stored raw object before it withholds an event.
    """
    return any(record.uidl not in listed for record in image.of_identity(identity[:8]))


def after_session(listing: Listing, image: LedgerImage, deleted: Iterable[MessageRef]) -> list[Record] | None:
    """The records as they should stand after a confirmed QUIT, or None if nothing changes.

    What was deleted becomes DELETED; what was DELETED before and a complete listing no longer shows is dropped.
    """
    gone = {digest_of(ref) for ref in deleted}
    listed = {digest_of(ref) for ref in listing.messages}
    kept: list[Record] = []
    changed = False
    for record in image.records():
        if record.uidl in gone and record.kind is Kind.STORED:
            kept.append(replace(record, kind=Kind.DELETED))
            changed = True
        elif record.kind is Kind.DELETED and listing.complete and record.uidl not in listed:
            changed = True
        elif record.kind is Kind.DELETED and any(
            other.kind is not Kind.DELETED for other in image.of_uidl(record.uidl)
        ):
            changed = True  # its UIDL was listed again and has a newer record
        else:
            kept.append(record)
    return kept if changed else None
