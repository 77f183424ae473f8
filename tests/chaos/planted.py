"""Bugs planted on purpose, to see that the checks catch them.

Rules of this room:
- Each is one mistake that somebody could make in the product; it wraps a port outside of its fuse, so that the fuse
  strikes in the middle of the mistake.
"""

from __future__ import annotations

import enum
import io
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from ingest.ledger import LedgerImage
from ingest.models import OutgoingEvent, Record, Tls
from ingest.ports import ByteStream, Dialer, Ledger, ObjectStore, Put
from ingest.wiring import Services


class _Late:
    """Puts are held back until the next commit is done."""

    def __init__(self, store: ObjectStore, ledger: Ledger) -> None:
        self._store: Any = store
        self._ledger: Any = ledger
        self._held: list[Callable[[], Put]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store if name in {"url", "head", "open"} else self._ledger, name)

    def put(self, key: str, body: BinaryIO, **of_it: object) -> Put:
        content = body.read()
        self._held.append(lambda: self._store.put(key, io.BytesIO(content), **of_it))
        return Put(self._store.url(key), existed=False)

    def commit(self, *args: object, **kwargs: object) -> None:
        self._ledger.commit(*args, **kwargs)
        while self._held:
            self._held.pop()()


class _Forgetful:
    """Commits something else than it was told."""

    def __init__(self, inner: Ledger, *, records: bool, event: bool) -> None:
        self._inner: Any = inner
        self._records = records
        self._event = event

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def commit(
        self,
        account_id: str,
        token: str,
        image: LedgerImage,
        records: Sequence[Record],
        event: OutgoingEvent | None,
        **marks: object,
    ) -> None:
        told = event if self._event else None
        self._inner.commit(account_id, token, image, records if self._records else (), told, **marks)


class _Greedy:
    """Connections on which whatever was retrieved is deleted at QUIT, as simple clients do."""

    def __init__(self, inner: Dialer) -> None:
        self._inner = inner

    def dial(
        self, host: str, port: int, *, tls: Tls, ca_file: str | None, fingerprints: tuple[str, ...] = ()
    ) -> ByteStream:
        return _GreedyStream(self._inner.dial(host, port, tls=tls, ca_file=ca_file, fingerprints=fingerprints))


class _GreedyStream:
    def __init__(self, inner: ByteStream) -> None:
        self._inner = inner
        self._retrieved: list[bytes] = []
        self._unasked = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def send(self, data: bytes, timeout_s: float) -> None:
        self._retrieved += [line[5:] for line in data.split(b"\r\n") if line.startswith(b"RETR ")]
        if b"QUIT\r\n" in data:
            self._unasked = len(self._retrieved)
            data = b"".join(b"DELE %b\r\n" % number for number in self._retrieved) + data
        self._inner.send(data, timeout_s)

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        count = self._inner.receive_into(room, timeout_s)
        while count and self._unasked:  # the product must not see the replies to what it did not ask
            _, line, rest = bytes(room[:count]).partition(b"\r\n")
            self._unasked -= bool(line)
            room[: len(rest)] = rest
            count = len(rest) or self._inner.receive_into(room, timeout_s)
        return count


class Bug(enum.StrEnum):
    """What may be planted."""

    COMMIT_BEFORE_PUT = "commit before the put"
    DELETE_AT_ONCE = "delete in the session that retrieved"
    NO_RECORD = "an event without its record"
    NO_EVENT = "a record without its event"


def plant(services: Services, bug: Bug) -> None:
    """Put one of the bugs into services that are armed already."""
    made = services.__dict__
    match bug:
        case Bug.COMMIT_BEFORE_PUT:
            late = _Late(services.store, services.ledger)
            made["store"] = made["ledger"] = late
            del made["pipeline"]  # it works with the store that was
        case Bug.DELETE_AT_ONCE:
            made["dialer"] = _Greedy(services.dialer)
        case Bug.NO_RECORD:
            made["ledger"] = _Forgetful(services.ledger, records=False, event=True)
        case Bug.NO_EVENT:
            made["ledger"] = _Forgetful(services.ledger, records=True, event=False)
