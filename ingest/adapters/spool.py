"""Where one message lies on its way from the server to the store: memory while small, else a file without a name.

Rules of this room:
- Up to `memory_bytes` stay in memory; the first octet beyond moves all to a file that has no name, so that nothing is
  left behind whatever happens to the process.
- `open()` reads the file by position and costs no memory. `buffer` maps it: pages that were looked at count as ours
  until `give_back_pages()`, which leaves the buffer valid.
- `close()` releases our view, then the mapping, then the file. A view that somebody still holds keeps its memory or
  mapping alive until it is dropped; that is no error.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from ingest.errors import StoreRefused

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Spools:
    """Makes spools.

    Args:
        directory: where large messages lie meanwhile, made when first needed; None for the system's temporary one.
        memory_bytes: up to here a message stays in memory.
    """

    def __init__(self, directory: Path | None = None, memory_bytes: int = 1 << 20) -> None:
        self._directory = directory
        self._memory_bytes = memory_bytes

    def __call__(self) -> MessageSpool:
        return MessageSpool(self._directory, self._memory_bytes)


class MessageSpool:
    """One message; see `ingest.ports.Spool`. ValueError for a use out of turn, StoreRefused where the disk says no."""

    def __init__(self, directory: Path | None, memory_bytes: int) -> None:
        self._directory = directory
        self._memory_bytes = memory_bytes
        self._hash = hashlib.sha256()
        self._size = 0
        self._memory = io.BytesIO()
        self._file: IO[bytes] | None = None
        self._sealed: bytes | None = None  # the message where it stayed in memory, b"" where it lies in the file
        self._map: mmap.mmap | None = None
        self._view: memoryview | None = None
        self._closed = False

    def write(self, data: bytes | memoryview) -> None:
        if self._closed or self._sealed is not None:
            raise ValueError("a spool takes octets only before it is sealed")
        self._hash.update(data)
        self._size += len(data)
        if self._file is None and self._size <= self._memory_bytes:
            self._memory.write(data)
            return
        with self._refusals():
            if self._file is None:
                if self._directory is not None:
                    self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = tempfile.TemporaryFile(dir=self._directory, prefix="spool-", buffering=0)  # noqa: SIM115 - lives until close()
                _write_all(self._file, self._memory.getvalue())
                self._memory = io.BytesIO()
            _write_all(self._file, data)

    def seal(self) -> None:
        if self._closed:
            raise ValueError("this spool is closed")
        if self._sealed is None:
            self._sealed, self._memory = self._memory.getvalue(), io.BytesIO()  # the same octets, not a copy

    @property
    def size(self) -> int:
        return self._size

    @property
    def sha256(self) -> bytes:
        self._require_sealed()
        return self._hash.digest()

    @property
    def buffer(self) -> memoryview:
        sealed = self._require_sealed()
        if self._view is None:
            if self._file is None:
                self._view = memoryview(sealed)
            else:
                with self._refusals():
                    self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
                self._view = memoryview(self._map)
        return self._view

    def open(self) -> BinaryIO:
        sealed = self._require_sealed()
        if self._file is None:
            return io.BytesIO(sealed)
        return cast("BinaryIO", _FileReader(os.dup(self._file.fileno()), self._size))

    def give_back_pages(self) -> None:
        """Pages of a mapped file leave our memory; they come back by themselves when looked at again."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        self._closed = True
        view, mapping, file = self._view, self._map, self._file
        self._view = self._map = self._file = None
        self._memory, self._sealed = io.BytesIO(), None
        if view is not None:
            view.release()
        if mapping is not None:
            with contextlib.suppress(BufferError):  # somebody still looks: it goes when they do
                mapping.close()
        if file is not None:
            file.close()

    def _require_sealed(self) -> bytes:
        if self._sealed is None:
            raise ValueError("this spool is closed" if self._closed else "this spool is not sealed yet")
        return self._sealed

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self._directory or tempfile.gettempdir()
            if error.errno in _FULL:
                raise StoreRefused(f"spool {where}: disk full", todo="free space, or spool to another disk") from error
            raise StoreRefused(
                f"spool {where}: {error.strerror or error}", todo="the directory must exist and be writable"
            ) from error


def _write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    with memoryview(data) as whole:
        done = 0
        while done < len(whole):
            done += file.write(whole[done:])


class _FileReader(io.RawIOBase):
    """A reader with a position of its own, so that several readers of one spool don't disturb each other."""

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        count = os.preadv(self._descriptor, [target], self._position)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
