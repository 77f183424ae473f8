"""The object store that a storage URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ingest.adapters.directory_store import DirectoryStore
from ingest.adapters.s3_store import S3Store, s3_client
from ingest.ports import ObjectStore
from ingest.settings import Settings


def open_store(settings: Settings) -> ObjectStore:
    """A directory for file:, else S3; ConfigurationError where no storage URL is set."""
    parts = urlsplit(settings.require_storage())
    if parts.scheme == "file":
        return DirectoryStore(Path(unquote(parts.path)))
    client = s3_client(
        connect_timeout_s=settings.store_connect_timeout_s,
        read_timeout_s=settings.store_read_timeout_s,
        connections=settings.worker_threads,
    )
    return S3Store(client, parts.netloc, parts.path.strip("/"))
