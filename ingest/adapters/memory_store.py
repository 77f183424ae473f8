"""Objects in this process' memory, for tests and trials: the whole contract, and gone with the process."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO

from ingest.errors import ObjectWrong, StoreRefused
from ingest.ports import ObjectInfo, Put


class MemoryStore:
    """See `ingest.ports.ObjectStore`. URLs are memory:///key."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self._lock = threading.Lock()

    def put(
        self, key: str, body: BinaryIO, *, size: int, sha256: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> Put:
        del content_type
        body.seek(0)
        content = body.read()
        if len(content) != size:
            raise StoreRefused(f"{key}: {len(content)} octets came instead of {size}")
        if hashlib.sha256(content).digest() != sha256:
            raise StoreRefused(f"{key}: the content has another SHA-256 than announced")
        with self._lock:
            existed = key in self._objects
            self._objects.setdefault(key, (content, dict(metadata)))
        return Put(self.url(key), existed)

    def head(self, key: str) -> ObjectInfo | None:
        found = self._objects.get(key)
        return ObjectInfo(len(found[0]), dict(found[1])) if found else None

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        found = self._objects.get(key)
        if found is None:
            raise ObjectWrong(f"there is no object {key}")
        return io.BytesIO(found[0])

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        yield from sorted(key for key in self._objects if key.startswith(prefix) and key > after)

    def url(self, key: str) -> str:
        return f"memory:///{key}"

    def key_of(self, url: str) -> str | None:
        return url.removeprefix("memory:///") or None if url.startswith("memory:///") else None

    def link(self, key: str, seconds: int, *, filename: str) -> str | None:
        """Nobody else sees this memory."""

    def ping(self) -> None:
        """Memory is always there."""

    def close(self) -> None:
        """Nothing to give back."""
