"""The client of S3, and how its puts are signed.

Rules of this file:
- Endpoint, region and credentials come from the standard AWS chain and from nowhere else.
- botocore does not retry: that is done one layer above, on StoreUnavailable. Timeouts are set here and nowhere else.
- A put's SHA-256 is known before it is sent. It is signed as the payload's, which every store checks against the body,
  without reading the body for it. Other ways to sign than SigV4 (S3 Express, several regions) are left to botocore.
- Nothing is remembered between requests: any number of threads may put at once.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import boto3.session
import botocore
from botocore.auth import S3SigV4Auth
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from ingest.adapters.s3_errors import one_line
from ingest.errors import ConfigurationError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from botocore.signers import RequestSigner
    from types_boto3_s3.client import S3Client

_SMALL_BYTES = 1 << 20  # up to here a body leaves in one send, and does not wait for "100 Continue"
_SIGV4 = "s3v4"
_CALLED = frozenset({"v4", "s3v4"})  # as botocore calls it meanwhile
_OURS = "mailsluice signs"
_CHECKSUM = "x-amz-checksum-sha256"


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
        client = boto3.session.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError([f"AWS settings: {one_line(error)}"]) from error
    hooks: Any = client.meta.events  # its stubs know of no hook that answers
    hooks.register("choose-signer.s3.GetObject", _how_links_are_signed)
    hooks.register("choose-signer.s3.PutObject", _who_signs)
    hooks.register("before-sign.s3.PutObject", _before_sign)
    return client


def _how_links_are_signed(signature_version: str, **_others: object) -> str | None:
    """Botocore's hook: it would make links of the old kind, which KMS and newer regions refuse."""
    return f"{_SIGV4}-query" if signature_version.removesuffix("-query") in _CALLED else None


def _who_signs(signature_version: object, context: dict[str, object], **_others: object) -> object:
    """Botocore's hook: UNSIGNED keeps it from signing after us, None leaves it to botocore."""
    context[_OURS] = signature_version in _CALLED
    return botocore.UNSIGNED if context[_OURS] else None


def _before_sign(request: AWSRequest, request_signer: RequestSigner, **_others: object) -> None:
    """Botocore's hook: a small body as octets, and the signature."""
    body: Any = request.data
    if int(request.headers["Content-Length"]) <= _SMALL_BYTES and hasattr(body, "read"):
        del request.headers["Expect"]
        body.seek(0)  # after a redirect it was read already
        request.data = body.read()
    if request.context.get(_OURS):
        _sign(request, request_signer)


def _sign(request: AWSRequest, signer: RequestSigner) -> None:
    where = request.context.get("signing", {})
    auth = signer.get_auth_instance(
        where.get("signing_name", signer.signing_name), where.get("region", signer.region_name), _SIGV4
    )
    if isinstance(auth, S3SigV4Auth):  # awscrt, where that is installed, brings a class of its own
        digest = base64.b64decode(request.headers[_CHECKSUM]).hex()
        auth.payload = lambda request: digest  # type: ignore[method-assign]  # noqa: ARG005 - botocore's name for it
    auth.add_auth(request)
