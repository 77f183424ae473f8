"""Whether a glance will do, and whether it found the maildrop as it was. Pure.

Rules of this room:
- A glance (STAT and the last message's UIDL) is no proof: a message in the middle may have been swapped for another.
  So it counts only until the next full listing is due, and only while every listed message has its record.
- It never puts off a delete: when one is due, the listing is read.
"""

from __future__ import annotations

import hashlib

from ingest.models import AccountState, Listing, Sight


def sight_of(listing: Listing, *, least: int) -> Sight | None:
    """What a glance would have seen when this was listed; None where it could not tell, or of fewer than `least`.

    A listing of a few messages takes no more than a segment or two, and is certain.
    """
    if not listing.complete or listing.octets is None or len(listing.messages) < max(1, least):
        return None
    last = listing.messages[-1]
    return Sight(listing.count, listing.octets, last.number, last.uidl) if last.uidl is not None else None


def glance_mark(sight: Sight) -> str:
    """What is remembered of a sight: the number of its message, and a digest of all of it."""
    seen = b"%d %d %d " % (sight.count, sight.octets or 0, sight.number) + (sight.uidl or b"").strip()
    return f"{sight.number}:{hashlib.sha256(seen).hexdigest()[:32]}"


def glance_at(state: AccountState, settled: str, *, now: float, full_listing_s: float) -> int | None:
    """The number of the message to glance at, or None where a full listing is due.

    Args:
        state: what the account's polls remember.
        settled: how the fingerprint ends while ledger and account are as they were when it was taken.
        now: seconds since the epoch, by the clock of the state.
        full_listing_s: longest time between two full listings.
    """
    if state.glance is None or state.fingerprint is None or not state.fingerprint.endswith(settled):
        return None
    if state.listed_at is None or not 0 <= now - state.listed_at < full_listing_s or delete_due(state, now):
        return None
    number = state.glance.partition(":")[0]
    return int(number) if number.isdecimal() else None


def delete_due(state: AccountState, now: float) -> bool:
    """Whether something that was listed may be deleted by now."""
    return state.delete_at is not None and state.delete_at <= now
