"""Objects in S3 or what speaks its language.

Rules of this file:
- One PUT an object, whatever its size: the server checks the SHA-256 of the whole, and an object is there or it is not.
  It is sent under `If-None-Match: *`, so a second put of the same content ends as "existed" without replacing anything.
  A store without conditions is asked by HEAD before each put: only two first puts at once replace each other there.
- An object is the bucket owner's: no ACL is ever sent. How it lies there (encryption, class, tags) is the same for all.
- User metadata is ASCII in HTTP headers. Values are percent-encoded here (UTF-8; all but letters, digits and the usual
  punctuation, "%" included) and decoded in `head`, so what was put is what comes back. Names are lower-case ASCII;
  an empty value may be dropped by the store.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote, unquote, urlencode

from botocore.exceptions import BotoCoreError, ClientError

from ingest.adapters.s3_errors import EXISTS, MISSING, NOT_IMPLEMENTED, code_of, of_answer, of_transport
from ingest.errors import StoreRefused
from ingest.ports import ObjectInfo, Put

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client

_PLAIN = "!#$&'()*+,-./:;<=>?@[]^_`{|}~"  # left as they are in metadata values


@dataclass(frozen=True, slots=True)
class AtRest:
    """How every new object lies in S3; None or empty: as the bucket has it.

    `encryption`: AES256, aws:kms or aws:kms:dsse, the latter two with the bucket's own key unless one is named.
    """

    encryption: str | None = None
    kms_key_id: str | None = None
    storage_class: str | None = None
    tags: Mapping[str, str] | None = None

    def parameters(self) -> dict[str, str]:
        """As `put_object` takes it."""
        given = {
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key_id,
            "StorageClass": self.storage_class,
            "Tagging": urlencode(self.tags or {}, quote_via=quote),
        }
        return {name: value for name, value in given.items() if value}


_BUCKETS_OWN = AtRest()


class S3Store:
    """See `ingest.ports.ObjectStore`. Thread-safe.

    Args:
        client: from `s3_client`; closed with the store.
        bucket: must exist.
        prefix: put before every key, "" for none.
        at_rest: how objects lie there.
    """

    def __init__(self, client: S3Client, bucket: str, prefix: str = "", *, at_rest: AtRest = _BUCKETS_OWN) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._at_rest = at_rest.parameters()
        self._conditional = True

    def put(
        self, key: str, body: BinaryIO, *, size: int, sha256: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> Put:
        # a body of another length than announced would leave the server waiting, or the connection out of step
        length = body.seek(0, io.SEEK_END)
        if length != size:
            raise StoreRefused(f"{self._where}: {length} octets came instead of {size}")
        request = {
            "Bucket": self._bucket,
            "Key": self._prefix + key,
            "Body": body,
            "ContentLength": size,
            "ContentType": content_type,
            "ChecksumSHA256": base64.b64encode(sha256).decode(),
            "Metadata": {name: quote(value, safe=_PLAIN) for name, value in metadata.items()},
            **self._at_rest,
        }
        if self._conditional:
            try:
                return Put(self.url(key), existed=self._put({**request, "IfNoneMatch": "*"}))
            except StoreRefused as refusal:
                if code_of(refusal.__cause__) not in NOT_IMPLEMENTED:
                    raise
        if self.head(key) is not None:
            return Put(self.url(key), existed=True)
        made = Put(self.url(key), existed=self._put(request))
        self._conditional = False  # so it was the condition that this store does not know
        return made

    def _put(self, request: dict[str, Any]) -> bool:
        """Whether it existed."""
        request["Body"].seek(0)
        try:
            with self._errors():
                self._client.put_object(**request)
        except StoreRefused as refusal:
            if code_of(refusal.__cause__) in EXISTS:
                return True
            raise
        return False

    def head(self, key: str) -> ObjectInfo | None:
        try:
            with self._errors():
                found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except StoreRefused as refusal:
            if code_of(refusal.__cause__) in MISSING:
                return None
            raise
        metadata = {name.lower(): unquote(value) for name, value in found.get("Metadata", {}).items()}
        size = found.get("ContentLength")
        if size is None:
            raise StoreRefused(f"{self._where}: HEAD tells no size", todo="see whether a proxy drops Content-Length")
        return ObjectInfo(size, metadata)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        try:
            with self._errors():
                body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"]
        except StoreRefused as refusal:
            if code_of(refusal.__cause__) in MISSING:
                raise StoreRefused(f"{self._where}: there is no object {key}") from None
            raise
        with io.BufferedReader(_Download(body, self), 1 << 16) as reader:
            yield cast("BinaryIO", reader)

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """A thousand a request."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix, StartAfter=self._prefix + after
        )
        with self._errors():
            for page in pages:
                yield from (item["Key"][len(self._prefix) :] for item in page.get("Contents", ()))

    def url(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def key_of(self, url: str) -> str | None:
        base = self.url("")
        return url.removeprefix(base) or None if url.startswith(base) else None

    def link(self, key: str, seconds: int, *, filename: str) -> str | None:
        """Signed here; nobody is asked."""
        with self._errors():
            return self._client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self._bucket,
                    "Key": self._prefix + key,
                    "ResponseContentDisposition": f'attachment; filename="{filename}"',
                },
                ExpiresIn=seconds,
            )

    def ping(self) -> None:
        """One listing of at most one key: unlike HEAD, its refusal says why."""
        with self._errors():
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def close(self) -> None:
        self._client.close()

    @property
    def _where(self) -> str:
        return f"bucket {self._bucket} at {self._client.meta.endpoint_url}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Botocore's errors become ours; the original stays as the cause."""
        try:
            yield
        except ClientError as error:
            raise of_answer(error, self._where) from error
        except BotoCoreError as error:
            raise of_transport(error, self._where) from error


class _Download(io.RawIOBase):
    """The body of a GET as a raw reader whose errors are ours."""

    def __init__(self, body: StreamingBody, store: S3Store) -> None:
        super().__init__()
        self._body = body
        self._store = store

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        view = memoryview(target).cast("B")
        with self._store._errors():  # noqa: SLF001 - the same room
            data = self._body.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()
