"""Settings of the sink: where events go beside the stream, and how the relay brings them there.

Rules of this file:
- A URL is checked here as far as it can be without asking anybody; what it names is found by the adapter.
- Secrets are never echoed, whatever is wrong with them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from ingest.oauth import endpoint
from ingest.written import Wrong

_YEAR_S = 31_536_000
_SECRET = re.compile(r"whsec_([A-Za-z0-9+/]+={0,2})")
_FEWEST_OCTETS, _MOST_OCTETS = 24, 64  # Standard Webhooks, symmetric keys
_ACCOUNT_ID = re.compile(r"\d{12}")
_AWS_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}(\.fifo)?")
_AMQP_KEYS = frozenset({"queue", "exchange", "routing_key"})


def _secrets(value: object) -> tuple[SecretStr, ...]:
    """A JSON list, or one secret as it is."""
    right = "a secret of Standard Webhooks (whsec_ and base64 of 24 to 64 octets), or a JSON list of them"
    try:
        listed = json.loads(value) if isinstance(value, str) and value.startswith("[") else value
    except ValueError:
        listed = None
    items = [listed] if isinstance(listed, str) else listed if isinstance(listed, list | tuple) else [None]
    texts = [item.get_secret_value() if isinstance(item, SecretStr) else item for item in items]
    if not all(isinstance(text, str) and _FEWEST_OCTETS <= len(_octets(text)) <= _MOST_OCTETS for text in texts):
        raise ValueError(f"is not {right}")
    return tuple(SecretStr(str(text)) for text in texts)


def _octets(secret: str) -> bytes:
    """The key in a `whsec_` secret; nothing where it is none."""
    found = _SECRET.fullmatch(secret.strip())
    try:
        return base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        return b""


def _aws(parts: SplitResult) -> str | None:
    right = f"({parts.scheme}://123456789012/name)"
    if not _ACCOUNT_ID.fullmatch(parts.netloc):
        return f"names no AWS account of 12 digits {right}"
    if not _AWS_NAME.fullmatch(parts.path.removeprefix("/")) or parts.query:
        return f"names nothing in it {right}"
    return None


def _amqp(parts: SplitResult) -> str | None:
    right = "(amqp://user:password@host:5672/vhost?queue=name, or ?exchange=name&routing_key=key)"
    given = parse_qs(parts.query, keep_blank_values=True)
    if not parts.hostname:
        return f"names no host {right}"
    if ("queue" in given) == ("exchange" in given) or not given.keys() <= _AMQP_KEYS:
        return f"names neither a queue nor an exchange, or both, or something else {right}"
    if any(len(values) != 1 or not values[0] for values in given.values()) or {"queue", "routing_key"} <= given.keys():
        return f"has a key twice, empty, or with a queue {right}"
    return None


def _http(parts: SplitResult) -> str | None:
    try:
        endpoint(parts.geturl())
    except Wrong:
        return "is no URL to post to, or would carry mail beyond this machine in plaintext (https://host/path)"
    return None


_CHECKS: Mapping[str, Callable[[SplitResult], str | None]] = {
    "https": _http,
    "http": _http,
    "sqs": _aws,
    "sns": _aws,
    "amqp": _amqp,
    "amqps": _amqp,
}


class SinkSettings(BaseSettings):
    """The part of `Settings` about the sink and its relay."""

    sink_url: str | None = Field(None, repr=False)
    sink_timeout_s: float = Field(30, gt=0, le=_YEAR_S, allow_inf_nan=False)
    webhook_secrets: Annotated[tuple[SecretStr, ...], BeforeValidator(_secrets)] = ()
    webhook_connections: int = Field(8, ge=1, le=256)
    relay_group: str = Field("relay", min_length=1, max_length=64)
    relay_batch_events: int = Field(100, ge=1, le=10_000)
    relay_max_wait_s: float = Field(60, gt=0, le=_YEAR_S, allow_inf_nan=False)
    relay_give_up_s: float = Field(86_400, gt=0, le=_YEAR_S, allow_inf_nan=False)

    @property
    def webhook_keys(self) -> tuple[bytes, ...]:
        """What the webhook's secrets stand for."""
        return tuple(_octets(secret.get_secret_value()) for secret in self.webhook_secrets)

    @field_validator("sink_url")
    @classmethod
    def _sink_url_names_a_sink(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            check = _CHECKS[parts.scheme]
            wrong = check(parts) if parts.port is None or parts.port else "has no such port"
        except (ValueError, KeyError):
            raise ValueError(
                "is not a sink's URL (https://host/path, sqs://123456789012/queue, sns://123456789012/topic, "
                "amqps://user:password@host/vhost?queue=name)"
            ) from None
        if wrong:
            raise ValueError(wrong)
        return url
