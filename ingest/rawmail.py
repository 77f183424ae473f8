"""Raw messages as they lie in storage: their keys, what their metadata says, and their octets back into a spool.

Rules of this room:
- Nothing is fetched whose octets are not those that its key names.
- What is wrong with one object is StoreRefused with a line about it; the others are none the worse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

from ingest.errors import StoreRefused, StoreUnavailable
from ingest.hands import Crew
from ingest.ports import ObjectStore, Spool, SpoolFactory
from ingest.retry import Steps

_KEY = re.compile(r"raw/([^/]+)/([0-9a-f]{2})/(\2[0-9a-f]{62})\.eml")
_READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A raw message by its key and metadata; UIDL and event are those that its content was stored for first."""

    key: str
    account: str
    sha256: bytes
    uidl: bytes | None
    event_id: str
    first_seen: datetime


class RawMail:
    """Reads what the pipeline stored.

    Args:
        store, spools: from where, and into what.
        steps: tries one step again while the store is only unavailable.
        crew: who waits for the store; without one the caller does.
    """

    def __init__(self, *, store: ObjectStore, spools: SpoolFactory, steps: Steps, crew: Crew | None = None) -> None:
        self._store = store
        self._spools = spools
        self._steps = steps
        self._crew = crew or Crew()

    def keys(self, account_id: str | None = None, *, after: str = "") -> Iterator[str]:
        """Keys of raw messages in the store's order, those of an account together, behind the key `after`.

        A listing that breaks off goes on behind the last key it gave.
        """
        prefix = f"raw/{account_id}/" if account_id else "raw/"
        last = after
        listing: Iterator[str] | None = None

        def following() -> str | None:
            nonlocal listing
            listing = listing or self._store.keys(prefix, after=last)
            try:
                return next(listing, None)
            except StoreUnavailable:
                listing = None
                raise

        while (key := self._steps(following)) is not None:
            last = key
            if _KEY.fullmatch(key):
                yield key

    def following(self, keys: Iterable[str], beat: Callable[[], None]) -> Iterator[str]:
        """The same keys, for the holder of a lease."""
        each = iter(keys)
        while (key := self._crew.wait(beat, lambda _: next(each, None))) is not None:
            yield key

    def look(self, key: str, beat: Callable[[], None]) -> RawMessage:
        """What key and metadata say; StoreRefused where that is not enough."""
        info = self._crew.wait(beat, lambda move: self._steps.beating(move)(self._store.head, key))
        found = _KEY.fullmatch(key)
        if info is None or found is None:
            raise StoreRefused(f"{key}: there is no such raw message")
        try:
            first_seen = datetime.fromisoformat(info.metadata["first-seen"])
            owner = info.metadata["account"]
        except (KeyError, ValueError):
            raise StoreRefused(
                f"{key}: its metadata is missing or damaged, so when it came is not known",
                todo="restore the object together with its metadata",
            ) from None
        if owner != found[1]:
            raise StoreRefused(f"{key}: its metadata is of another account, {owner[:64]}", todo="see who put it there")
        if first_seen.tzinfo is None:
            first_seen = first_seen.replace(tzinfo=UTC)
        uidl = unquote_to_bytes(info.metadata.get("uidl", "")) or None
        event_id = info.metadata.get("event-id", "")
        return RawMessage(key, owner, bytes.fromhex(found[3]), uidl, event_id, first_seen)

    def fetch(self, message: RawMessage, beat: Callable[[], None]) -> Spool:
        """Its octets in a sealed spool; StoreRefused where they are not what the key names."""
        spool = self.read(message.key, beat)
        if spool.sha256 == message.sha256:
            return spool
        found = spool.sha256.hex()
        spool.close()
        raise StoreRefused(f"{message.key}: its content is another, of SHA-256 {found}", todo="restore the object")

    def read(self, key: str, beat: Callable[[], None]) -> Spool:
        """The octets of an object in a sealed spool, whatever they are."""
        return self._crew.wait(beat, lambda move: self._steps.beating(move)(self._read, key, move))

    def _read(self, key: str, beat: Callable[[], None]) -> Spool:
        spool = self._spools()
        try:
            with self._store.open(key) as reader:
                while chunk := reader.read(_READ_BYTES):
                    spool.write(chunk)
                    beat()
            spool.seal()
        except BaseException:
            spool.close()
            raise
        return spool
