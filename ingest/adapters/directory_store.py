"""Objects as files below a directory, for one machine or a shared file system.

Rules of this room:
- An object appears whole or not at all: written to `.tmp/`, hashed on the way, flushed to the disk, then linked to its
  name; the directory is flushed before `put` returns. A link never replaces, so of racing puts one makes the object.
- Metadata is a side file, KEY.json, which is there before the object is. Without metadata there is none.
- An object of another size than announced was damaged by somebody else: it is replaced by the verified content.
- Keys are relative paths of [a-z0-9._-] segments that begin with a letter or digit and do not end in .json: no key
  leaves the root or meets a side file. Below the root no symbolic link is followed.
- Files are for owner and group (0640, directories 0750), so that consumers of that group can read them.
- What a crash leaves in `.tmp/` is swept at a process' first put, once it is older than a day.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from ingest.errors import IngestError, ObjectWrong, StoreRefused, StoreUnavailable
from ingest.ports import ObjectInfo, Put

_SEGMENT = re.compile(r"[a-z0-9][a-z0-9._-]*")
_CHUNK_BYTES = 1 << 18
_SWEEP_AFTER_S = 86_400
_MODE = 0o640

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
_PASSING = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.EMFILE, errno.ENFILE})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class DirectoryStore:
    """See `ingest.ports.ObjectStore`. URLs are file:///path. Thread-safe, and safe among processes.

    Args:
        root: must exist; a missing mount is an error, not an empty store.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._temporary = self._root / ".tmp"
        self._swept = False

    def put(
        self, key: str, body: BinaryIO, *, size: int, sha256: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> Put:
        del content_type  # a file has none; the event carries it
        path = self._path(key)
        side = path.with_name(f"{path.name}.json")
        with self._errors():
            self._require_no_links(path)
            present = _size_of(path)
            if present == size:
                if metadata and not side.exists():
                    self._write_side(side, metadata)
                _flush_directory(path.parent)  # whoever made it may not have come so far
                return Put(self.url(key), existed=True)
            if not self._swept or not path.parent.is_dir():
                self._prepare(path.parent)
            with self._verified_copy(key, body, size, sha256) as fresh:
                if metadata:
                    self._write_side(side, metadata)
                existed = _publish(fresh, path, replace=present is not None)
            _flush_directory(path.parent)
        return Put(self.url(key), existed)

    def head(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        with self._errors():
            self._require_no_links(path)
            size = _size_of(path)
            if size is None or size < 0:
                self._require_root()
                return None
            try:
                metadata = json.loads(path.with_name(f"{path.name}.json").read_bytes())
            except FileNotFoundError:
                metadata = {}
        return ObjectInfo(size, metadata)

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        path = self._path(key)
        with self._errors():
            self._require_no_links(path)
            try:
                return open(path, "rb", opener=_no_link)
            except FileNotFoundError:
                self._require_root()
                raise ObjectWrong(f"{self._root}: there is no object {key}") from None

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        inside = prefix.rpartition("/")[0]
        top = self._path(inside) if inside else self._root
        with self._errors():
            self._require_root()
            if top.is_dir():
                below = self._below(top, f"{inside}/" if inside else "", after)
                yield from (key for key in below if key.startswith(prefix) and key > after)

    def _below(self, directory: Path, path: str, after: str) -> Iterator[str]:
        """Keys in order: a directory stands among its neighbours as its name with the slash behind it."""
        with os.scandir(directory) as found:
            names = sorted(
                f"{each.name}/" if each.is_dir(follow_symlinks=False) else each.name
                for each in found
                if not each.is_symlink()
            )
        for name in names:
            if not _SEGMENT.fullmatch(name.rstrip("/")):
                continue
            key = path + name
            if not name.endswith("/"):
                if not name.endswith(".json"):
                    yield key
            elif key >= after or after.startswith(key):
                yield from self._below(directory / name, key, after)

    def url(self, key: str) -> str:
        return self._path(key).as_uri()

    def key_of(self, url: str) -> str | None:
        base = f"{self._root.as_uri()}/"
        key = unquote(url.removeprefix(base))
        return key if url.startswith(base) and _is_key(key) and self.url(key) == url else None

    def link(self, key: str, seconds: int, *, filename: str) -> str | None:
        """Files have none."""

    def ping(self) -> None:
        with self._errors():
            self._prepare(self._root)
            probe, descriptor = self._temporary_file()
            os.close(descriptor)
            probe.unlink()

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _path(self, key: str) -> Path:
        if not _is_key(key):
            raise StoreRefused(f"not an object key: {key[:200]!r}")
        return self._root.joinpath(*key.split("/"))

    def _require_root(self) -> None:
        self._root.stat()

    def _require_no_links(self, path: Path) -> None:
        """The directories between root and path are directories, as far as they are there."""
        for directory in reversed(path.parents[: len(path.parts) - len(self._root.parts) - 1]):
            try:
                mode = directory.lstat().st_mode
            except FileNotFoundError:
                return
            if not stat.S_ISDIR(mode):
                raise StoreRefused(f"{directory} is no directory", todo="see who put it there; links are not followed")

    def _prepare(self, directory: Path) -> None:
        """Make what is missing below the root, each new directory flushed into its parent; sweep once."""
        self._require_root()
        self._temporary.mkdir(mode=0o750, exist_ok=True)
        missing = [d for d in (directory, *directory.parents) if d.is_relative_to(self._root) and not d.is_dir()]
        for new in reversed(missing):
            new.mkdir(mode=0o750, exist_ok=True)
            _flush_directory(new.parent)
        if not self._swept:
            self._swept = True
            for leftover in self._temporary.iterdir():
                with contextlib.suppress(FileNotFoundError):  # another process sweeps too
                    if leftover.stat().st_mtime < time.time() - _SWEEP_AFTER_S:
                        leftover.unlink()

    def _temporary_file(self) -> tuple[Path, int]:
        path = self._temporary / f".tmp-{secrets.token_hex(12)}"
        return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)

    @contextmanager
    def _verified_copy(self, key: str, body: BinaryIO, size: int, sha256: bytes) -> Iterator[Path]:
        """A flushed temporary file with this content; gone afterwards unless it was renamed."""
        fresh, descriptor = self._temporary_file()
        try:
            with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor has no Path
                digest, count = hashlib.sha256(), 0
                body.seek(0)
                while chunk := body.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    count += len(chunk)
                    _write_all(file.fileno(), chunk)
                if count != size:
                    raise StoreRefused(f"{key}: {count} octets came instead of {size}")
                if digest.digest() != sha256:
                    raise StoreRefused(f"{key}: the content has another SHA-256 than announced")
                os.fsync(file.fileno())
            yield fresh
        finally:
            fresh.unlink(missing_ok=True)

    def _write_side(self, side: Path, metadata: Mapping[str, str]) -> None:
        fresh, descriptor = self._temporary_file()
        try:
            try:
                _write_all(descriptor, json.dumps(dict(metadata), ensure_ascii=False).encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            fresh.replace(side)
        finally:
            fresh.unlink(missing_ok=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._of(error) from error

    def _of(self, error: OSError) -> IngestError:
        if error.errno in _FULL:
            return StoreRefused(f"{self._root}: disk full", todo="free space; the mail waits on its server")
        if error.errno in _DENIED:
            return StoreRefused(f"{self._root}: {error.strerror}", todo="let this user write there")
        if error.errno in _ABSENT:
            return StoreRefused(f"{self._root}: {error.strerror}", todo="make the directory, or mount its disk")
        if error.errno in _PASSING:
            return StoreUnavailable(f"{self._root}: {error.strerror}")
        return StoreRefused(f"{self._root}: {error.strerror or error}", todo="look at the disk")


def _is_key(key: str) -> bool:
    return all(_SEGMENT.fullmatch(segment) for segment in key.split("/")) and not key.endswith(".json")


def _size_of(path: Path) -> int | None:
    """None where there is nothing; -1 for what is no file, so that it equals no announced size."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def _publish(fresh: Path, path: Path, *, replace: bool) -> bool:
    """Give the file its name; whether somebody else was faster."""
    if not replace:
        try:
            os.link(fresh, path)
        except FileExistsError:
            return True
        except OSError as error:
            if error.errno not in _NO_LINKS:  # some file systems have none: there, equal replaces equal
                raise
        else:
            return False
    fresh.replace(path)
    return False


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _write_all(descriptor: int, data: bytes) -> None:
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(descriptor, view[done:])


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
