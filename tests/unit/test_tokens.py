"""Tokens in this process: kept until shortly before they expire, asked for once for all who want one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from pop3_scripts import ManualClock

from ingest import ports
from ingest.adapters.credentials import AccountCredentials
from ingest.adapters.oauth import Grant, Granted
from ingest.adapters.tokens import QUIET_S, RENEWAL_S, Tokens
from ingest.errors import (
    AccountMisconfigured,
    CredentialsRejected,
    IngestError,
    SecretUnavailable,
    TokenUnavailable,
)
from ingest.models import Account, Auth, OAuth, Secret
from ingest.settings import Settings
from ingest.wiring import build

CLIENT = Grant("https://login.example.com/token", "app", Secret("canary-secret"), None, "mail")
SIGNED_IN = replace(CLIENT, refresh_token=Secret("canary-refresh"))


@dataclass
class Endpoint:
    """Gives t1, t2 and so on, or fails with what was prepared."""

    lives_s: float = 3600
    fresh_refresh_token: Callable[[int], str | None] = lambda _: None
    failure: IngestError | None = None
    repeats: bool = False
    hold: threading.Event | None = None
    asked: list[Grant] = field(default_factory=list)

    def ask(self, grant: Grant) -> Granted:
        self.asked.append(grant)
        if self.hold is not None:
            assert self.hold.wait(10)
        if self.failure is not None:
            raise self.failure
        number = 1 if self.repeats else len(self.asked)
        fresh = self.fresh_refresh_token(number)
        return Granted(Secret(f"t{number}"), self.lives_s, None if fresh is None else Secret(fresh))


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(endpoint: Endpoint, clock: ManualClock) -> Tokens:
    return Tokens(endpoint.ask, clock)


def test_a_token_is_kept_until_a_margin_before_it_expires(
    tokens: Tokens, endpoint: Endpoint, clock: ManualClock
) -> None:
    assert tokens.of(CLIENT).reveal() == "t1"
    clock.seconds = 3539
    assert tokens.of(CLIENT).reveal() == "t1"
    clock.seconds = 3540
    assert tokens.of(CLIENT).reveal() == "t2"
    assert len(endpoint.asked) == 2


def test_a_token_that_hardly_lives_is_used_for_half_its_life(
    tokens: Tokens, endpoint: Endpoint, clock: ManualClock
) -> None:
    endpoint.lives_s = 10
    tokens.of(CLIENT)
    clock.seconds = 4.9
    assert tokens.of(CLIENT).reveal() == "t1"
    clock.seconds = 5
    assert tokens.of(CLIENT).reveal() == "t2"


def test_one_token_serves_all_who_know_the_client(tokens: Tokens, endpoint: Endpoint) -> None:
    assert {tokens.of(replace(CLIENT)).reveal() for _ in range(5)} == {"t1"}
    others = (
        replace(CLIENT, token_url="https://login.example.com/other"),
        replace(CLIENT, client_id="other"),
        replace(CLIENT, scope=None),
        replace(CLIENT, client_secret=Secret("guessed")),
        replace(CLIENT, client_secret=None, refresh_token=Secret("canary-secret")),
        SIGNED_IN,
        replace(SIGNED_IN, refresh_token=Secret("another")),
    )
    assert len({tokens.of(other).reveal() for other in others} | {"t1"}) == 1 + len(others)
    assert len(endpoint.asked) == 1 + len(others)


def in_threads(count: int, work: Callable[[], object], endpoint: Endpoint, tokens: Tokens) -> list[object]:
    """What `count` threads got that all wanted it while one asked."""
    endpoint.hold = threading.Event()

    def attempt() -> object:
        try:
            return work()
        except IngestError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(attempt) for _ in range(count)]
        endpoint.hold.set()
        return [each.result(10) for each in running]


def test_many_threads_share_one_request(tokens: Tokens, endpoint: Endpoint) -> None:
    found = in_threads(16, lambda: tokens.of(CLIENT), endpoint, tokens)
    assert found == [Secret("t1")] * 16
    assert len(endpoint.asked) == 1


def test_many_threads_share_one_failure_each_with_an_exception_of_its_own(tokens: Tokens, endpoint: Endpoint) -> None:
    endpoint.failure = TokenUnavailable("no answer", todo="wait")
    found = in_threads(16, lambda: tokens.of(CLIENT), endpoint, tokens)
    assert {(type(error), str(error)) for error in found} == {(TokenUnavailable, "no answer (wait)")}
    assert len(set(map(id, found))) == 16
    assert len(endpoint.asked) == 1


def test_many_threads_share_one_renewal(tokens: Tokens, endpoint: Endpoint) -> None:
    refused = tokens.of(CLIENT)
    found = in_threads(16, lambda: tokens.renewed(CLIENT, refused), endpoint, tokens)
    assert found == [Secret("t2")] * 16
    assert len(endpoint.asked) == 2


def test_a_slow_endpoint_holds_up_nobody_elses_tokens(tokens: Tokens, endpoint: Endpoint) -> None:
    kept = tokens.of(SIGNED_IN)
    endpoint.hold = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(tokens.of, CLIENT)
        assert tokens.of(SIGNED_IN) == kept
        endpoint.hold.set()
        assert slow.result(10).reveal() == "t2"


def test_a_failing_endpoint_is_left_alone_for_a_while(tokens: Tokens, endpoint: Endpoint, clock: ManualClock) -> None:
    endpoint.failure = CredentialsRejected("invalid_grant", todo="sign in again")
    for _ in range(3):
        with pytest.raises(CredentialsRejected, match="sign in again"):
            tokens.of(CLIENT)
    assert len(endpoint.asked) == 1
    endpoint.failure, clock.seconds = None, QUIET_S
    assert tokens.of(CLIENT).reveal() == "t2"


def test_an_endpoint_is_left_alone_for_as_long_as_it_asks(
    tokens: Tokens, endpoint: Endpoint, clock: ManualClock
) -> None:
    endpoint.failure = TokenUnavailable("429", after_s=120)
    with pytest.raises(TokenUnavailable):
        tokens.of(CLIENT)
    clock.seconds = 50
    with pytest.raises(TokenUnavailable) as caught:
        tokens.of(CLIENT)
    assert caught.value.after_s == 70
    assert len(endpoint.asked) == 1
    clock.seconds = 120
    with pytest.raises(TokenUnavailable):
        tokens.of(CLIENT)
    assert len(endpoint.asked) == 2


def test_a_refused_token_is_renewed_before_its_time(tokens: Tokens) -> None:
    refused = tokens.of(CLIENT)
    assert tokens.renewed(CLIENT, refused) == Secret("t2")
    assert tokens.of(CLIENT) == Secret("t2")


def test_who_was_slower_gets_the_token_that_is_there(tokens: Tokens, endpoint: Endpoint) -> None:
    refused = tokens.of(CLIENT)
    tokens.renewed(CLIENT, refused)
    assert tokens.renewed(CLIENT, refused) == Secret("t2")
    assert len(endpoint.asked) == 2


def test_accounts_that_are_refused_with_any_token_do_not_renew_without_end(
    tokens: Tokens, endpoint: Endpoint, clock: ManualClock
) -> None:
    fresh = tokens.renewed(CLIENT, tokens.of(CLIENT))
    assert fresh is not None
    for _ in range(5):
        assert tokens.renewed(CLIENT, fresh) is None
    assert len(endpoint.asked) == 2
    clock.seconds = RENEWAL_S
    assert tokens.renewed(CLIENT, fresh) == Secret("t3")


def test_a_renewal_that_brings_the_same_token_brings_none(tokens: Tokens, endpoint: Endpoint) -> None:
    endpoint.repeats = True
    assert tokens.renewed(CLIENT, tokens.of(CLIENT)) is None


def test_a_renewal_that_fails_leaves_the_token_to_the_others(tokens: Tokens, endpoint: Endpoint) -> None:
    refused = tokens.of(CLIENT)
    endpoint.failure = TokenUnavailable("down")
    with pytest.raises(TokenUnavailable):
        tokens.renewed(CLIENT, refused)
    assert tokens.of(CLIENT) == refused


def test_a_new_refresh_token_is_used_from_then_on(tokens: Tokens, endpoint: Endpoint, clock: ManualClock) -> None:
    endpoint.fresh_refresh_token = lambda number: "rotated" if number == 1 else None
    for _ in range(3):
        tokens.of(SIGNED_IN)
        clock.seconds += 3600
    used = [grant.refresh_token.reveal() for grant in endpoint.asked if grant.refresh_token]
    assert used == ["canary-refresh", "rotated", "rotated"]
    tokens.of(replace(SIGNED_IN, refresh_token=Secret("stored anew")))
    assert endpoint.asked[-1].refresh_token == Secret("stored anew")


def test_so_many_grants_are_remembered_and_the_longest_unused_is_forgotten(
    endpoint: Endpoint, clock: ManualClock
) -> None:
    tokens = Tokens(endpoint.ask, clock, most=2)
    first, second, third = (replace(CLIENT, client_id=name) for name in "abc")
    for grant in (first, second, first, third, first):
        tokens.of(grant)
    assert len(endpoint.asked) == 3
    tokens.of(second)
    assert len(endpoint.asked) == 4


def test_nothing_shows_a_secret(tokens: Tokens) -> None:
    tokens.of(SIGNED_IN)
    shown = repr(vars(tokens)) + repr(SIGNED_IN)
    assert "canary" not in shown
    assert "t1" not in shown


# Credentials of accounts


@dataclass
class Vault:
    """Knows secrets by their references."""

    known: dict[str, str]

    def resolve(self, reference: str) -> Secret:
        if reference not in self.known:
            raise SecretUnavailable(f"{reference} is not set")
        return Secret(self.known[reference])

    def seal(self, literal: str) -> str:
        raise NotImplementedError


def account(id_: str = "a", *, auth: Auth = Auth.XOAUTH2, oauth: OAuth | None = None) -> Account:
    return Account(
        id=id_,
        host="pop.example.com",
        port=995,
        username=f"{id_}@example.com",
        password="env:PW",
        auth=auth,
        oauth=oauth,
    )


BY_CLIENT = OAuth("https://login.example.com/token", "app", client_secret="env:SECRET", scope="mail")


@pytest.fixture
def vault() -> Vault:
    return Vault({"env:PW": "canary-password", "env:SECRET": "canary-secret", "env:REFRESH": "canary-refresh"})


@pytest.fixture
def credentials(vault: Vault, tokens: Tokens) -> ports.Credentials:
    return AccountCredentials(vault, tokens)


def test_passwords_are_fetched_anew_and_never_renewed(credentials: ports.Credentials, vault: Vault) -> None:
    by_password = account(auth=Auth.AUTO)
    assert credentials.of(by_password).reveal() == "canary-password"
    vault.known["env:PW"] = "changed"
    assert credentials.of(by_password).reveal() == "changed"
    assert credentials.renewed(by_password, Secret("changed")) is None


def test_accounts_of_one_client_share_its_token(credentials: ports.Credentials, endpoint: Endpoint) -> None:
    assert {credentials.of(account(f"a{n}", oauth=BY_CLIENT)).reveal() for n in range(100)} == {"t1"}
    [asked] = endpoint.asked
    assert asked == Grant("https://login.example.com/token", "app", Secret("canary-secret"), None, "mail")


def test_accounts_with_refresh_tokens_have_a_token_each(
    credentials: ports.Credentials, vault: Vault, endpoint: Endpoint
) -> None:
    vault.known["env:OTHER"] = "canary-other"
    for reference in ("env:REFRESH", "env:OTHER", "env:REFRESH"):
        credentials.of(account(oauth=replace(BY_CLIENT, refresh_token=reference)))
    assert len(endpoint.asked) == 2


def test_a_changed_secret_counts_at_once(credentials: ports.Credentials, vault: Vault, endpoint: Endpoint) -> None:
    endpoint.failure = AccountMisconfigured("invalid_client")
    with pytest.raises(AccountMisconfigured):
        credentials.of(account(oauth=BY_CLIENT))
    vault.known["env:SECRET"], endpoint.failure = "mended", None
    assert credentials.of(account(oauth=BY_CLIENT)).reveal() == "t2"


def test_a_refused_token_of_an_account_is_renewed(credentials: ports.Credentials) -> None:
    one = account(oauth=BY_CLIENT)
    assert credentials.renewed(one, credentials.of(one)) == Secret("t2")


def test_what_is_missing_has_its_line(credentials: ports.Credentials) -> None:
    with pytest.raises(SecretUnavailable, match="env:GONE"):
        credentials.of(account(oauth=replace(BY_CLIENT, client_secret="env:GONE")))
    with pytest.raises(AccountMisconfigured, match=r"needs an \[account.oauth\] table"):
        credentials.of(account(oauth=None))


def test_a_process_has_one_set_of_credentials_over_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "canary-password")
    services = build(Settings())
    assert services.credentials is services.credentials
    assert services.credentials.of(account(auth=Auth.PLAIN)).reveal() == "canary-password"
    client = OAuth("http://login.example.com/", "app", client_secret="env:PW")
    with pytest.raises(AccountMisconfigured, match="in plaintext"):
        services.credentials.of(account(oauth=client))
