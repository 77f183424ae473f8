from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pop3_scripts import ManualClock
from tls_servers import LOOPBACK, Authority, converse, dialer, greet_over_tls, received, served, wait_for_end

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


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def session(stream: object) -> Session:
    return Session(stream, host="localhost", clock=ManualClock(), limits=SessionLimits())  # type: ignore[arg-type]


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
        assert stream.tls.sha256 == authority.pins[-1]
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


def test_the_end_that_came_together_with_octets_over_tls_stays_the_end(authority: Authority) -> None:
    context, hung_up = authority.server_context("localhost"), threading.Event()

    def hang_up(connection: socket.socket) -> None:
        shaken = context.wrap_socket(connection, server_side=True)
        shaken.sendall(b"x" * 4096)
        shaken.close()
        hung_up.set()

    with served(hang_up) as port:
        stream = dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)
        assert hung_up.wait(5)
        assert received(stream, most=50_000) == b"x" * 4096
        assert [received(stream) for _ in range(2)] == [b"", b""]
        assert stream.tls is not None
        assert stream.tls.sha256 == authority.pins[-1]
        stream.close()


@pytest.mark.parametrize("broken", ["name", "silence", "no TLS", "interrupted"])
def test_a_stream_whose_handshake_failed_is_closed(
    authority: Authority, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ended = "other.example.com" if broken == "name" else "localhost", threading.Event()
    context = authority.server_context(name)

    def handle(connection: socket.socket) -> None:
        try:
            if broken == "silence":
                wait_for_end(connection)
            elif broken == "no TLS":
                connection.sendall(b"-ERR what?\r\n")
                wait_for_end(connection)
            else:
                with context.wrap_socket(connection, server_side=True) as shaken:
                    wait_for_end(shaken)
        finally:
            ended.set()

    real = ssl.SSLSocket.do_handshake

    def interrupt(shaking: ssl.SSLSocket) -> None:
        if not shaking.server_side:
            raise KeyboardInterrupt
        real(shaking)

    with served(handle) as port:
        stream = dialer(0.2 if broken == "silence" else 5).dial(
            "localhost", port, tls=Tls.STARTTLS, ca_file=authority.file
        )
        if broken == "interrupted":
            monkeypatch.setattr(ssl.SSLSocket, "do_handshake", interrupt)
        with pytest.raises(KeyboardInterrupt if broken == "interrupted" else (CertificateRejected, ConnectionLost)):
            stream.start_tls()
        monkeypatch.undo()
        assert ended.wait(5)  # the server sees it
        with pytest.raises(ConnectionLost):
            stream.send(b"USER u\r\n", 5)
        with pytest.raises(ConnectionLost):
            received(stream)
        assert stream.tls is None
        stream.close()


def test_one_context_serves_all_connections_with_the_same_ca_file(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, made = dialer(), []
    real = ssl.create_default_context

    def make(**given: str) -> ssl.SSLContext:
        made.append(real(**given))
        made[-1].minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED  # as a system's openssl.cnf may have it
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", make)

    def visit(port: int) -> None:
        shared.dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file).close()

    with served(greet_over_tls(authority.server_context("localhost"))) as port:
        visitors = [threading.Thread(target=visit, args=(port,)) for _ in range(8)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join(10)
        visit(port)
    (context,) = made
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_ca_file_that_changed_on_disk_is_read_again(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    following, bundle, shared = Authority(tmp_path / "next"), tmp_path / "bundle.pem", dialer()
    bundle.write_bytes(Path(authority.file).read_bytes())
    with (
        served(greet_over_tls(authority.server_context("localhost"))) as old,
        served(greet_over_tls(following.server_context("localhost"))) as new,
    ):
        shared.dial("localhost", old, tls=Tls.IMPLICIT, ca_file=str(bundle)).close()
        bundle.write_bytes(Path(following.file).read_bytes() + b"\n")
        shared.dial("localhost", new, tls=Tls.IMPLICIT, ca_file=str(bundle)).close()
        with pytest.raises(CertificateRejected, match="unknown issuer"):  # nor is a session of then resumed
            shared.dial("localhost", old, tls=Tls.IMPLICIT, ca_file=str(bundle))


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


def test_a_missing_ca_file_is_a_wrong_account(tmp_path: Path) -> None:
    with pytest.raises(AccountMisconfigured, match=r"CA file .*absent\.pem can't be used: No such file"):
        dialer().dial("127.0.0.1", 995, tls=Tls.IMPLICIT, ca_file=str(tmp_path / "absent.pem"))


def test_a_ca_file_that_is_no_path_is_the_account_s_fault() -> None:
    with pytest.raises(AccountMisconfigured, match="CA file"):
        TcpDialer(1, allowed_networks=LOOPBACK).dial("127.0.0.1", 9, tls=Tls.IMPLICIT, ca_file="\0")
