"""Maildrops as they are configured, and their secrets."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A password or token. Only `reveal()` shows it."""

    _value: str

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "****"

    __str__ = __repr__


class Tls(enum.StrEnum):
    """How the session is encrypted: from the first byte, after STLS (RFC 2595), or not at all."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


class Auth(enum.StrEnum):
    """AUTO takes USER or SASL PLAIN, whichever suits server and password; the others only when asked for."""

    AUTO = "auto"
    USER = "user"
    APOP = "apop"
    PLAIN = "plain"
    LOGIN = "login"
    XOAUTH2 = "xoauth2"
    OAUTHBEARER = "oauthbearer"

    @property
    def by_token(self) -> bool:
        """Whether the secret is an access token instead of a password."""
        return self in {Auth.XOAUTH2, Auth.OAUTHBEARER}


@dataclass(frozen=True, slots=True)
class OAuth:
    """Where access tokens come from: by refresh token if there is one, else by client credentials (RFC 6749: 6, 4.4).

    `client_secret` and `refresh_token` are references as `Account.password` is, never secrets; at least one is there.
    """

    token_url: str
    client_id: str
    client_secret: str | None = None
    refresh_token: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One POP3 service: what is learnt of it holds for all accounts there."""

    host: str
    port: int
    tls: Tls


@dataclass(frozen=True, slots=True)
class Account:
    """One maildrop to poll.

    `password` is a reference (`env:NAME`, `file:PATH`, or `sealed:…` for a literal encrypted at rest), never a secret;
    empty where `auth` takes a token, and only there `oauth` says where that comes from.
    `keep_s` None keeps mail for ever, 0 deletes after the grace, else deletes at that age. `first_poll` is "all",
    "new", or an ISO date. `fingerprints` ("sha256:<64 hex>" each) stand in place of the CA set and the host name.
    """

    id: str
    host: str
    port: int
    username: str
    password: str
    tls: Tls = Tls.IMPLICIT
    auth: Auth = Auth.AUTO
    oauth: OAuth | None = None
    ca_file: str | None = None
    fingerprints: tuple[str, ...] = ()
    allow_plaintext: bool = False
    keep_s: int | None = None
    first_poll: str = "all"
    poll_interval_s: int = 60
    tags: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False

    @property
    def place(self) -> Place:
        """The service it lies on."""
        return Place(self.host.lower(), self.port, self.tls)
