"""Which object store a URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ingest.adapters.directory_store import DirectoryStore
from ingest.adapters.s3_store import S3Store, s3_client
from ingest.ports import ObjectStore


def object_store(url: str, *, connect_timeout_s: float, read_timeout_s: float, connections: int) -> ObjectStore:
    """The store behind file:///path or s3://bucket/prefix; a directory knows no timeouts."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return DirectoryStore(Path(unquote(parts.path)))
    client = s3_client(connect_timeout_s=connect_timeout_s, read_timeout_s=read_timeout_s, connections=connections)
    return S3Store(client, parts.netloc, parts.path.strip("/"))
