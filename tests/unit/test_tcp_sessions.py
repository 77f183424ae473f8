from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from tls_servers import Authority, dialer, greet_over_tls, received, served

from ingest.adapters import tls_sessions
from ingest.adapters.tcp import TcpDialer, TcpStream
from ingest.adapters.tls_sessions import TlsSessions
from ingest.errors import CertificateRejected, ConnectionLost
from ingest.models import Tls

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Hours:
    """A clock in place of `time.monotonic`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(tls_sessions.time, "monotonic", lambda: self.seconds)


def resumed(shared: TcpDialer, host: str, port: int, ca_file: str | None, *pins: str) -> bool:
    """Connect, read the greeting (TLS 1.3 sends its tickets before it), leave; whether a session was resumed."""
    stream = shared.dial(host, port, tls=Tls.IMPLICIT, ca_file=ca_file, fingerprints=pins)
    assert isinstance(stream, TcpStream)
    assert received(stream) == b"+OK ready\r\n"
    assert isinstance(stream._socket, ssl.SSLSocket)
    reused = stream._socket.session_reused
    stream.close()
    return bool(reused)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_again_and_again(authority: Authority, version: ssl.TLSVersion) -> None:
    shared = dialer()
    with served(greet_over_tls(authority.server_context("localhost", version=version))) as port:
        assert [resumed(shared, "localhost", port, authority.file) for _ in range(4)] == [False, True, True, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_although_the_server_hung_up_without_a_word_behind_a_long_reply(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    context, shared = authority.server_context("localhost", version=version), dialer()

    def say_and_leave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as shaken:
            shaken.sendall(b"x" * 40_000)

    def visit(port: int) -> bool:
        stream = shared.dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)
        assert isinstance(stream, TcpStream)
        assert isinstance(stream._socket, ssl.SSLSocket)
        count = 0
        while more := received(stream, most=64_000):
            count += len(more)
        reused = stream._socket.session_reused
        stream.close()
        assert count == 40_000
        return bool(reused)

    with served(say_and_leave) as port:
        assert [visit(port) for _ in range(3)] == [False, True, True]


def test_the_session_of_a_connection_that_tls_broke_is_not_resumed(authority: Authority) -> None:
    context, shared = authority.server_context("localhost"), dialer()

    def break_off(connection: socket.socket) -> None:
        shaken = context.wrap_socket(connection, server_side=True)
        shaken.sendall(b"x" * 4096)
        with socket.socket(fileno=shaken.detach()) as bare:
            bare.sendall(b"no record of TLS")

    for _ in range(2):
        with served(break_off) as port:
            stream = shared.dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)
            assert received(stream, most=50_000) == b"x" * 4096
            with pytest.raises(ConnectionLost):
                received(stream)
            stream.close()
            assert shared._trusts.of_ca(authority.file)._sessions._kept == {}


def test_a_session_that_a_server_chokes_on_is_offered_once(authority: Authority) -> None:
    context, shared, visits = authority.server_context("localhost"), dialer(), []

    def choke_once(connection: socket.socket) -> None:
        visits.append(connection)
        if len(visits) != 2:
            greet_over_tls(context)(connection)

    with served(choke_once) as port:
        assert not resumed(shared, "localhost", port, authority.file)
        with pytest.raises(ConnectionLost, match="during the TLS handshake"):
            resumed(shared, "localhost", port, authority.file)
        assert not resumed(shared, "localhost", port, authority.file)
        assert resumed(shared, "localhost", port, authority.file)


def test_a_tls_session_is_resumed_with_the_same_peer_under_the_same_ca_set_only(
    authority: Authority, tmp_path: Path
) -> None:
    shared, copy = dialer(), tmp_path / "copy.pem"
    copy.write_bytes(Path(authority.file).read_bytes())
    with served(greet_over_tls(authority.server_context("localhost", "127.0.0.1"))) as port:
        assert not resumed(shared, "localhost", port, authority.file)
        assert resumed(shared, "localhost", port, authority.file)
        assert not resumed(shared, "127.0.0.1", port, authority.file)
        assert not resumed(shared, "localhost", port, str(copy))
        assert not resumed(dialer(), "localhost", port, authority.file)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_under_the_same_pins_only(authority: Authority, version: ssl.TLSVersion) -> None:
    shared, other = dialer(), "sha256:" + "0" * 64
    with served(greet_over_tls(authority.server_context("localhost", version=version))) as port:
        pin = authority.pins[0]
        assert not resumed(shared, "localhost", port, authority.file)
        assert not resumed(shared, "localhost", port, None, pin)
        assert resumed(shared, "localhost", port, None, pin)
        assert not resumed(shared, "localhost", port, None, other, pin)
        assert resumed(shared, "localhost", port, authority.file)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_session_still_has_the_certificate_to_compare(
    authority: Authority, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = dialer()
    with served(greet_over_tls(authority.server_context("localhost", version=version))) as port:
        resumed(shared, "localhost", port, None, authority.pins[0])
        stream = shared.dial("localhost", port, tls=Tls.IMPLICIT, ca_file=None, fingerprints=(authority.pins[0],))
        assert received(stream)
        assert stream.tls is not None
        assert stream.tls.sha256 == authority.pins[0]
        stream.close()
        with monkeypatch.context() as patched:  # a Python that has none: it is refused, and asked for in full next time
            patched.setattr(ssl.SSLSocket, "getpeercert", lambda *_args, **_more: None)
            with pytest.raises(CertificateRejected, match="is not the pinned one"):
                resumed(shared, "localhost", port, None, authority.pins[0])
        assert not resumed(shared, "localhost", port, None, authority.pins[0])


def test_a_session_is_resumed_for_an_hour_and_then_the_certificate_is_verified_anew(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours, shared = Hours(monkeypatch), dialer()
    with served(greet_over_tls(authority.server_context("localhost"))) as port:
        assert not resumed(shared, "localhost", port, authority.file)
        hours.seconds = 3599
        assert resumed(shared, "localhost", port, authority.file)
        hours.seconds = 3601
        assert not resumed(shared, "localhost", port, authority.file)
        assert resumed(shared, "localhost", port, authority.file)


def test_no_session_outlives_its_certificate(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    hours, shared = Hours(monkeypatch), dialer()
    soon = datetime.now(UTC) + timedelta(minutes=5)
    with served(greet_over_tls(authority.server_context("localhost", not_after=soon))) as port:
        resumed(shared, "localhost", port, authority.file)
        hours.seconds = 240
        assert resumed(shared, "localhost", port, authority.file)
        hours.seconds = 301
        assert not resumed(shared, "localhost", port, authority.file)


def test_a_session_that_the_server_no_longer_knows_is_a_full_handshake(authority: Authority) -> None:
    shared, contexts = dialer(), [authority.server_context("localhost") for _ in range(2)]

    def another(connection: socket.socket) -> None:
        greet_over_tls(contexts.pop())(connection)

    with served(another) as port:
        assert not resumed(shared, "localhost", port, authority.file)
        assert not resumed(shared, "localhost", port, authority.file)


def test_a_server_that_never_resumes_is_offered_no_session_after_the_third_time(authority: Authority) -> None:
    shared, contexts = dialer(), [authority.server_context("localhost")] * 2
    contexts += [authority.server_context("localhost") for _ in range(4)]

    def another(connection: socket.socket) -> None:
        greet_over_tls(contexts.pop())(connection)

    with served(another) as port:
        # Four that know nothing of each other; behind them one that would resume.
        assert [resumed(shared, "localhost", port, authority.file) for _ in range(6)] == [False] * 6


def test_connections_that_were_offered_nothing_are_no_refusals() -> None:
    sessions = TlsSessions()
    shaken = SimpleNamespace(session=SimpleNamespace(has_ticket=True, ticket_lifetime_hint=100, timeout=7200))
    for _ in range(5):  # as when five begin at the same time
        sessions.keep("peer", shaken, offered=False, left_s=60)  # type: ignore[arg-type]
    assert sessions.of("peer") is shaken.session


def test_a_resumed_session_clears_the_refusals_before_it() -> None:
    sessions = TlsSessions()
    shaken = SimpleNamespace(session=SimpleNamespace(has_ticket=True, ticket_lifetime_hint=100, timeout=7200))
    for offered in (False, True, True):
        sessions.keep("peer", shaken, offered=offered, left_s=60)  # type: ignore[arg-type]
    sessions.resumed("peer")
    sessions.keep("peer", shaken, offered=True, left_s=60)  # type: ignore[arg-type]
    assert sessions.of("peer") is shaken.session


def test_an_impostor_is_refused_although_an_earlier_session_with_that_name_is_remembered(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    contexts = [Authority(tmp_path / "other").server_context("localhost"), authority.server_context("localhost")]

    def next_one(connection: socket.socket) -> None:
        greet_over_tls(contexts.pop())(connection)

    shared = dialer()
    with served(next_one) as port:
        resumed(shared, "localhost", port, authority.file)
        with pytest.raises(CertificateRejected, match="unknown issuer"):
            resumed(shared, "localhost", port, authority.file)


def test_remembered_sessions_are_bounded(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_sessions, "_PEERS", 1)
    shared = dialer()
    with served(greet_over_tls(authority.server_context("localhost", "127.0.0.1"))) as port:
        for host in ("localhost", "127.0.0.1", "localhost"):
            assert not resumed(shared, host, port, authority.file)
