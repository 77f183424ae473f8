"""Objects on their way into storage: their keys, and bodies that say when octets move.

Rules of this room:
- A key is made of a content's digest and an account id, never of anything a sender wrote.
- Puts are idempotent, so each is one step that may be tried again.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from ingest.ports import ObjectStore, Put, Spool
from ingest.retry import Steps

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

_READ_BYTES = 256 * 1024


def raw_key(account_id: str, sha256: bytes) -> str:
    """The object key of a raw message."""
    return _key("raw", account_id, sha256) + ".eml"


def identity_key(account_id: str, identity: bytes) -> str:
    """The object key under which a content is remembered whose raw octets hold headers that mail stores rewrite."""
    return _key("identity", account_id, identity)


def attachment_key(account_id: str, sha256: bytes) -> str:
    """The object key of an attachment's decoded content."""
    return _key("attachments", account_id, sha256)


def event_key(account_id: str, sha256: bytes) -> str:
    """The object key of an event that was too large for a sink."""
    return _key("events", account_id, sha256)


def _key(kind: str, account_id: str, sha256: bytes) -> str:
    digits = sha256.hex()
    return f"{kind}/{account_id}/{digits[:2]}/{digits}"


def put_spooled(  # noqa: PLR0917  # as the port has them
    store: ObjectStore,
    steps: Steps,
    key: str,
    content: Spool,
    content_type: str,
    metadata: Mapping[str, str],
    beat: Callable[[], None],
) -> Put:
    """Put a sealed spool, again while the store is only unavailable; `beat` is called as it is read, and in between."""

    def step() -> Put:
        with reading(content, beat) as body:
            return store.put(
                key,
                body,
                size=content.size,
                sha256=content.sha256,
                content_type=content_type,
                metadata=metadata,
            )

    return steps.beating(beat)(step)


@contextmanager
def reading(content: Spool, beat: Callable[[], None]) -> Iterator[BinaryIO]:
    """A seekable body over a sealed spool that beats as it is read, so that a slow reader keeps its lease."""
    with content.open() as body:
        yield cast("BinaryIO", io.BufferedReader(_Beating(body, beat), _READ_BYTES))


class _Beating(io.RawIOBase):
    def __init__(self, body: BinaryIO, beat: Callable[[], None]) -> None:
        super().__init__()
        self._body = body
        self._beat = beat

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        self._beat()
        return self._body.readinto(buffer)  # type: ignore[attr-defined,no-any-return]  # every spool reader has it

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._body.seek(offset, whence)

    def tell(self) -> int:
        return self._body.tell()
