"""Tokens from a token endpoint over real HTTP and TLS on loopback: what is asked, and what each answer means."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
from pop3_scripts import ManualClock
from servers.tokens import TokenServer
from tls_servers import served

from ingest.adapters.clock import SystemClock
from ingest.adapters.https import Poster
from ingest.adapters.oauth import Grant, Granted, TokenEndpoint
from ingest.adapters.tcp import TcpDialer
from ingest.errors import AccountMisconfigured, CredentialsRejected, IngestError, TokenUnavailable
from ingest.models import Secret, Tls
from ingest.ports import Clock

LOOPBACK = ("127.0.0.0/8", "::1/128")
CANARY = "canary&secret+8f3a1c/2b"
REFRESH = "canary&refresh+77aa/0c"


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as running:
        running.clients["app"] = CANARY
        running.refresh_tokens[REFRESH] = "u"
        yield running


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[TokenServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with TokenServer(context) as running:
        running.clients["app"] = CANARY
        yield running


def dialer(ca_file: Path | None = None, allowed: tuple[str, ...] = LOOPBACK) -> TcpDialer:
    return TcpDialer(ca_file=str(ca_file) if ca_file else None, allowed_networks=allowed)


def endpoint(using: TcpDialer | None = None, *, deadline_s: float = 10, clock: Clock | None = None) -> TokenEndpoint:
    poster = Poster(using or dialer(), connect_timeout_s=5, deadline_s=deadline_s)
    return TokenEndpoint(poster, clock or SystemClock())


def grant(url: str, *, refresh: bool = False, scope: str | None = None) -> Grant:
    return Grant(url, "app", Secret(CANARY), Secret(REFRESH) if refresh else None, scope)


def refused(answers: TokenEndpoint, asked: Grant) -> IngestError:
    """The error, which must show no secret anywhere."""
    with pytest.raises(IngestError) as caught:
        answers.ask(asked)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(asked)
    assert "canary" not in told
    return caught.value


# What is asked


def test_client_credentials_go_as_a_form(server: TokenServer) -> None:
    granted = endpoint().ask(grant(server.url, scope="https://outlook.office365.com/.default"))
    assert server.asked == [
        {
            "grant_type": "client_credentials",
            "client_id": "app",
            "client_secret": CANARY,
            "scope": "https://outlook.office365.com/.default",
        }
    ]
    assert (granted.token.reveal() in server.issued, granted.lives_s, granted.refresh_token) == (True, 3600, None)
    assert granted.token.reveal() not in repr(granted)


def test_a_refresh_token_comes_before_client_credentials_and_may_be_replaced(server: TokenServer) -> None:
    server.rotate = True
    granted = endpoint().ask(grant(server.url, refresh=True, scope="a b"))
    assert server.asked == [
        {
            "grant_type": "refresh_token",
            "client_id": "app",
            "client_secret": CANARY,
            "refresh_token": REFRESH,
            "scope": "a b",
        }
    ]
    assert granted.refresh_token is not None
    assert granted.refresh_token.reveal() in server.refresh_tokens


def test_a_public_client_sends_no_secret(server: TokenServer) -> None:
    server.clients["app"] = None
    endpoint().ask(Grant(server.url, "app", None, Secret(REFRESH), None))
    assert server.asked == [{"grant_type": "refresh_token", "client_id": "app", "refresh_token": REFRESH}]


def test_the_host_is_named_as_the_url_writes_it(server: TokenServer) -> None:
    endpoint().ask(grant(server.url))
    [headers] = server.headers
    assert headers["Host"] == f"localhost:{server.port}"
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(("said", "lives_s"), [(None, 300), ("1800", 1800), (10**9, 86_400), (0, 300), (59.9, 59)])
def test_a_token_lives_as_long_as_the_endpoint_says_within_reason(
    server: TokenServer, said: object, lives_s: float
) -> None:
    server.expires_in = said
    assert endpoint().ask(grant(server.url)).lives_s == lives_s


# TLS and addresses


def test_the_certificate_is_verified_under_the_name_and_ca_set(
    secure: TokenServer, authority: trustme.CA, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    using = dialer(ca_file)
    assert endpoint(using).ask(grant(secure.url)).token
    other = secure.url.replace("localhost", "127.0.0.1")
    error = refused(endpoint(using), grant(other))
    assert isinstance(error, TokenUnavailable)
    assert "certificate of 127.0.0.1 is refused: IP address mismatch" in error.what
    assert using.tls_context().check_hostname
    assert len(secure.asked) == 1


def test_mail_servers_are_asked_for_no_http_after_a_token_was_fetched(
    secure: TokenServer, authority: trustme.CA, tmp_path: Path
) -> None:
    ca_file, agreed = tmp_path / "ca.pem", []
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as shaken:
            agreed.append(shaken.selected_alpn_protocol())

    using = dialer(ca_file)
    endpoint(using).ask(grant(secure.url))
    with served(handle) as port:
        using.dial("localhost", port, tls=Tls.IMPLICIT, ca_file=None).close()
    assert agreed == [None]


def test_an_unknown_issuer_is_refused(secure: TokenServer) -> None:
    error = refused(endpoint(), grant(secure.url))
    assert isinstance(error, TokenUnavailable)
    assert "certificate of localhost is refused" in error.what
    assert not secure.asked


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/", "https://10.0.0.1/", "http://localhost:1/", "https://[::1]/"])
def test_addresses_that_only_we_can_reach_are_refused(url: str) -> None:
    error = refused(endpoint(dialer(allowed=())), grant(url))
    assert isinstance(error, AccountMisconfigured)
    assert "is forbidden" in error.what


def test_plain_http_beyond_this_machine_is_refused_whatever_the_registry_says() -> None:
    error = refused(endpoint(), grant("http://login.example.com/token"))
    assert isinstance(error, AccountMisconfigured)
    assert "in plaintext" in error.what


def test_nobody_there_is_a_passing_trouble() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refused(endpoint(), grant(f"https://localhost:{port}/"))
    assert isinstance(error, TokenUnavailable)
    assert error.what == f"no access token: no connection to localhost:{port}: Connection refused"


# What answers mean


@pytest.mark.parametrize(("status", "after"), [(429, "17"), (503, None), (500, "soon"), (408, None)])
def test_an_endpoint_out_of_order_is_a_passing_trouble(server: TokenServer, status: int, after: str | None) -> None:
    server.answer = (status, {"Retry-After": after} if after else {}, b"<html>canary</html>")
    error = refused(endpoint(), grant(server.url))
    assert isinstance(error, TokenUnavailable)
    assert error.after_s == (17 if after == "17" else None)
    assert str(status) in error.what


def test_a_date_in_retry_after_counts_from_now(server: TokenServer) -> None:
    clock = ManualClock()
    server.answer = (429, {"Retry-After": format_datetime(clock.now() + timedelta(seconds=90), usegmt=True)}, b"")
    assert refused(endpoint(clock=clock), grant(server.url)).after_s == 90
    server.answer = (429, {"Retry-After": format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)}, b"")
    assert refused(endpoint(clock=clock), grant(server.url)).after_s == 0


@pytest.mark.parametrize(
    "after", ["Mon, 01 Jan 9999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +99999999999999", "9" * 400, "-1"]
)
def test_a_retry_after_that_is_no_time_to_wait_is_passed_over(server: TokenServer, after: str) -> None:
    server.answer = (503, {"Retry-After": after}, b"")
    error = refused(endpoint(), grant(server.url))
    assert isinstance(error, TokenUnavailable)
    assert error.after_s in {None, 86_400}


@pytest.mark.parametrize("status", [200, 400, 401])
@pytest.mark.parametrize(
    ("code", "kind", "todo"),
    [
        ("invalid_grant", CredentialsRejected, "sign in again and store a new refresh token"),
        ("interaction_required", CredentialsRejected, "sign in again and store a new refresh token"),
        ("invalid_client", AccountMisconfigured, "check client_id and client_secret, which may have expired"),
        ("unauthorized_client", AccountMisconfigured, "allow this client this grant, and in this tenant"),
        ("invalid_scope", AccountMisconfigured, "check scope"),
        ("something_new", AccountMisconfigured, "check the client, its secret and its scope"),
        ("temporarily_unavailable", TokenUnavailable, ""),
    ],
)
def test_each_refusal_says_what_to_do(
    server: TokenServer, status: int, code: str, kind: type[IngestError], todo: str
) -> None:
    server.answer = (status, {}, json.dumps({"error": code, "error_description": "AADSTS1: no.\r\nTrace"}).encode())
    error = refused(endpoint(), grant(server.url, refresh=True))
    assert (type(error), error.todo) == (kind, todo)
    assert error.what == f"localhost refuses an access token: {code}: AADSTS1: no."


def test_refused_client_credentials_are_not_told_to_sign_in(server: TokenServer) -> None:
    server.answer = (400, {}, b'{"error": "invalid_grant"}')
    assert refused(endpoint(), grant(server.url)).todo == "check this client's secret and consent"


@pytest.mark.parametrize(
    "written", [CANARY, "canary%26secret%2B8f3a1c%2F2b", REFRESH, CANARY.upper(), CANARY[:20], f"x={REFRESH[:12]}..."]
)
def test_a_description_that_repeats_a_secret_is_masked(server: TokenServer, written: str) -> None:
    server.answer = (400, {}, json.dumps({"error": "invalid_grant", "error_description": f"is {written}"}).encode())
    assert "****" in refused(endpoint(), grant(server.url, refresh=True)).what


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"5",
        b"<html>",
        b"[" * 100_000,
        b'{"access_token": ""}',
        b'{"access_token": 5}',
        b'{"access_token": "a b"}',
        b'{"access_token": "a\\r\\nDELE 1"}',
        b'{"access_token": "t", "expires_in": "soon"}',
        b'{"access_token": "' + b"t" * 70_000 + b'"}',
        b'{"error": ["invalid_grant"]}',
        b"\xff\xfe",
    ],
)
def test_an_answer_without_a_token_is_a_passing_trouble(server: TokenServer, body: bytes) -> None:
    server.answer = (200, {}, body)
    assert isinstance(refused(endpoint(), grant(server.url)), TokenUnavailable)


def test_a_token_of_another_type_is_a_wrong_account(server: TokenServer) -> None:
    server.answer = (200, {}, b'{"access_token": "t", "token_type": "mac"}')
    assert isinstance(refused(endpoint(), grant(server.url)), AccountMisconfigured)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 403])
def test_redirects_are_not_followed_and_other_pages_are_a_wrong_url(server: TokenServer, status: int) -> None:
    server.answer = (status, {"Location": server.url}, b"{}")
    error = refused(endpoint(), grant(server.url))
    assert isinstance(error, AccountMisconfigured)
    assert (error.what, error.todo) == (f"no access token: localhost answers {status}", "check oauth.token_url")
    assert len(server.asked) == 1


def test_an_answer_is_read_up_to_a_limit(server: TokenServer) -> None:
    server.answer = (200, {}, b" " * 300_000 + b'{"access_token": "t"}')
    error = refused(endpoint(), grant(server.url))
    assert isinstance(error, TokenUnavailable)
    assert "more than 262144 octets" in error.what


def test_an_answer_that_breaks_off_is_a_passing_trouble(server: TokenServer) -> None:
    server.answer = (200, {"Content-Length": "500"}, b'{"access_token": "t"}')
    assert isinstance(refused(endpoint(), grant(server.url)), TokenUnavailable)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_an_answer_that_drips_is_cut_at_the_deadline(
    begin: bytes, encrypted: bool, authority: trustme.CA, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    done = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        stream = context.wrap_socket(connection, server_side=True) if encrypted else connection
        try:
            stream.sendall(begin)
            while not done.wait(0.02):
                stream.sendall(b"x")
        except OSError:
            return
        finally:
            stream.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        url = f"{'https' if encrypted else 'http'}://localhost:{listener.getsockname()[1]}/"
        error = refused(endpoint(dialer(ca_file), deadline_s=0.3), grant(url))
        done.set()
        thread.join(5)
    assert isinstance(error, TokenUnavailable)
    assert "no whole answer within" in error.what


def test_what_was_granted_shows_no_token() -> None:
    granted = Granted(Secret("canary"), 1.0, Secret("canary"))
    assert "canary" not in repr(granted) + str(granted)
