"""Listing against ledger: what is new, what may be deleted, what the ledger should say afterwards. Pure.

Rules of this room:
- Absence from a listing is never evidence of deletion. It makes a record GONE, so that content decides should its UIDL
  be listed again; a record goes only where several complete listings, far apart, lacked it (or where the server
  confirmed that we deleted its message), and few at a time.
- A record covers one listed occurrence of its UIDL. If more are listed than covered, all of them are new: which of them
  is which only their content tells.
- What may be deleted comes from records read at the start of the session, so from an earlier one: the barrier.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from ingest.ledger import UNCOVERING, LedgerImage, uidl_digest
from ingest.mime.identity import stable_header
from ingest.models import Kind, Listing, MessageRef, Record

SECONDS_PER_MINUTE = 60
_RECEIVED = re.compile(rb"(?im)^received[ \t]*:")
_HEADER_BYTES = 1 << 20
_LEAST_PRUNED = 100
_PRUNED_SHARE = 10
_GONE_OF_A_CONTENT = 8


@dataclass(frozen=True, slots=True)
class Pruning:
    """When a record may go: lacking in so many complete listings, each so long after the one before."""

    listings: int = 3
    apart_s: float = 30 * 86400


def content_digest(content: bytes) -> bytes:
    """What stands for the UIDL of a message that has none: 8 octets from its content (identity, or headers and size).

    With the identity digest beside it a record without UIDL holds 128 bits of the content.
    """
    return hashlib.sha256(b"no uidl\0" + content).digest()[:8]


def header_digest(block: bytes, size: int) -> bytes | None:
    """What stands for the UIDL of a message that has none, if its header block is one of a kind: 8 octets.

    From the header block and the size, both without the fields that mail stores rewrite. None without a Received
    header: two messages may have all else in common, but no server stamps two alike.
    """
    block = block[:_HEADER_BYTES].rstrip(b"\r\n") + b"\r\n"
    if not _RECEIVED.search(block):
        return None
    stable = stable_header(block)
    return content_digest(stable + b"%d" % (size - len(block) + len(stable)))


def skipped_digest(head: bytes | None, size: int) -> bytes:
    """What stands for the UIDL of a skipped message that has none: 8 octets from its header block and its size."""
    return content_digest((head or b"")[:_HEADER_BYTES].partition(b"\r\n\r\n")[0] + b"%d" % size)


def record_digest(uidl: bytes | None, content: memoryview, identity: bytes) -> bytes:
    """The digest that a read message is remembered under: of its UIDL, or of what stands for one."""
    if uidl is not None:
        return uidl_digest(uidl)
    block = bytes(content[:_HEADER_BYTES]).partition(b"\r\n\r\n")[0]
    return header_digest(block, len(content)) or content_digest(identity)


def size_digest(size: int) -> bytes:
    """What stands for the identity of a message that was not read: 8 octets from its size."""
    return hashlib.sha256(b"size\0%d" % size).digest()[:8]


def unread_digest(identity: bytes) -> bytes:
    """What stands for the identity of a message that could not be parsed: never that of one that was."""
    return hashlib.sha256(b"unread\0" + identity).digest()[:8]


class Digested:
    """A listing with the digest of each UIDL, worked out once, and only if something has to be looked up."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.messages = listing.messages
        self.count = listing.count
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
    def whole(self) -> bool:
        """Whether this is a complete listing in which every message has a UIDL: only that shows what is missing."""
        return self.complete and all(ref.uidl is not None for ref in self.messages)

    def fingerprint(self) -> str | None:
        """Of a complete listing whose messages all have UIDLs, in its order."""
        if not self.whole:
            return None
        return hashlib.sha256(b"\n".join(ref.uidl or b"" for ref in self.messages)).hexdigest()


def ripens_at(listing: Digested, image: LedgerImage, *, keep_s: int | None, grace_s: float) -> float | None:
    """When the first of the listed messages may be deleted, seconds since the epoch by the ledger's clock, if ever."""
    if keep_s is None:
        return None
    since = [minutes for name in listing.listed if (minutes := _stored_since(name, listing, image)) is not None]
    return min(since) * SECONDS_PER_MINUTE + max(keep_s, grace_s) if since else None


def new_messages(listing: Digested, image: LedgerImage) -> list[MessageRef]:
    """What must be looked at, in the order of the listing; a message without UIDL always."""
    uncovered = {name for name, count in listing.listed.items() if count > image.covering(name)}
    return [ref for ref, name in zip(listing.messages, listing.names, strict=True) if name is None or name in uncovered]


def deletable(listing: Digested, image: LedgerImage, *, keep_s: int | None, grace_s: float) -> list[MessageRef]:
    """What may be deleted in this session.

    Only from a complete listing, and only where each listed occurrence of the UIDL has its STORED record, old enough by
    the ledger's clock, and no other record covers it.
    """
    if keep_s is None or not listing.complete:
        return []
    oldest = image.now_minutes - max(keep_s, grace_s) / SECONDS_PER_MINUTE

    def may_go(name: bytes) -> bool:
        since = _stored_since(name, listing, image)
        return since is not None and since < oldest

    return [ref for ref, name in zip(listing.messages, listing.names, strict=True) if name is not None and may_go(name)]


def _stored_since(name: bytes, listing: Digested, image: LedgerImage) -> int | None:
    """Since which minute each listed occurrence of a UIDL has its STORED record, and no other record covers it."""
    records = [record for record in image.of_uidl(name) if record.kind not in UNCOVERING]
    if len(records) != listing.listed[name] or any(record.kind is not Kind.STORED for record in records):
        return None
    return max((record.minutes for record in records), default=None)


def renumbered(image: LedgerImage, listed: Counter[bytes], identity: bytes) -> bool:
    """Whether this content stands in the ledger under a UIDL that is listed less often, and was not deleted by us.

    A match of 64 bits: the caller confirms it against object storage before it withholds an event.
    """
    return any(
        _stands(record, image)
        and listed[record.uidl] < sum(_stands(each, image) for each in image.of_uidl(record.uidl))
        for record in image.of_identity(identity[:8])
    )


def _stands(record: Record, image: LedgerImage) -> bool:
    """Whether a record stands for a message of its own that we did not delete."""
    return record.kind not in UNCOVERING or (record.kind is not Kind.DELETED and not _replaced(record, image))


def _replaced(record: Record, image: LedgerImage) -> bool:
    """Whether the same content has a newer record, or the UIDL of a deleted message covers another one."""
    newer = [each for each in image.of_uidl(record.uidl) if each.kind not in UNCOVERING]
    return any(each.identity == record.identity or record.kind is Kind.DELETED for each in newer)


def uidl_of(ref: MessageRef) -> bytes:
    """The digest of a UIDL that is known to be there."""
    return uidl_digest(ref.uidl or b"")


def deleting(image: LedgerImage, refs: Iterable[MessageRef]) -> list[Record]:
    """The records as they should stand before these messages are deleted.

    What an earlier session left DELETING under one of their UIDLs is other content, and becomes GONE: this session's
    outcome is not its own.
    """
    names = set(map(uidl_of, refs))
    becomes = {Kind.STORED: Kind.DELETING, Kind.DELETING: Kind.GONE}
    return [
        replace(each, kind=becomes.get(each.kind, each.kind)) if each.uidl in names else each
        for each in image.records()
    ]


def after_session(
    listing: Digested,
    image: LedgerImage,
    outcome: Mapping[bytes, Kind] = MappingProxyType({}),
    *,
    earlier: Sequence[int] = (),
    pruning: Pruning = Pruning(),
) -> list[Record] | None:
    """The records as they should stand after a session, or None if nothing changes.

    What was DELETING in this session takes its `outcome` (by UIDL digest). Only a complete listing changes more: what
    it does not show becomes GONE (seeded: MISSED); a DELETED record goes. A record that a newer one of its content has
    replaced goes, too, and so does what was missing from all of the `earlier` listings (minutes, the oldest first) that
    pruning asks for; a share at a time, and none by an empty listing.
    """
    before = image.records()
    after = [changed for record in before if (changed := _after(record, listing, image, outcome)) is not None]
    if listing.whole and listing.messages:
        after = _few_of_a_content(after)
        if len(earlier) >= pruning.listings:
            after = _pruned(after, earlier[-pruning.listings])
    return after if after != before else None


def _after(record: Record, listing: Digested, image: LedgerImage, outcome: Mapping[bytes, Kind]) -> Record | None:
    """One record after a session; None if it goes."""
    if record.kind is Kind.DELETING and record.uidl in outcome:
        return replace(record, kind=outcome[record.uidl])
    if record.kind in UNCOVERING and _replaced(record, image):
        return None
    listed = listing.listed[record.uidl]
    if not listing.whole or listed >= max(1, image.covering(record.uidl)):
        return record
    # It is missing, or one of several under its UIDL is: which one, only their content tells.
    match record.kind:
        case Kind.DELETED:
            return None if not listed else record
        case Kind.GONE | Kind.MISSED:
            return record
        case Kind.SEEDED:
            return replace(record, kind=Kind.MISSED, minutes=image.now_minutes)
        case _:
            return replace(record, kind=Kind.GONE, minutes=image.now_minutes)


def _few_of_a_content(records: list[Record]) -> list[Record]:
    """With only the newest GONE records of each content: some servers make up UIDLs anew in each session."""
    of_content: dict[bytes, list[Record]] = {}
    for record in records:
        if record.kind is Kind.GONE:
            of_content.setdefault(record.identity, []).append(record)
    going: set[int] = set()
    for group in of_content.values():
        if len(group) > _GONE_OF_A_CONTENT:
            newest_last = sorted(group, key=lambda record: record.minutes)
            going.update(map(id, newest_last[:-_GONE_OF_A_CONTENT]))
    return [record for record in records if id(record) not in going] if going else records


def _pruned(records: list[Record], missing_since: int) -> list[Record]:
    """Without the longest missing ones, at most a share of all."""
    ripe = [record for record in records if record.kind in {Kind.GONE, Kind.MISSED} and record.minutes <= missing_since]
    most = max(_LEAST_PRUNED, len(records) // _PRUNED_SHARE)
    going = {id(record) for record in sorted(ripe, key=lambda record: record.minutes)[:most]}
    return [record for record in records if id(record) not in going]


def listings_seen(earlier: Sequence[int], now_minutes: int, pruning: Pruning) -> tuple[int, ...]:
    """The complete listings to remember after one more: far apart, and no more than pruning asks for."""
    if earlier and (now_minutes - earlier[-1]) * SECONDS_PER_MINUTE < pruning.apart_s:
        return tuple(earlier)
    return (*earlier, now_minutes)[-pruning.listings :]


def missed(image: LedgerImage, ref: MessageRef) -> bool:
    """Whether this was seeded, and missing from a listing since."""
    return any(record.kind is Kind.MISSED for record in image.of_uidl(uidl_of(ref)))


def seeding_lost(listing: Digested, image: LedgerImage, *, within_s: float) -> bool:
    """Whether most seeded messages went missing at once: their UIDLs were renumbered, or the mail is gone."""
    since = image.now_minutes - within_s / SECONDS_PER_MINUTE
    missing = listed = 0
    for record in image.records():
        if record.kind in {Kind.SEEDED, Kind.MISSED}:
            here = record.uidl in listing.listed
            listed += here
            missing += not here and (record.kind is Kind.SEEDED or record.minutes >= since)
    return listing.whole and missing > listed
