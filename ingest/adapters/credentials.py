"""What accounts log in with: passwords as they are now, and access tokens."""

from __future__ import annotations

from ingest.adapters.https import Poster
from ingest.adapters.oauth import Grant, TokenEndpoint
from ingest.adapters.tcp import TcpDialer
from ingest.adapters.tokens import Tokens
from ingest.errors import AccountMisconfigured
from ingest.models import Account, Secret
from ingest.ports import Clock, Secrets


def credentials_over(
    secrets: Secrets, dialer: TcpDialer, clock: Clock, *, connect_timeout_s: float, deadline_s: float
) -> AccountCredentials:
    """Credentials whose tokens come from the accounts' endpoints; the arguments are those of `Poster`."""
    poster = Poster(dialer, connect_timeout_s=connect_timeout_s, deadline_s=deadline_s)
    return AccountCredentials(secrets, Tokens(TokenEndpoint(poster, clock).ask, clock))


class AccountCredentials:
    """Implements `ports.Credentials`.

    Args:
        secrets: fetches passwords, clients' secrets and refresh tokens, anew each time.
        tokens: gets and keeps access tokens.
    """

    def __init__(self, secrets: Secrets, tokens: Tokens) -> None:
        self._secrets = secrets
        self._tokens = tokens

    def of(self, account: Account) -> Secret:
        if account.auth.by_token:
            return self._tokens.of(self._grant(account))
        return self._secrets.resolve(account.password)

    def mark(self, account: Account, secret: Secret) -> str | None:
        return None if account.auth.by_token else self._secrets.mark(account.id, secret)

    def renewed(self, account: Account, refused: Secret) -> Secret | None:
        return self._tokens.renewed(self._grant(account), refused) if account.auth.by_token else None

    def _grant(self, account: Account) -> Grant:
        client = account.oauth
        if client is None:
            raise AccountMisconfigured(f'auth = "{account.auth}" needs an [account.oauth] table')
        return Grant(
            token_url=client.token_url,
            client_id=client.client_id,
            client_secret=self._secrets.resolve(client.client_secret) if client.client_secret else None,
            refresh_token=self._secrets.resolve(client.refresh_token) if client.refresh_token else None,
            scope=client.scope,
        )
