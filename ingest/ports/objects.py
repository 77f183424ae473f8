"""A message on its way and at rest: spools, object storage, virus scanner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ingest.models import Verdict


class Spool(Protocol):
    """One message on its way: in memory up to a limit, then in a temporary file, hashed as it comes."""

    def write(self, data: bytes | memoryview) -> None:
        """Append; only before `seal`."""
        ...

    def seal(self) -> None:
        """No more writes; `buffer`, `sha256` and `open` work from here on."""
        ...

    @property
    def size(self) -> int:
        """Octets so far."""
        ...

    @property
    def sha256(self) -> bytes:
        """Of all octets, 32 of them."""
        ...

    @property
    def buffer(self) -> memoryview:
        """The whole message, read-only (memory or a mapped file)."""
        ...

    def open(self) -> BinaryIO:
        """A seekable reader of its own over the whole message."""
        ...

    def give_back_pages(self) -> None:
        """Let the system drop what was read of a mapped file; the content stays."""
        ...

    def close(self) -> None:
        """Give memory and file back."""
        ...


class SpoolFactory(Protocol):
    """Makes spools."""

    def __call__(self) -> Spool: ...


@dataclass(frozen=True, slots=True)
class Put:
    """Where an object lies, and whether it lay there already."""

    url: str
    existed: bool


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's size and metadata."""

    size: int
    metadata: Mapping[str, str]


class ObjectStore(Protocol):
    """Content-addressed objects. Puts are idempotent; the store verifies the SHA-256 on the way in."""

    def put(
        self, key: str, body: BinaryIO, *, size: int, sha256: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> Put:
        """Store `size` octets of a seekable body under the key; StoreUnavailable or StoreRefused."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """Size and metadata, or None where there is no such object."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Stream an object; StoreRefused where there is none."""
        ...

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """The keys that start so and come after that one, a piece at a time, in the store's own order.

        Below one directory that is the order of their octets; all keys below a directory come together.
        """
        ...

    def url(self, key: str) -> str:
        """The address an event carries: s3://bucket/key or file:///path."""
        ...

    def key_of(self, url: str) -> str | None:
        """The key behind such an address; None for what is no address within this store."""
        ...

    def link(self, key: str, seconds: int, *, filename: str) -> str | None:
        """A URL from which anybody may download it for so long, under that name (ASCII, no quotes).

        Nothing is asked: it is made for what is not there, too. None where the store has no such links.
        """
        ...

    def ping(self) -> None:
        """Raise what is wrong (unreachable, bucket missing, wrong secret, not writable)."""
        ...

    def close(self) -> None: ...


class Contents(Protocol):
    """Stored objects by the addresses that events carry, in whatever store they lie."""

    def open(self, url: str) -> AbstractContextManager[BinaryIO]:
        """Stream it; StoreRefused for what is no such address, or where there is none."""
        ...

    def close(self) -> None: ...


class Scanner(Protocol):
    """Looks for viruses."""

    def scan(self, body: BinaryIO, size: int) -> Verdict:
        """What is in the first `size` octets of a seekable body, read from its start.

        UNSCANNED for what it refuses to look at (too large for it), or comes to no end with while it works for others.
        ScannerUnavailable where it can't be asked; MessageUnprocessable where this body ended it, which worked before.
        """
        ...

    def ping(self) -> None:
        """Raise what is wrong."""
        ...

    def close(self) -> None: ...
