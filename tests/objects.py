"""Objects for the tests of object stores, and bodies of any size."""

from __future__ import annotations

import hashlib
import io
import os

from ingest import ports
from ingest.adapters.s3_client import s3_client
from ingest.adapters.s3_store import AtRest, S3Store

Store = ports.ObjectStore


def key_of(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"raw/billing/{digest[:2]}/{digest}.eml"


def put(store: Store, content: bytes, *, key: str | None = None, **metadata: str) -> ports.Put:
    return store.put(
        key or key_of(content),
        io.BytesIO(content),
        size=len(content),
        sha256=hashlib.sha256(content).digest(),
        content_type="message/rfc822",
        metadata=metadata,
    )


def s3_store(url: str, timeout_s: float = 10, at_rest: AtRest | None = None) -> S3Store:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    client = s3_client(connect_timeout_s=timeout_s, read_timeout_s=timeout_s)
    return S3Store(client, bucket, prefix, at_rest=at_rest or AtRest())


class Generated(io.RawIOBase):
    """A seekable body that is never in memory as a whole, and knows the largest piece that was asked of it."""

    def __init__(self, size: int) -> None:
        self.size, self.position, self.largest = size, 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, target: bytearray, /) -> int:  # type: ignore[override]
        count = min(len(target), self.size - self.position)
        self.largest = max(self.largest, len(target))
        target[:count] = self.content(self.position, count)
        self.position += count
        return count

    @staticmethod
    def content(position: int, count: int) -> bytes:
        start = position % 251
        return (bytes(range(251)) * (count // 251 + 2))[start : start + count]
