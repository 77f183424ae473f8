"""Access tokens from a token endpoint (RFC 6749, 4.4 and 6), requests and replies by oauthlib.

Rules of this room:
- No error shows a secret, a token, or a piece of one, whatever the endpoint says; none has a cause.
- What a person must mend is told from what passes by itself: only the latter is TokenUnavailable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeGuard
from urllib.parse import quote_plus

from oauthlib.oauth2 import BackendApplicationClient, MissingTokenError, OAuth2Error, WebApplicationClient

from ingest.adapters.https import Answer, Poster, seconds_of
from ingest.errors import (
    AccountMisconfigured,
    CertificateRejected,
    ConnectionLost,
    CredentialsRejected,
    HostUnreachable,
    IngestError,
    TokenUnavailable,
)
from ingest.models import Secret
from ingest.oauth import endpoint
from ingest.pop3.replies import Cleaner
from ingest.ports import Clock
from ingest.written import Wrong

_UNSAID_S = 300.0
_LONGEST_S = 86_400.0
_TOKEN_CHARACTERS = 64 * 1024
# RFC 6749, 5.2; OpenID Connect Core, 3.1.2.6, which Microsoft uses here too.
_SIGN_IN = frozenset({"invalid_grant", "interaction_required", "login_required", "consent_required", "access_denied"})
_PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_ADVICE: Mapping[str, str] = {
    "invalid_client": "check client_id and client_secret, which may have expired",
    "unauthorized_client": "allow this client this grant, and in this tenant",
    "unsupported_grant_type": "check token_url, and whether it knows refresh tokens or client credentials",
    "invalid_scope": "check scope",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token is asked for with: a refresh token if there is one, else client credentials."""

    token_url: str
    client_id: str
    client_secret: Secret | None
    refresh_token: Secret | None
    scope: str | None


@dataclass(frozen=True, slots=True)
class Granted:
    """A token, how long it lives, and the refresh token to use from now on where the endpoint gave a new one."""

    token: Secret
    lives_s: float
    refresh_token: Secret | None


class TokenEndpoint:
    """Asks for tokens. Safe to share between threads.

    Args:
        poster: sends the request.
        clock: for a Retry-After that is a date.
    """

    def __init__(self, poster: Poster, clock: Clock) -> None:
        self._poster = poster
        self._clock = clock

    def ask(self, grant: Grant) -> Granted:
        """One request; TokenUnavailable, CredentialsRejected (sign in again), AccountMisconfigured."""
        try:
            place = endpoint(grant.token_url)
        except Wrong as wrong:
            raise AccountMisconfigured(f"oauth.token_url {wrong}") from None
        clean = Cleaner()
        for secret in (grant.client_secret, grant.refresh_token):
            if secret is not None:
                clean.hide(secret.reveal().encode(), quote_plus(secret.reveal()).encode())
        try:
            answer = self._poster.post(place, _form(grant))
        except (HostUnreachable, CertificateRejected, ConnectionLost) as error:
            raise TokenUnavailable(f"no access token: {error.what}", todo=error.todo) from None
        passing = answer.status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
        if passing or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            after_s = seconds_of(answer.retry_after, self._clock.now())
            raise TokenUnavailable(f"no access token: {place.host} answers {answer.status}", after_s=after_s)
        reply = _parsed(answer)
        if isinstance(reply, OAuth2Error):
            raise _refusal(reply, place.host, clean, by_refresh_token=grant.refresh_token is not None)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise AccountMisconfigured(
                f"no access token: {place.host} answers {answer.status}", todo="check oauth.token_url"
            )
        return _granted(reply, place.host, grant)


def _form(grant: Grant) -> str:
    secret = grant.client_secret.reveal() if grant.client_secret else None
    if grant.refresh_token is None:
        client = BackendApplicationClient(grant.client_id)
        return client.prepare_request_body(scope=grant.scope, include_client_id=True, client_secret=secret)
    return WebApplicationClient(grant.client_id).prepare_refresh_body(
        refresh_token=grant.refresh_token.reveal(),
        scope=grant.scope,
        client_id=grant.client_id,
        client_secret=secret,
    )


def _parsed(answer: Answer) -> Mapping[str, Any] | OAuth2Error:
    """The reply, or the error that it is; an empty reply where it is neither."""
    try:
        reply = BackendApplicationClient("").parse_request_body_response(answer.body)
    except MissingTokenError:
        return {}
    except OAuth2Error as error:
        return error if isinstance(error.error, str) else {}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return dict(reply)


def _granted(reply: Mapping[str, Any], host: str, grant: Grant) -> Granted:
    token, lives, fresh = reply.get("access_token"), reply.get("expires_in"), reply.get("refresh_token")
    if not _is_token(token):
        raise TokenUnavailable(f"{host} answers without an access token", todo="see whether token_url is one")
    if str(reply.get("token_type", "bearer")).lower() != "bearer":
        raise AccountMisconfigured(f"{host} gives tokens of another type than Bearer")
    lives_s = float(min(lives, _LONGEST_S)) if isinstance(lives, int) and lives > 0 else _UNSAID_S
    return Granted(Secret(token), lives_s, Secret(fresh) if grant.refresh_token and _is_token(fresh) else None)


def _refusal(error: OAuth2Error, host: str, clean: Cleaner, *, by_refresh_token: bool) -> IngestError:
    code, description = str(error.error), str(error.description or "").splitlines()
    words = clean(": ".join([code, *description[:1]]).encode("ascii", "replace"))
    what = f"{host} refuses an access token: {words}"
    if code in _PASSING:
        return TokenUnavailable(what)
    if code not in _SIGN_IN:
        return AccountMisconfigured(what, todo=_ADVICE.get(code, "check the client, its secret and its scope"))
    if by_refresh_token:
        return CredentialsRejected(what, todo="sign in again and store a new refresh token")
    return CredentialsRejected(what, todo="check this client's secret and consent")


def _is_token(value: Any) -> TypeGuard[str]:  # noqa: ANN401 - what JSON may hold
    """Printable ASCII without a space: what a form, a header and SASL can carry (RFC 6749, A; RFC 6750, 2.1)."""
    plain = isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value
    return plain and 0 < len(value) <= _TOKEN_CHARACTERS
