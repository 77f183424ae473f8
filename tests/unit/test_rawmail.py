"""Raw messages read back from a store that has its troubles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from objects import put

from ingest.adapters.memory_store import MemoryStore
from ingest.adapters.spool import Spools
from ingest.errors import StoreRefused, StoreUnavailable
from ingest.rawmail import RawMail
from ingest.retry import Steps

GIVEN = {"account": "a", "uidl": "", "first-seen": "2026-01-31T10:00:00+00:00"}


class Breaking(MemoryStore):
    """A store whose listings break off after each two keys, and whose first GET fails."""

    def __init__(self) -> None:
        super().__init__()
        self.listings = 0
        self.opened = 0

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        self.listings += 1
        for count, key in enumerate(super().keys(prefix, after=after)):
            if count == 2:
                raise StoreUnavailable("the connection was closed")
            yield key

    def open(self, key: str):  # noqa: ANN201  # as the store's
        self.opened += 1
        if self.opened == 1:
            raise StoreUnavailable("the connection was closed")
        return super().open(key)


def stored(store: MemoryStore, content: bytes, **metadata: str) -> str:
    digest = hashlib.sha256(content).hexdigest()
    key = f"raw/a/{digest[:2]}/{digest}.eml"
    put(store, content, key=key, **(GIVEN | metadata))
    return key


def nothing() -> None:
    pass


def raw_mail(store: MemoryStore, directory: Path, patience_s: float = 5) -> RawMail:
    return RawMail(store=store, spools=Spools(directory), steps=Steps(patience_s, sleep=lambda _: None))


def test_a_listing_that_breaks_off_goes_on_behind_the_last_key(tmp_path: Path) -> None:
    store = Breaking()
    keys = sorted(stored(store, b"%d" % n) for n in range(7))
    assert list(raw_mail(store, tmp_path).keys("a")) == keys
    assert store.listings == 4


def test_a_listing_that_stays_broken_is_the_store_s_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Breaking()
    for n in range(3):
        stored(store, b"%d" % n)
    listing = raw_mail(store, tmp_path, patience_s=0).keys("a")
    with pytest.raises(StoreUnavailable):
        list(listing)


def test_a_message_is_read_again_when_the_store_was_away(tmp_path: Path) -> None:
    store = Breaking()
    key = stored(store, b"hello", uidl="a%2Fb")
    mail = raw_mail(store, tmp_path)
    message = mail.look(key, nothing)
    assert (message.account, message.uidl) == ("a", b"a/b")
    beats = list[int]()
    spool = mail.fetch(message, lambda: beats.append(1))
    assert bytes(spool.buffer) == b"hello"
    assert beats
    assert store.opened == 2
    spool.close()


def test_a_message_without_uidl_has_none_and_a_time_without_offset_is_utc(tmp_path: Path) -> None:
    store = MemoryStore()
    message = raw_mail(store, tmp_path).look(stored(store, b"x", **{"first-seen": "2026-01-31T10:00:00"}), nothing)
    assert message.uidl is None
    assert message.first_seen == datetime(2026, 1, 31, 10, tzinfo=UTC)


def test_a_key_of_something_else_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    put(store, b"x", key="attachments/a/00/x", **GIVEN)
    with pytest.raises(StoreRefused, match="there is no such raw message"):
        raw_mail(store, tmp_path).look("attachments/a/00/x", nothing)
