from __future__ import annotations

import ast
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pop3_scripts import ManualClock
from tls_servers import Authority, converse, dialer, greet_over_tls, received, served, wait_for_end

import ingest
from ingest.adapters.tcp import TcpDialer
from ingest.adapters.tls import Peer, PinnedTrust
from ingest.errors import CertificateRejected
from ingest.models import Tls
from ingest.pop3.session import Session, SessionLimits

OTHER = "sha256:" + "0" * 64


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One that no client is told to trust."""
    return Authority(tmp_path)


def greeting(shared: TcpDialer, port: int, *pins: str) -> bytes:
    stream = shared.dial("localhost", port, tls=Tls.IMPLICIT, ca_file=None, fingerprints=pins)
    try:
        return received(stream)
    finally:
        stream.close()


def test_a_pinned_certificate_is_accepted_whoever_issued_it_for_whatever_name_and_time(authority: Authority) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    context = authority.server_context("other.example.com", not_after=yesterday)
    with served(greet_over_tls(context)) as port:
        stream = dialer().dial(
            "localhost", port, tls=Tls.IMPLICIT, ca_file=None, fingerprints=(OTHER, authority.pins[0])
        )
        assert received(stream) == b"+OK ready\r\n"
        assert stream.tls is not None
        assert stream.tls.sha256 == authority.pins[0]
        assert stream.tls.not_after is not None
        assert abs(stream.tls.not_after - yesterday) < timedelta(seconds=2)
        stream.close()


def test_another_certificate_than_the_pinned_one_is_refused_with_its_fingerprint(
    authority: Authority, tmp_path: Path
) -> None:
    with (
        served(greet_over_tls(authority.server_context("localhost"))) as port,
        pytest.raises(CertificateRejected) as refused,
    ):
        greeting(dialer(), port, OTHER)
    assert refused.value.what == f"certificate of localhost is not the pinned one: it is {authority.pins[0]}"
    assert "ask whoever runs the server" in refused.value.todo


def test_a_pin_is_of_the_certificate_and_not_of_its_issuer(authority: Authority) -> None:
    issuer = ssl.PEM_cert_to_DER_cert(authority.ca.cert_pem.bytes().decode())
    with (
        served(greet_over_tls(authority.server_context("localhost"))) as port,
        pytest.raises(CertificateRejected, match="is not the pinned one"),
    ):
        greeting(dialer(), port, authority.fingerprint(issuer))


def test_a_certificate_that_the_ca_set_would_accept_must_be_the_pinned_one_too(authority: Authority) -> None:
    with (
        served(greet_over_tls(authority.server_context("localhost"))) as port,
        pytest.raises(CertificateRejected, match="is not the pinned one"),
    ):
        dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file, fingerprints=(OTHER,))


def test_a_server_with_another_certificate_than_the_pinned_one_hears_nothing(authority: Authority) -> None:
    heard: list[bytes] = []
    context = authority.server_context("localhost")

    def listen(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as shaken:
            shaken.sendall(b"+OK ready\r\n")
            heard.append(shaken.recv(100))

    with served(listen) as port, pytest.raises(CertificateRejected):
        greeting(dialer(), port, OTHER)
    assert heard in ([], [b""])


@pytest.mark.parametrize("good", [True, False])
def test_a_pin_holds_for_stls_too(authority: Authority, good: bool) -> None:
    context, heard = authority.server_context("other.example.com"), []

    def handle(connection: socket.socket) -> None:
        connection.sendall(b"+OK ready\r\n")
        converse(connection, (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"), (b"STLS\r\n", b"+OK begin\r\n"))
        with context.wrap_socket(connection, server_side=True) as shaken:
            heard.append(shaken.recv(100))
            shaken.sendall(b"+OK\r\nSASL PLAIN\r\n.\r\n")
            wait_for_end(shaken)

    with served(handle) as port:
        pin = authority.pins[0] if good else OTHER
        stream = dialer().dial("localhost", port, tls=Tls.STARTTLS, ca_file=None, fingerprints=(pin,))
        session = Session(stream, host="localhost", clock=ManualClock(), limits=SessionLimits())
        if good:
            assert session.start(tls=Tls.STARTTLS).sasl == {"PLAIN"}
        else:
            with pytest.raises(CertificateRejected, match="is not the pinned one"):
                session.start(tls=Tls.STARTTLS)
            assert session.broken
        session.abort()
    assert heard == [b"CAPA\r\n"] if good else heard in ([], [b""])


def test_a_pinned_server_must_still_speak_tls_1_2(authority: Authority) -> None:
    context = authority.server_context("localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with served(greet_over_tls(context)) as port, pytest.raises(CertificateRejected, match="agree on no TLS"):
        greeting(dialer(), port, authority.pins[0])


def test_a_server_without_any_certificate_fits_no_pin(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    with served(greet_over_tls(context)) as port, pytest.raises(CertificateRejected):
        greeting(dialer(), port, OTHER)


def test_without_a_pin_the_unverified_way_is_closed_also_after_a_pinned_connection(authority: Authority) -> None:
    shared = dialer()
    with served(greet_over_tls(authority.server_context("localhost"))) as port:
        assert greeting(shared, port, authority.pins[0]) == b"+OK ready\r\n"
        with pytest.raises(CertificateRejected, match="unknown issuer"):
            greeting(shared, port)


def test_the_pinned_way_lets_nobody_through_without_a_pin(authority: Authority) -> None:
    with served(greet_over_tls(authority.server_context("localhost"))) as port:
        connection = socket.create_connection(("127.0.0.1", port))
        with pytest.raises(CertificateRejected):
            PinnedTrust().shake(connection, Peer("localhost", port), 5)


UNVERIFIED = {"CERT_NONE", "CERT_OPTIONAL", "_create_unverified_context", "_create_stdlib_context"}
# Named by assignment, and by argument as urllib3 takes them.
SWITCHES = {"check_hostname", "assert_hostname", "assert_fingerprint", "cert_reqs", "verify"}


def switched_off() -> Iterator[tuple[str, str, str]]:
    """File, class or function at its top level, and what it uses to verify less than everything."""
    for path in Path(ingest.__file__).parent.rglob("*.py"):
        for top in ast.parse(path.read_text()).body:
            for node in ast.walk(top):
                if isinstance(node, ast.Attribute):
                    stored = isinstance(node.ctx, ast.Store)
                    named = node.attr if node.attr in UNVERIFIED or (stored and node.attr in SWITCHES) else None
                else:
                    named = node.arg if isinstance(node, ast.keyword) and node.arg in SWITCHES else None
                if named:
                    yield path.name, getattr(top, "name", ""), named


def test_verification_is_switched_off_in_one_place_only() -> None:
    assert sorted(switched_off()) == [
        ("tls.py", "CaTrust", "check_hostname"),  # of a certificate already refused, to tell whose it is
        ("tls.py", "PinnedTrust", "CERT_NONE"),
        ("tls.py", "PinnedTrust", "check_hostname"),
    ]


def test_a_connection_that_asks_for_the_name_alone_ends_without_a_word(authority: Authority) -> None:
    heard: list[bytes] = []
    context = authority.server_context("other.example.com")

    def listen(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as shaken:
            heard.append(shaken.recv(100))

    with served(listen) as port, pytest.raises(CertificateRejected, match=r"is for other\.example\.com"):
        dialer().dial("localhost", port, tls=Tls.IMPLICIT, ca_file=authority.file)
    assert heard == [b""]
