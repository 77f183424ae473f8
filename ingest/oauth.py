"""OAuth clients as an accounts file writes them: the table [account.oauth] in, `models.OAuth` out. Pure.

Rules of this room:
- Secrets are references. They travel to `token_url` and nowhere else, in plaintext only within this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ingest.models import OAuth
from ingest.written import Reader, Seal, Wrong, is_loopback, no_such_key

KEYS = ("token_url", "client_id", "client_secret", "refresh_token", "scope")
NEEDED = "token_url, client_id, and client_secret or refresh_token"
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A token URL in its parts. `authority` is for the Host header, `target` for the request line (RFC 9112, 3)."""

    encrypted: bool
    host: str
    port: int
    authority: str
    target: str


def read_oauth(table: Mapping[str, Any], seal: Seal | None) -> OAuth:
    """The client that a table describes; Wrong with a line for each wrong key."""
    reader, lines = _Fields(table, seal), []
    values: dict[str, Any] = {}
    for key in KEYS:
        try:
            values[key] = getattr(reader, key)()
        except Wrong as wrong:
            lines += wrong.under(f".{key}")
    lines += [f".{key}: {no_such_key(key, KEYS)}" for key in table if key not in KEYS]
    if not {"client_secret", "refresh_token"} & table.keys():
        lines.append("needs a client_secret (for client credentials), a refresh_token, or both")
    if lines:
        raise Wrong(*lines)
    return OAuth(**values)


def endpoint(token_url: str) -> Endpoint:
    """A token URL in its parts; Wrong for what is none, or would carry secrets in plaintext beyond this machine."""
    # urlsplit passes over line breaks and more; and it raises where brackets are no address
    plain = token_url.isascii() and token_url.isprintable() and " " not in token_url
    try:
        parts = urlsplit(token_url) if plain else None
        port = parts.port if parts else None
    except ValueError:
        parts = port = None
    if parts is None or parts.scheme not in _PORTS or not parts.hostname or parts.fragment or "@" in parts.netloc:
        raise Wrong("is not a URL such as https://login.example.com/token")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise Wrong(f"would send secrets to {parts.hostname} in plaintext (https)")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(parts.scheme == "https", parts.hostname, port or _PORTS[parts.scheme], parts.netloc, target)


class _Fields(Reader):
    """A method a key."""

    def token_url(self) -> str:
        url = self._text("token_url", required=True)
        endpoint(url)
        return url

    def client_id(self) -> str:
        return _visible(self._text("client_id", required=True))

    def client_secret(self) -> str | None:
        return self._reference("client_secret") if "client_secret" in self._entry else None

    def refresh_token(self) -> str | None:
        return self._reference("refresh_token") if "refresh_token" in self._entry else None

    def scope(self) -> str | None:
        return _visible(self._text("scope")) or None


def _visible(text: str) -> str:
    """Client ids and scopes are printable ASCII (RFC 6749, appendix A)."""
    if not text.isascii() or not text.isprintable():
        raise Wrong("holds what is not printable ASCII")
    return text
