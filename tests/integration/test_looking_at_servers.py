"""Finding and checking real servers: DNS over UDP, TLS with verified certificates, the simulator and Dovecot."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cli_harness import Harness, harness
from servers.dns import DnsServer
from servers.dovecot import DovecotServer

from ingest.adapters.dns import DnsNames
from ingest.adapters.tcp import TcpDialer
from ingest.advice import advise
from ingest.check import Checker
from ingest.models import Account, Tls, UidlForm
from ingest.settings import Settings
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.server import Simulator

LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[Simulator]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with Simulator({"u": ("pw", Maildrop([]))}, tls=context, implicit_tls=True) as server:
        yield server


def shell(dns: DnsServer, *, allowed: tuple[str, ...] = LOOPBACK) -> Harness:
    cli = harness(Settings(allowed_networks=list(allowed), connect_timeout_s=5))  # type: ignore[arg-type]
    cli.services.__dict__["names"] = DnsNames(lifetime_s=5, nameservers=["127.0.0.1"], port=dns.port)
    return cli


def srv(port: int) -> dict[tuple[str, str], list[str]]:
    return {("_pop3s._tcp.localhost", "SRV"): [f"0 1 {port} localhost."]}


def test_an_address_is_found_by_its_record_and_its_certificate_verified(
    server: Simulator, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with DnsServer(srv(server.port)) as dns:
        cli = shell(dns)
        result = cli.run(
            "accounts", "add", "u@localhost", "--password", "env:PW", "--ca-file", str(tmp_path / "ca.pem"), "--yes"
        )
    assert result.exit_code == 0, result.output
    assert (cli.state.accounts["u-localhost"].host, cli.state.accounts["u-localhost"].port) == (
        "localhost",
        server.port,
    )
    assert server.log.logins == 0


def test_a_certificate_of_an_unknown_issuer_is_no_server(server: Simulator) -> None:
    with DnsServer(srv(server.port)) as dns:
        cli = shell(dns)
        result = cli.run("accounts", "add", "u@localhost", "--password", "env:PW", "--yes")
    assert (result.exit_code, cli.state.accounts) == (1, {})
    assert "has an unknown issuer" in result.stdout


def test_a_record_can_not_lead_to_an_address_that_is_forbidden(server: Simulator) -> None:
    with DnsServer(srv(server.port)) as dns:
        cli = shell(dns, allowed=())
        result = cli.run("accounts", "add", "u@localhost", "--password", "env:PW", "--yes")
    assert (result.exit_code, cli.state.accounts) == (1, {})
    assert "which is forbidden (loopback)" in result.stdout


def test_dovecot_is_described_as_it_is(
    dovecot_server: DovecotServer, dovecot_user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        dovecot_server.deliver(dovecot_user, b"Subject: %d\r\n\r\nbody\r\n" % number)
    monkeypatch.setenv("DOVECOT_PASSWORD", dovecot_server.users[dovecot_user])
    account = Account(
        "a",
        dovecot_server.host,
        dovecot_server.tls_port,
        dovecot_user,
        "env:DOVECOT_PASSWORD",
        ca_file=str(dovecot_server.ca_file),
    )
    services = harness().services
    found = Checker(
        dialer=TcpDialer(allowed_networks=LOOPBACK),
        secrets=services.secrets,
        clock=services.clock,
        session_limits=services.session_limits,
    ).check(account)
    assert (found.tls, found.tls_version, found.messages) == (Tls.IMPLICIT, "TLSv1.3", 3)
    assert {"UIDL", "PIPELINING", "SASL"} <= found.capabilities.names
    assert found.capabilities_after_login is not None
    assert {"UIDL", "PIPELINING"} <= found.capabilities_after_login.names
    assert found.uidls.form is UidlForm.OPAQUE
    assert found.complete
    assert advise(account, found, now=services.clock.now()) == []
    assert dovecot_server.messages(dovecot_user) == 3
