"""What an event points to, as a stream that is checked while it is read.

Rules of this file:
- Memory is bounded by one buffer, however large the object is.
- The last octets are not handed out before size and SHA-256 of the whole are known to be right.
"""

from __future__ import annotations

import hashlib
import io
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, cast

from ingest.errors import StoreRefused
from ingest.ports import Contents

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES = 1 << 16


def open_checked(contents: Contents, url: str, *, size: int, sha256: str) -> BinaryIO:
    """A reader to be closed; it raises StoreRefused towards the end of a content that is another."""
    return cast("BinaryIO", io.BufferedReader(_Checked(contents, url, size, sha256), _BUFFER_BYTES))


class _Checked(io.RawIOBase):
    def __init__(self, contents: Contents, url: str, size: int, sha256: str) -> None:
        super().__init__()
        self._url = url
        self._left = size
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._opened = ExitStack()
        self._inner = self._opened.enter_context(contents.open(url))

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        view = memoryview(target).cast("B")
        data = self._inner.read(len(view))
        self._digest.update(data)
        self._left -= len(data)
        if self._left < 0 or (not data and self._left) or (not self._left and self._digest.hexdigest() != self._sha256):
            raise StoreRefused(f"{self._url}: its content is not what the event says", todo="restore the object")
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()
