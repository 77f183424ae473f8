"""Objects in S3 or what speaks its language.

Rules of this room:
- Endpoint, region and credentials come from the standard AWS chain and from nowhere else.
- One PUT an object, whatever its size: the server checks the SHA-256 of the whole, and an object is there or it is not.
  It is sent under `If-None-Match: *`, so a second put of the same content ends as "existed" without replacing anything.
- The signature covers the announced SHA-256 (a header). Until the store has shown that it looks at that header, by
  answering with it, the body's own hash is signed too, which old stores check: that reads the body once more.
- botocore does not retry: that is done one layer above, on StoreUnavailable.
- User metadata is ASCII in HTTP headers. Values are percent-encoded here (UTF-8; all but letters, digits and the usual
  punctuation, "%" included) and decoded in `head`, so what was put is what comes back. Names are lower-case ASCII;
  an empty value may be dropped by the store.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote, unquote

import boto3.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectionError,  # noqa: A004 - botocore's own, which is not an OSError
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from ingest.errors import ConfigurationError, IngestError, StoreRefused, StoreUnavailable
from ingest.ports import ObjectInfo, Put

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.awsrequest import AWSRequest
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client

_PLAIN = "!#$&'()*+,-./:;<=>?@[]^_`{|}~"  # left as they are in metadata values
_SMALL_BYTES = 1 << 20  # up to here a body leaves in one send, and does not wait for "100 Continue"

_BUSY = frozenset({408, 409, 425, 429})
_BUSY_CODES = frozenset({"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded"})
_FULL = 507
_LONGEST_WAIT_S = 86_400.0
_CONDITION_UNKNOWN = frozenset({"NotImplemented", "501"})
_EXISTS = frozenset({"PreconditionFailed", "412"})
_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})

_TRANSPORT: dict[type[BotoCoreError], str] = {
    ConnectTimeoutError: "no connection in time",
    ReadTimeoutError: "no answer in time",
    EndpointConnectionError: "nobody answers there",
    ConnectionClosedError: "the connection was closed",
}

_PASSING = (ConnectionError, HTTPClientError, IncompleteReadError, CredentialRetrievalError, MetadataRetrievalError)

_ADVICE = {
    "NoSuchBucket": "create the bucket, or correct MAILSLUICE_STORAGE_URL",
    "InvalidBucketName": "correct MAILSLUICE_STORAGE_URL",
    "InvalidAccessKeyId": "correct AWS_ACCESS_KEY_ID, or what the AWS chain takes it from",
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY, or what the AWS chain takes it from",
    "ExpiredToken": "renew the session token of the AWS chain",
    "RequestTimeTooSkewed": "set this machine's clock",
    "AccessDenied": "allow s3:PutObject, s3:GetObject and s3:ListBucket for these credentials",
    "PermanentRedirect": "set AWS_DEFAULT_REGION to the bucket's region",
    "AuthorizationHeaderMalformed": "set AWS_DEFAULT_REGION to the bucket's region",
    "BadDigest": "the content changed on its way: look at disk, memory and proxies",
    "InvalidRequest": "see the store's own log",
}
_ADVICE["403"] = _ADVICE["AllAccessDisabled"] = _ADVICE["AccessDenied"]
_ADVICE["XAmzContentChecksumMismatch"] = _ADVICE["XAmzContentSHA256Mismatch"] = _ADVICE["BadDigest"]


def s3_client(*, connect_timeout_s: float = 10.0, read_timeout_s: float = 30.0, connections: int = 32) -> S3Client:
    """The one client of a process (thread-safe), from the standard AWS chain; ConfigurationError where that is broken.

    Args:
        connect_timeout_s: wait for a connection.
        read_timeout_s: wait for each piece of an answer.
        connections: kept open for reuse; more threads than that open further ones.
    """
    config = Config(
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1},
        # we send the SHA-256 of the whole ourselves; trailing CRCs would cost a second pass and an odd encoding
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return boto3.session.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError([f"AWS settings: {_one_line(error)}"]) from error


class S3Store:
    """See `ingest.ports.ObjectStore`. Thread-safe.

    Args:
        client: from `s3_client`; closed with the store.
        bucket: must exist.
        prefix: put before every key, "" for none.
    """

    def __init__(self, client: S3Client, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._condition: dict[str, Any] = {"IfNoneMatch": "*"}
        self._checks_sha256 = False
        self._light_signing = client.meta.config.merge(Config(s3={"payload_signing_enabled": False}))
        client.meta.events.register("before-sign.s3.PutObject", self._before_sign)

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
        }
        try:
            return Put(self.url(key), existed=self._put(request))
        except StoreRefused as refusal:
            if not self._condition or _code(refusal.__cause__) not in _CONDITION_UNKNOWN:
                raise
        self._condition = {}  # this store has no conditional writes: an object is replaced by its equal
        return Put(self.url(key), existed=self._put(request))

    def _put(self, request: dict[str, Any]) -> bool:
        """Whether it existed."""
        request["Body"].seek(0)
        try:
            with self._errors():
                answer = self._client.put_object(**request, **self._condition)
        except StoreRefused as refusal:
            if _code(refusal.__cause__) in _EXISTS:
                return True
            raise
        self._checks_sha256 = answer.get("ChecksumSHA256") == request["ChecksumSHA256"]
        return False

    def _before_sign(self, request: AWSRequest, **_kwargs: object) -> None:
        if self._checks_sha256:
            request.context["client_config"] = self._light_signing
        body = request.data
        if int(request.headers["Content-Length"]) <= _SMALL_BYTES and body is not None and hasattr(body, "read"):
            del request.headers["Expect"]
            body.seek(0)  # after a redirect it was read already
            request.data = body.read()

    def head(self, key: str) -> ObjectInfo | None:
        try:
            with self._errors():
                found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except StoreRefused as refusal:
            if _code(refusal.__cause__) in _MISSING:
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
            if _code(refusal.__cause__) in _MISSING:
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
            raise _of_answer(error, self._where) from error
        except BotoCoreError as error:
            ours = error.kwargs.get("error")  # what a body raised while it was sent: a lost lease, a spool's disk
            raise ours if isinstance(ours, IngestError) else _of_transport(error, self._where) from error


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


def _code(error: BaseException | None) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _status(error: BaseException | None) -> int:
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _of_answer(error: ClientError, where: str) -> IngestError:
    """What the store answered: busy or broken is StoreUnavailable, a plain no is StoreRefused."""
    code, status = _code(error), _status(error)
    message = str(error.response.get("Error", {}).get("Message", ""))
    if code in _BUSY_CODES or status in _BUSY or (status >= 500 and status not in (501, _FULL)):  # noqa: PLR2004 - HTTP
        after = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
        return StoreUnavailable(f"{where}: {status} {code}", after_s=_seconds(after))
    if status == _FULL:
        return StoreRefused(f"{where}: no space left", todo="free space in the store")
    return StoreRefused(f"{where}: {code}: {_one_line(message)}", todo=_ADVICE.get(code, "see the store's own log"))


def _seconds(text: str) -> float | None:
    """What Retry-After asks for, if it is a number: of days, nobody means it."""
    return min(float(text), _LONGEST_WAIT_S) if text.isdecimal() else None


def _of_transport(error: BotoCoreError, where: str) -> IngestError:
    """What botocore could not even ask."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreRefused(
            f"{where}: {_one_line(error)}",
            todo="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another source of the AWS chain",
        )
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreRefused(f"{where}: {_one_line(error)}", todo="set AWS_CA_BUNDLE, or renew the certificate")
    if isinstance(error, _PASSING):
        text = next((text for kind, text in _TRANSPORT.items() if isinstance(error, kind)), _one_line(error))
        return StoreUnavailable(f"{where}: {text}", todo="is the store up, and the endpoint right?")
    return StoreRefused(f"{where}: {_one_line(error)}", todo="correct MAILSLUICE_STORAGE_URL or the AWS settings")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
