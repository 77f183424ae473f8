"""Logins at a real Dovecot: every mechanism with a password, and tokens that it looks up at their endpoint."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.dovecot import DovecotServer
from servers.tokens import TokenServer

from ingest.adapters.clock import SystemClock
from ingest.adapters.credentials import credentials_over
from ingest.adapters.secrets import SecretStore
from ingest.adapters.tcp import TcpDialer
from ingest.errors import AccountMisconfigured, CredentialsRejected, IngestError
from ingest.models import Account, Auth, OAuth, Secret, Tls
from ingest.pop3.session import Session, SessionLimits
from ingest.ports import Credentials

LOOPBACK = ("127.0.0.0/8", "::1/128")
CANARY = "canary-secret-55aa"
TOKENS = (Auth.XOAUTH2, Auth.OAUTHBEARER)


@pytest.fixture
def endpoint(token_server: TokenServer) -> Iterator[TokenServer]:
    token_server.clients = {"app": CANARY}
    token_server.refresh_tokens = {"canary-refresh-77": "u"}
    token_server.username = "u"
    token_server.asked.clear()
    yield token_server
    token_server.token_characters, token_server.answer = 32, None


@pytest.fixture
def dialer(token_dovecot: DovecotServer) -> TcpDialer:
    return TcpDialer(ca_file=str(token_dovecot.ca_file), allowed_networks=LOOPBACK)


@pytest.fixture
def credentials(dialer: TcpDialer) -> Credentials:
    return credentials_over(SecretStore(None), dialer, SystemClock(), connect_timeout_s=5, deadline_s=10)


@pytest.fixture
def account(
    token_dovecot: DovecotServer, endpoint: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Account:
    """By client credentials; `env:REFRESH` has a refresh token."""
    monkeypatch.setenv("CLIENT_SECRET", CANARY)
    monkeypatch.setenv("REFRESH", "canary-refresh-77")
    return Account(
        id="a",
        host=token_dovecot.host,
        port=token_dovecot.tls_port,
        username="u",
        password="",
        auth=Auth.XOAUTH2,
        oauth=OAuth(endpoint.url, "app", client_secret="env:CLIENT_SECRET", scope="mail"),
    )


def log_in(dialer: TcpDialer, account: Account, secret: Secret, auth: Auth | None = None) -> int:
    """Log in over TLS and out again; the flights that the login took. No error may show the secret."""
    stream = dialer.dial(account.host, account.port, tls=Tls.IMPLICIT, ca_file=None)
    session = Session(stream, host=account.host, clock=SystemClock(), limits=SessionLimits())
    try:
        session.start(tls=Tls.IMPLICIT)
        before = session.flights
        session.login(account.username, secret, auth or account.auth)
        flights = session.flights - before
        assert session.listing().messages == ()
        assert session.quit()
    except IngestError as error:
        told = "".join(traceback.format_exception(error)) + repr(error)
        assert secret.reveal() not in told
        assert "canary" not in told
        raise
    finally:
        session.abort()
    return flights


# Passwords


@pytest.mark.parametrize("auth", [Auth.AUTO, Auth.USER, Auth.PLAIN, Auth.LOGIN])
def test_dovecot_takes_a_password_by_each_mechanism(dialer: TcpDialer, account: Account, auth: Auth) -> None:
    log_in(dialer, account, Secret("canary pass/word"), auth)
    with pytest.raises(CredentialsRejected) as refused:
        log_in(dialer, account, Secret("canary-wrong-password"), auth)
    assert refused.value.todo == "check the user name and the password"


def test_apop_is_only_taken_where_the_greeting_offers_it(dialer: TcpDialer, account: Account) -> None:
    with pytest.raises(AccountMisconfigured, match="does not offer APOP"):
        log_in(dialer, account, Secret("canary pass/word"), Auth.APOP)


# Tokens


@pytest.mark.parametrize("auth", TOKENS)
def test_a_short_token_takes_one_flight_and_a_long_one_two(
    dialer: TcpDialer, account: Account, credentials: Credentials, endpoint: TokenServer, auth: Auth
) -> None:
    assert log_in(dialer, account, credentials.of(account), auth) == 1
    endpoint.token_characters = 2000
    renewed = credentials.renewed(account, credentials.of(account))
    assert renewed is not None
    assert log_in(dialer, account, renewed, auth) == 2


@pytest.mark.parametrize("auth", TOKENS)
def test_a_refused_token_is_one_of_credentials_with_the_challenges_status(
    dialer: TcpDialer, account: Account, auth: Auth
) -> None:
    for refused in ("not-a-token", secrets.token_hex(1000)):
        with pytest.raises(CredentialsRejected, match="status") as caught:
            log_in(dialer, account, Secret(refused), auth)
        assert "scope, consent" in caught.value.todo


@pytest.mark.parametrize("auth", TOKENS)
def test_a_token_that_ends_before_its_time_is_renewed_once(
    dialer: TcpDialer, account: Account, credentials: Credentials, endpoint: TokenServer, auth: Auth
) -> None:
    first = credentials.of(account)
    log_in(dialer, account, first, auth)
    endpoint.revoke_all()
    assert credentials.of(account) == first
    with pytest.raises(CredentialsRejected):
        log_in(dialer, account, first, auth)
    second = credentials.renewed(account, first)
    assert second is not None
    log_in(dialer, account, second, auth)
    assert credentials.of(account) == second
    assert len(endpoint.asked) == 2


def test_a_token_that_is_refused_twice_is_one_of_credentials(
    dialer: TcpDialer, account: Account, credentials: Credentials, endpoint: TokenServer
) -> None:
    endpoint.username = "somebody-else"
    first = credentials.of(account)
    with pytest.raises(CredentialsRejected):
        log_in(dialer, account, first)
    second = credentials.renewed(account, first)
    assert second is not None
    with pytest.raises(CredentialsRejected):
        log_in(dialer, account, second)
    assert credentials.renewed(account, second) is None
    assert len(endpoint.asked) == 2


def test_a_refresh_token_logs_in_and_a_revoked_one_says_what_to_do(
    dialer: TcpDialer, account: Account, credentials: Credentials, endpoint: TokenServer
) -> None:
    assert account.oauth is not None
    client = OAuth(account.oauth.token_url, "app", client_secret="env:CLIENT_SECRET", refresh_token="env:REFRESH")
    signed_in = Account(
        id="b", host=account.host, port=account.port, username="u", password="", auth=Auth.OAUTHBEARER, oauth=client
    )
    token = credentials.of(signed_in)
    log_in(dialer, signed_in, token)
    endpoint.refresh_tokens.clear()
    with pytest.raises(CredentialsRejected) as refused:
        credentials.renewed(signed_in, token)
    assert refused.value.todo == "sign in again and store a new refresh token"
    assert "canary" not in str(refused.value) + repr(refused.value)


@pytest.mark.parametrize("auth", TOKENS)
def test_dovecot_takes_tokens_over_4_kib(
    dialer: TcpDialer, account: Account, credentials: Credentials, endpoint: TokenServer, auth: Auth
) -> None:
    endpoint.token_characters = 5000
    token = credentials.of(account)
    assert len(token.reveal()) == 5000
    log_in(dialer, account, token, auth)
