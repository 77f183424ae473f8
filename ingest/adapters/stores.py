"""The object store that a storage URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ingest.adapters.directory_store import DirectoryStore
from ingest.adapters.s3_client import s3_client
from ingest.adapters.s3_store import AtRest, S3Store
from ingest.ports import ObjectStore
from ingest.settings import Settings

_MOST_CONNECTIONS = 256  # kept open; what is beyond opens and closes its own


def open_store(settings: Settings) -> ObjectStore:
    """A directory for file:, else S3; ConfigurationError where no storage URL is set."""
    parts = urlsplit(settings.require_storage())
    if parts.scheme == "file":
        return DirectoryStore(Path(unquote(parts.path)))
    client = s3_client(
        connect_timeout_s=settings.store_connect_timeout_s,
        read_timeout_s=settings.store_read_timeout_s,
        connections=min(settings.worker_threads * settings.uploads_at_once, _MOST_CONNECTIONS),
    )
    return S3Store(client, parts.netloc, parts.path.strip("/"), at_rest=_at_rest(settings))


def _at_rest(settings: Settings) -> AtRest:
    return AtRest(
        encryption=None if settings.s3_encryption == "none" else settings.s3_encryption,
        kms_key_id=settings.s3_kms_key_id,
        storage_class=settings.s3_storage_class,
        tags=settings.s3_tags,
    )
