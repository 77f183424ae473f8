"""Objects for the tests of object stores."""

from __future__ import annotations

import hashlib
import io

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
