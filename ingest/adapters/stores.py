"""The object store that a storage URL names, and objects by their own URLs.

Rules of this file:
- boto3 takes a while to load: it is imported where the store is in S3, and not before.
"""

from __future__ import annotations

import re
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from ingest.adapters.directory_store import DirectoryStore
from ingest.errors import StoreRefused
from ingest.once import once
from ingest.ports import ObjectStore
from ingest.settings import Settings

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

    from ingest.adapters.s3_store import AtRest

_MOST_CONNECTIONS = 256  # kept open; what is beyond opens and closes its own
_OBJECT = re.compile(r"((?:s3|file)://.*?/)((?:raw|attachments)/[^/]+/[0-9a-f]{2}/[0-9a-f]{64}(?:\.eml)?)")


def open_store(settings: Settings) -> ObjectStore:
    """A directory for file:, else S3; ConfigurationError where no storage URL is set."""
    parts = urlsplit(settings.require_storage())
    if parts.scheme == "file":
        return DirectoryStore(Path(unquote(parts.path)))
    from ingest.adapters.s3_client import s3_client  # noqa: PLC0415 - see the rules
    from ingest.adapters.s3_store import S3Store  # noqa: PLC0415 - see the rules

    client = s3_client(
        connect_timeout_s=settings.store_connect_timeout_s,
        read_timeout_s=settings.store_read_timeout_s,
        connections=min(settings.worker_threads * settings.uploads_at_once, _MOST_CONNECTIONS),
    )
    return S3Store(client, parts.netloc, parts.path.strip("/"), at_rest=_at_rest(settings))


class StoredContents:
    """Implements `ports.Contents`: messages and attachments in any bucket or directory. Thread-safe.

    An event that goes to another process takes it along, and opens its own connections there.
    """

    def __init__(self) -> None:
        self.making = threading.RLock()

    def open(self, url: str) -> AbstractContextManager[BinaryIO]:
        match = _OBJECT.fullmatch(url)
        if match is None:
            raise StoreRefused(f"{url[:200]!r} is no address of a stored message or attachment")
        base, key = match.groups()
        parts = urlsplit(base)
        if parts.scheme == "file":
            return DirectoryStore(Path(unquote(parts.path))).open(key)
        from ingest.adapters.s3_store import S3Store  # noqa: PLC0415 - see the rules

        return S3Store(self._s3, parts.netloc, parts.path).open(key)

    def close(self) -> None:
        with self.making:
            client = self.__dict__.pop("_s3", None)
        if client is not None:
            client.close()

    def __reduce__(self) -> tuple[type[StoredContents], tuple[()]]:
        return StoredContents, ()

    @once
    def _s3(self) -> S3Client:
        from ingest.adapters.s3_client import s3_client  # noqa: PLC0415 - see the rules

        return s3_client()


def _at_rest(settings: Settings) -> AtRest:
    from ingest.adapters.s3_store import AtRest  # noqa: PLC0415 - see the rules

    return AtRest(
        encryption=None if settings.s3_encryption == "none" else settings.s3_encryption,
        kms_key_id=settings.s3_kms_key_id,
        storage_class=settings.s3_storage_class,
        tags=settings.s3_tags,
    )
