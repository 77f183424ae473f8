from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from pop3_scripts import ManualClock

from ingest.adapters import tcp
from ingest.adapters.tcp import TcpDialer
from ingest.errors import (
    AccountMisconfigured,
    CertificateRejected,
    ConnectionLost,
    HostUnreachable,
    ProtocolError,
    TlsNotOffered,
)
from ingest.models import Tls
from ingest.pop3.session import Session, SessionLimits
from ingest.ports import ByteStream

LOOPBACK = ("127.0.0.0/8", "::1/128")
Handler = Callable[[socket.socket], None]


@contextmanager
def served(handler: Handler) -> Iterator[int]:
    """A server on loopback that hands each connection to `handler`; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        handler(connection)
                    except OSError:
                        continue  # the client hung up, as some tests make it

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def wait_for_end(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


class Authority:
    """A CA, and the file that clients trust it by."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.file)

    def server_context(self, *names: str, not_after: datetime | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, not_after=not_after).configure_cert(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def greet_over_tls(context: ssl.SSLContext) -> Handler:
    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as shaken:
            shaken.sendall(b"+OK ready\r\n")
            wait_for_end(shaken)

    return handle


def converse(connection: socket.socket, *steps: tuple[bytes, bytes]) -> None:
    for expected, answer in steps:
        heard = b""
        while len(heard) < len(expected):
            heard += connection.recv(len(expected) - len(heard))
        assert heard == expected
        connection.sendall(answer)


def dialer(timeout_s: float = 5) -> TcpDialer:
    return TcpDialer(timeout_s, None, LOOPBACK)


def session(stream: object) -> Session:
    return Session(stream, host="localhost", clock=ManualClock(), limits=SessionLimits())  # type: ignore[arg-type]


def received(stream: ByteStream, timeout_s: float = 5, most: int = 100) -> bytes:
    room = bytearray(most)
    count = stream.receive_into(memoryview(room), timeout_s)
    return bytes(room[:count])


def test_octets_pass_both_ways() -> None:
    def echo(connection: socket.socket) -> None:
        connection.sendall(connection.recv(100))

    with served(echo) as port:
        stream = dialer().dial("127.0.0.1", port, tls=Tls.NONE, ca_file=None)
        stream.send(b"ping", 5)
        assert received(stream) == b"ping"
        assert received(stream) == b""
        assert stream.tls is None
        stream.close()
        stream.close()


def test_a_good_certificate_is_accepted_and_described(authority: Authority) -> None:
    with served(greet_over_tls(authority.server_context("localhost"))) as port:
        stream = dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)
        assert received(stream) == b"+OK ready\r\n"
        assert stream.tls is not None
        assert stream.tls.version in {"TLSv1.2", "TLSv1.3"}
        assert stream.tls.not_after is not None
        assert stream.tls.not_after > datetime.now(UTC)
        stream.close()


@pytest.mark.parametrize("most", [1000, 20_000, 500_000])
def test_octets_over_tls_arrive_whole_and_in_order_whatever_the_room(authority: Authority, most: int) -> None:
    octets = bytes(range(256)) * 4000
    context = authority.server_context("localhost")

    def send_all(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as shaken:
            shaken.sendall(octets)

    with served(send_all) as port:
        stream = dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)
        came = b""
        while piece := received(stream, most=most):
            came += piece
        assert came == octets
        stream.close()


def test_what_came_over_tls_is_handed_out_at_once_and_the_next_wait_ends(authority: Authority) -> None:
    context = authority.server_context("localhost")

    def send_some(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as shaken:
            shaken.sendall(b"x" * 4096)
            wait_for_end(shaken)

    with served(send_some) as port:
        stream = dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)
        assert received(stream, 60, most=50_000) == b"x" * 4096
        with pytest.raises(ConnectionLost, match="no answer from localhost"):
            received(stream, 0.05)
        stream.send(b"x" * (1 << 20), 5)
        stream.close()


def test_what_came_over_tls_before_the_connection_broke_is_handed_out(authority: Authority) -> None:
    context = authority.server_context("localhost")

    def break_off(connection: socket.socket) -> None:
        shaken = context.wrap_socket(connection, server_side=True)
        shaken.sendall(b"x" * 4096)
        with socket.socket(fileno=shaken.detach()) as bare:
            bare.sendall(b"no record of TLS")

    with served(break_off) as port:
        stream = dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)
        assert received(stream, most=50_000) == b"x" * 4096
        with pytest.raises(ConnectionLost, match="connection to localhost:"):
            received(stream)
        stream.close()


def test_one_context_serves_all_connections_with_the_same_ca_file(authority: Authority) -> None:
    shared = dialer()
    with served(greet_over_tls(authority.server_context("localhost"))) as port:
        for _ in range(2):
            shared.dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file).close()
    assert list(shared._contexts) == [authority.file]
    assert shared._contexts[authority.file].minimum_version is ssl.TLSVersion.TLSv1_2
    assert shared._contexts[authority.file].verify_mode is ssl.CERT_REQUIRED
    assert shared._contexts[authority.file].check_hostname


def resumed(shared: TcpDialer, host: str, port: int, ca_file: str) -> bool:
    """Connect, read the greeting (TLS 1.3 sends its tickets before it), leave; whether a session was resumed."""
    stream = shared.dial(host, port, tls=Tls.IMPLICIT, ca_file=ca_file)
    assert received(stream) == b"+OK ready\r\n"
    assert stream.tls is not None
    reused = stream._socket.session_reused  # type: ignore[attr-defined]
    stream.close()
    return bool(reused)


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


def test_a_session_that_the_server_no_longer_knows_is_a_full_handshake(authority: Authority) -> None:
    shared, contexts = dialer(), [authority.server_context("localhost") for _ in range(2)]

    def another(connection: socket.socket) -> None:
        greet_over_tls(contexts.pop())(connection)

    with served(another) as port:
        assert not resumed(shared, "localhost", port, authority.file)
        assert not resumed(shared, "localhost", port, authority.file)


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
    monkeypatch.setattr(tcp, "_SESSIONS", 1)
    shared = dialer()
    with served(greet_over_tls(authority.server_context("localhost", "127.0.0.1"))) as port:
        for host in ("localhost", "127.0.0.1", "localhost"):
            assert not resumed(shared, host, port, authority.file)


def test_a_certificate_for_another_name_is_refused_with_the_name_it_has(authority: Authority) -> None:
    with (
        served(greet_over_tls(authority.server_context("other.example.com"))) as port,
        pytest.raises(CertificateRejected) as refused,
    ):
        dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)
    assert str(refused.value) == "certificate of localhost is for other.example.com"


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with (
        served(greet_over_tls(authority.server_context("localhost", not_after=yesterday))) as port,
        pytest.raises(CertificateRejected, match="certificate of localhost has expired"),
    ):
        dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)


def test_an_unknown_issuer_is_refused(authority: Authority) -> None:
    with (
        served(greet_over_tls(authority.server_context("localhost"))) as port,
        pytest.raises(CertificateRejected, match="certificate of localhost has an unknown issuer"),
    ):
        dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=None)


def test_a_server_without_tls_is_refused_where_tls_is_implicit(authority: Authority) -> None:
    def greet(connection: socket.socket) -> None:
        connection.sendall(b"+OK plain\r\n")
        wait_for_end(connection)

    with served(greet) as port, pytest.raises(CertificateRejected, match="does not speak TLS"):
        dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)


def test_a_server_with_old_tls_only_is_refused(authority: Authority) -> None:
    context = authority.server_context("localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with served(greet_over_tls(context)) as port, pytest.raises(CertificateRejected, match="agree on no TLS"):
        dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)


def test_a_silent_handshake_ends_at_its_deadline(authority: Authority) -> None:
    with served(wait_for_end) as port, pytest.raises(ConnectionLost, match="did not end the TLS handshake"):
        dialer(0.1).dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)


def test_a_connection_dropped_in_the_handshake_is_lost(authority: Authority) -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.recv(4096)

    with served(hang_up) as port, pytest.raises(ConnectionLost, match="during the TLS handshake"):
        dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)


def test_silence_ends_at_the_deadline() -> None:
    with served(wait_for_end) as port:
        stream = dialer().dial("127.0.0.1", port, tls=Tls.NONE, ca_file=None)
        with pytest.raises(ConnectionLost, match=r"no answer from 127\.0\.0\.1"):
            received(stream, 0.05)
        stream.close()


def test_each_wait_has_the_time_it_was_given() -> None:
    def greet(connection: socket.socket) -> None:
        connection.sendall(b"+OK ready\r\n")
        wait_for_end(connection)

    with served(greet) as port:
        stream = dialer().dial("127.0.0.1", port, tls=Tls.NONE, ca_file=None)
        assert received(stream, 5) == b"+OK ready\r\n"
        stream.send(b"NOOP\r\n", 60)
        with pytest.raises(ConnectionLost, match="within 0 s"):
            received(stream, 0.05)
        stream.close()


def test_a_peer_that_takes_nothing_ends_at_the_deadline() -> None:
    hold = threading.Event()

    def hold_still(connection: socket.socket) -> None:
        hold.wait(10)

    with served(hold_still) as port:
        stream = dialer().dial("127.0.0.1", port, tls=Tls.NONE, ca_file=None)
        with pytest.raises(ConnectionLost, match="took nothing"):
            stream.send(bytes(64 << 20), 0.05)
        stream.close()
        hold.set()


def test_a_reset_is_a_lost_connection() -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with served(reset) as port:
        stream = dialer().dial("127.0.0.1", port, tls=Tls.NONE, ca_file=None)
        stream.send(b"ping", 5)
        with pytest.raises(ConnectionLost, match="lost: Connection reset by peer"):
            received(stream)
        stream.close()


def test_stls_upgrades_the_connection_and_forgets_the_capabilities_from_before(authority: Authority) -> None:
    context = authority.server_context("localhost")

    def handle(connection: socket.socket) -> None:
        connection.sendall(b"+OK ready\r\n")
        converse(connection, (b"CAPA\r\n", b"+OK\r\nSTLS\r\nSASL EVIL\r\n.\r\n"), (b"STLS\r\n", b"+OK begin\r\n"))
        with context.wrap_socket(connection, server_side=True) as shaken:
            converse(shaken, (b"CAPA\r\n", b"+OK\r\nSASL PLAIN\r\n.\r\n"), (b"QUIT\r\n", b"+OK\r\n"))

    with served(handle) as port:
        stream = dialer().dial("localhost", port, tls=Tls.STARTTLS, ca_file=authority.file)
        pop3 = session(stream)
        assert pop3.start(tls=Tls.STARTTLS).sasl == {"PLAIN"}
        assert stream.tls is not None
        assert pop3.quit()


def test_stls_with_a_bad_certificate_fails_and_breaks_the_session(authority: Authority) -> None:
    context = authority.server_context("other.example.com")

    def handle(connection: socket.socket) -> None:
        connection.sendall(b"+OK ready\r\n")
        converse(connection, (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"), (b"STLS\r\n", b"+OK begin\r\n"))
        context.wrap_socket(connection, server_side=True).close()

    with served(handle) as port:
        pop3 = session(dialer().dial("localhost", port, tls=Tls.STARTTLS, ca_file=authority.file))
        with pytest.raises(CertificateRejected, match="certificate of localhost is for another name"):
            pop3.start(tls=Tls.STARTTLS)
        assert pop3.broken
        assert not pop3.quit()


def test_stls_not_offered_never_falls_back_to_plaintext(authority: Authority) -> None:
    heard: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        connection.sendall(b"+OK ready\r\n")
        converse(connection, (b"CAPA\r\n", b"+OK\r\nUSER\r\n.\r\n"))
        heard.append(connection.recv(100))

    with served(handle) as port:
        pop3 = session(dialer().dial("localhost", port, tls=Tls.STARTTLS, ca_file=authority.file))
        with pytest.raises(TlsNotOffered):
            pop3.start(tls=Tls.STARTTLS)
        pop3.abort()
    assert heard == [b""]


def test_octets_behind_the_reply_to_stls_are_an_injection(authority: Authority) -> None:
    def handle(connection: socket.socket) -> None:
        connection.sendall(b"+OK ready\r\n")
        converse(
            connection, (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"), (b"STLS\r\n", b"+OK begin\r\n+OK\r\nSASL EVIL\r\n.\r\n")
        )
        wait_for_end(connection)

    with served(handle) as port:
        pop3 = session(dialer().dial("localhost", port, tls=Tls.STARTTLS, ca_file=authority.file))
        with pytest.raises(ProtocolError, match="injects"):
            pop3.start(tls=Tls.STARTTLS)
        assert pop3.broken
        pop3.abort()


def test_a_host_that_nobody_listens_on_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(HostUnreachable, match=f"no connection to 127.0.0.1:{port}: Connection refused"):
        dialer().dial("127.0.0.1", port, tls=Tls.NONE, ca_file=None)


def test_a_name_that_does_not_resolve_is_said_so() -> None:
    with pytest.raises(HostUnreachable, match=r"host nowhere\.invalid does not resolve"):
        dialer().dial("nowhere.invalid", 110, tls=Tls.NONE, ca_file=None)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "nul\0.example"])
def test_what_is_no_host_name_is_a_wrong_account(host: str) -> None:
    with pytest.raises(AccountMisconfigured, match="is not a host name"):
        dialer().dial(host, 110, tls=Tls.NONE, ca_file=None)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::1", "::ffff:127.0.0.1"])
def test_a_forbidden_address_is_never_connected_to(host: str) -> None:
    reached: list[bool] = []
    with (
        served(lambda connection: reached.append(True)) as port,
        pytest.raises(AccountMisconfigured, match=r"resolves to .* forbidden .*MAILSLUICE_ALLOWED_NETWORKS"),
    ):
        TcpDialer(1, None, ()).dial(host, port, tls=Tls.NONE, ca_file=None)
    assert not reached


def test_a_missing_ca_file_is_a_wrong_account(tmp_path: Path) -> None:
    with pytest.raises(AccountMisconfigured, match=r"CA file .*absent\.pem can't be used: No such file"):
        dialer().dial("127.0.0.1", 995, tls=Tls.IMPLICIT, ca_file=str(tmp_path / "absent.pem"))


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: answer.wait() and [])
    try:
        with pytest.raises(HostUnreachable, match=r"pop\.example does not resolve in 0 s"):
            TcpDialer(0.05).dial("pop.example", 995, tls=Tls.NONE, ca_file=None)
    finally:
        answer.set()


def test_one_forbidden_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 995)) for address in ("93.184.216.34", "10.0.0.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: found)
    with pytest.raises(AccountMisconfigured, match=r"resolves to 10\.0\.0\.7"):
        TcpDialer(1).dial("pop.example", 995, tls=Tls.NONE, ca_file=None)


def test_a_ca_file_that_is_no_path_is_the_account_s_fault() -> None:
    with pytest.raises(AccountMisconfigured, match="CA file"):
        TcpDialer(1, allowed_networks=LOOPBACK).dial("127.0.0.1", 9, tls=Tls.IMPLICIT, ca_file="\0")
