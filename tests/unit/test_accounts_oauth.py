"""Accounts that log in by token: what an accounts file may say, and what the registry keeps."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from ingest.accounts import account_from_json, account_to_json, as_written, build_account, compare, parse_accounts
from ingest.errors import ConfigurationError
from ingest.models import Account, Auth, OAuth
from ingest.oauth import Endpoint, endpoint
from ingest.written import Wrong

URL = "https://login.example.com/token"
CLIENT = {"token_url": URL, "client_id": "app", "client_secret": "env:SECRET"}
GOOD = {"id": "b", "host": "pop.example.com", "username": "b@example.com", "auth": "xoauth2", "oauth": CLIENT}


def problems(entry: dict[str, object]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        build_account(entry, "b", None)
    return caught.value.problems


def built(**client: str) -> Account:
    return build_account(GOOD | {"oauth": CLIENT | client}, "b", lambda literal: f"sealed:{literal[::-1]}")


def test_a_file_names_the_client_and_no_password() -> None:
    (account,) = parse_accounts(
        """
        [[account]]
        id = "billing"
        host = "outlook.office365.com"
        username = "billing@example.com"
        auth = "xoauth2"
        [account.oauth]
        token_url = "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"
        client_id = "app"
        client_secret = "env:OAUTH_SECRET"
        scope = "https://outlook.office365.com/.default"
        """,
        "accounts.toml",
        None,
    )
    assert (account.auth, account.password) == (Auth.XOAUTH2, "")
    assert account.oauth == OAuth(
        token_url="https://login.microsoftonline.com/TENANT/oauth2/v2.0/token",
        client_id="app",
        client_secret="env:OAUTH_SECRET",
        scope="https://outlook.office365.com/.default",
    )


@pytest.mark.parametrize("auth", ["xoauth2", "oauthbearer"])
def test_a_token_login_needs_a_client_and_refuses_a_password(auth: str) -> None:
    entry = GOOD | {"auth": auth, "password": "env:PW"}
    del entry["oauth"]
    assert problems(entry) == (
        f"b: password: does not go with auth = '{auth}': its secrets stand in [account.oauth]",
        "b: oauth: is missing: [account.oauth] with token_url, client_id, and client_secret or refresh_token",
    )
    assert Auth(auth).by_token


@pytest.mark.parametrize("auth", ["auto", "user", "plain", "login", "apop"])
def test_a_password_login_refuses_a_client(auth: str) -> None:
    assert problems(GOOD | {"auth": auth, "password": "env:PW"}) == (
        "b: oauth: needs auth = 'xoauth2' or 'oauthbearer'",
    )


def test_each_wrong_key_of_the_client_has_its_line() -> None:
    client = {"token_url": "http://login.example.com/", "client_secret": "canary", "scopes": "x", "refresh_token": ""}
    assert problems(GOOD | {"oauth": client}) == (
        "b: oauth.token_url: would send secrets to login.example.com in plaintext (https)",
        "b: oauth.client_id: is missing",
        "b: oauth.client_secret: is not a reference (env:NAME or file:PATH; a literal as plain:…)",
        "b: oauth.refresh_token: must be a text",
        "b: oauth.scopes: no such key (did you mean scope?)",
    )
    assert problems(GOOD | {"oauth": {"token_url": URL, "client_id": "a"}}) == (
        "b: oauth: needs a client_secret (for client credentials), a refresh_token, or both",
    )
    assert problems(GOOD | {"oauth": "app"}) == (
        "b: oauth: must be a table: [account.oauth] with token_url, client_id, and client_secret or refresh_token",
    )


@pytest.mark.parametrize("key", ["client_id", "scope"])
@pytest.mark.parametrize("value", ["a\nb", "ä"])
def test_ids_and_scopes_are_printable_ascii(key: str, value: str) -> None:
    assert problems(GOOD | {"oauth": CLIENT | {key: value}}) == (f"b: oauth.{key}: holds what is not printable ASCII",)


@pytest.mark.parametrize(
    "url",
    [
        "login.example.com/token",
        "ftp://login.example.com/",
        "https:///token",
        "https://user:canary@login.example.com/",
        "https://login.example.com/#part",
        "https://login.example.com:99999/",
        "https://[login.example.com/",
        "https://login.example.com/a\r\nHost: b",
        "https://login.example.com/a b",
        "https://lögin.example.com/",
    ],
)
def test_what_is_no_token_url_is_refused_and_not_repeated(url: str) -> None:
    [line] = problems(GOOD | {"oauth": CLIENT | {"token_url": url}})
    assert line == "b: oauth.token_url: is not a URL such as https://login.example.com/token"


def test_a_token_url_is_taken_apart() -> None:
    assert endpoint("https://login.example.com:8443/a/b?c=d") == Endpoint(
        True, "login.example.com", 8443, "login.example.com:8443", "/a/b?c=d"
    )
    assert endpoint("http://[::1]:8080") == Endpoint(False, "::1", 8080, "[::1]:8080", "/")
    assert endpoint(URL).port == 443
    with pytest.raises(Wrong):
        endpoint("http://login.example.com/")


def test_literal_secrets_of_a_client_are_sealed_and_appear_nowhere() -> None:
    account = built(client_secret="plain:canary", refresh_token="plain:canary")
    assert account.oauth is not None
    assert (account.oauth.client_secret, account.oauth.refresh_token) == ("sealed:yranac", "sealed:yranac")
    shown = as_written(account)["oauth"]
    assert (shown["client_secret"], shown["refresh_token"]) == ("sealed", "sealed")
    assert "canary" not in repr(account) + account_to_json(account) + str(as_written(account))


def test_the_registry_keeps_a_client() -> None:
    account = built(scope="a b", refresh_token="file:/run/token")
    assert account_from_json(account_to_json(account)) == account
    newer = account_to_json(account).replace('"client_id"', '"colour":"red","client_id"')
    assert account_from_json(newer) == account


def test_an_account_from_before_there_were_clients_is_read() -> None:
    old = build_account({"id": "b", "host": "h", "username": "u", "password": "env:PW"}, "b", None)
    assert account_from_json(account_to_json(old).replace('"oauth":null,', "")) == old


def test_sealing_a_clients_secrets_again_changes_nothing() -> None:
    sealed = {"client_secret": "plain:pw", "refresh_token": "plain:rt"}
    old, new = (
        build_account(GOOD | {"oauth": CLIENT | sealed}, "b", lambda literal, n=n: f"sealed:{literal}{n}") for n in "12"
    )
    same = compare({"b": old}, [new], prune=False, same_secret=lambda one, other: one[:-1] == other[:-1])
    assert same.unchanged == (old,)
    other = compare({"b": old}, [new], prune=False, same_secret=lambda one, other: "rt" not in one)
    [changed] = other.changed
    assert changed.oauth is not None
    assert asdict(changed.oauth) | {"refresh_token": None} == asdict(old.oauth) | {"refresh_token": None}  # type: ignore[arg-type]
    assert changed.oauth.refresh_token == "sealed:rt2"
