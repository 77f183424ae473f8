"""What S3 and botocore say, as our errors: whose fault, whether to try again, and what to do.

Rules of this file:
- Busy or broken is StoreUnavailable, a plain no is StoreRefused; each is one line, without any secret.
- KMS speaks through S3: its codes come in S3's answers, mostly with status 400.
"""

from __future__ import annotations

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

from ingest.errors import IngestError, StoreRefused, StoreUnavailable

EXISTS = frozenset({"PreconditionFailed", "412"})
MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
NOT_IMPLEMENTED = frozenset({"NotImplemented", "501"})

_BUSY = frozenset({408, 409, 425, 429})
_BUSY_CODES = frozenset({
    "SlowDown",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "KMS.ThrottlingException",
    "KMS.LimitExceededException",
    "KMS.DependencyTimeoutException",
    "KMS.KeyUnavailableException",
    "KMS.KMSInternalException",
})  # fmt: skip
_FULL = 507
_LONGEST_WAIT_S = 86_400.0

_TRANSPORT: dict[type[BotoCoreError], str] = {
    ConnectTimeoutError: "no connection in time",
    ReadTimeoutError: "no answer in time",
    EndpointConnectionError: "nobody answers there",
    ConnectionClosedError: "the connection was closed",
}

_PASSING = (ConnectionError, HTTPClientError, IncompleteReadError, CredentialRetrievalError, MetadataRetrievalError)

_KEY = "correct MAILSLUICE_S3_KMS_KEY_ID, or the key of the bucket's default encryption"
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
    "NotImplemented": "this store lacks something that MAILSLUICE_S3_* asks for: leave that out",
    "InvalidStorageClass": "this store lacks that class: correct MAILSLUICE_S3_STORAGE_CLASS",
    "InvalidTag": "correct MAILSLUICE_S3_TAGS",
    "KMS.NotFoundException": f"there is no such KMS key in the bucket's region: {_KEY}",
    "KMS.DisabledException": "enable the KMS key",
    "KMS.KMSInvalidStateException": "enable the KMS key, or cancel its deletion",
    "KMS.InvalidKeyUsageException": f"a symmetric key for encryption is needed: {_KEY}",
}
_ADVICE["403"] = _ADVICE["AllAccessDisabled"] = _ADVICE["AccessDenied"]
_ADVICE["XAmzContentChecksumMismatch"] = _ADVICE["XAmzContentSHA256Mismatch"] = _ADVICE["BadDigest"]
_ADVICE["501"] = _ADVICE["NotImplemented"]
_ADVICE["KMS.InvalidStateException"] = _ADVICE["KMS.KMSInvalidStateException"]
# What an AccessDenied lacks stands in its message, where it is not one of the usual three.
_PERMISSIONS = {
    "kms:": "allow kms:GenerateDataKey and kms:Decrypt on that KMS key for these credentials",
    "s3:PutObjectTagging": "allow s3:PutObjectTagging for these credentials, or leave MAILSLUICE_S3_TAGS out",
}


def code_of(error: BaseException | None) -> str:
    """The code of an answer; "" for whatever is none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def of_answer(error: ClientError, where: str) -> IngestError:
    """What the store answered."""
    code, status = code_of(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = one_line(error.response.get("Error", {}).get("Message", ""))
    if code in _BUSY_CODES or status in _BUSY or (status >= 500 and status not in (501, _FULL)):  # noqa: PLR2004 - HTTP
        after = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
        return StoreUnavailable(f"{where}: {status} {code}", after_s=_seconds(after))
    if status == _FULL:
        return StoreRefused(f"{where}: no space left", todo="free space in the store")
    advice = _ADVICE.get(code, "see the store's own log")
    if code == "AccessDenied":
        advice = next((todo for lacked, todo in _PERMISSIONS.items() if lacked in message), advice)
    return StoreRefused(f"{where}: {code}: {message}", todo=advice)


def of_transport(error: BotoCoreError, where: str) -> IngestError:
    """What botocore could not even ask, or what a body raised while it was sent: a lost lease, a spool's disk."""
    ours = error.kwargs.get("error")
    if isinstance(ours, IngestError):
        return ours
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreRefused(
            f"{where}: {one_line(error)}",
            todo="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another source of the AWS chain",
        )
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreRefused(f"{where}: {one_line(error)}", todo="set AWS_CA_BUNDLE, or renew the certificate")
    if isinstance(error, _PASSING):
        text = next((text for kind, text in _TRANSPORT.items() if isinstance(error, kind)), one_line(error))
        return StoreUnavailable(f"{where}: {text}", todo="is the store up, and the endpoint right?")
    return StoreRefused(f"{where}: {one_line(error)}", todo="correct MAILSLUICE_STORAGE_URL or the AWS settings")


def one_line(text: object) -> str:
    """The start of a text, on one line."""
    return " ".join(str(text).split())[:300]


def _seconds(text: str) -> float | None:
    """What Retry-After asks for, if it is a number: of days, nobody means it."""
    return min(float(text), _LONGEST_WAIT_S) if text.isdecimal() else None
