from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from house import PASSWORD, House, MovableClock, mail, passwords
from tls_servers import LOOPBACK, Authority

from ingest.adapters.tcp import TcpDialer
from ingest.check import Checker
from ingest.errors import CertificateRejected
from ingest.models import Outcome, Tls
from ingest.pop3.session import SessionLimits
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.server import Simulator

OTHER = "sha256:" + "0" * 64


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(params=[Tls.IMPLICIT, Tls.STARTTLS])
def home(
    request: pytest.FixtureRequest, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    """One message behind a certificate that nobody vouches for, the right one pinned."""
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    maildrop = Maildrop([mail("one")])
    context = authority.server_context("localhost")
    with Simulator({"u": (PASSWORD, maildrop)}, tls=context, implicit_tls=request.param is Tls.IMPLICIT) as server:
        home = House(maildrop, server, tmp_path)
        home.account = replace(home.account, tls=request.param, fingerprints=(OTHER, authority.pins[0]))
        yield home


def test_a_poll_of_a_pinned_server_finds_its_mail(home: House) -> None:
    report = home.poll()
    assert (report.outcome, report.failure, report.messages) == (Outcome.DONE, None, 1)


def test_a_poll_of_another_server_than_the_pinned_one_fails_before_it_logs_in(home: House) -> None:
    report = home.poll(account={"fingerprints": (OTHER,)})
    assert report.failure is not None
    assert report.failure.code == CertificateRejected.code
    assert "is not the pinned one" in report.failure.what
    assert home.server.wait_idle(5)
    assert set(home.server.log.commands) <= {"CAPA", "STLS"}


def test_a_check_tells_what_would_pin_the_server_and_for_how_long_it_is_good(home: House, authority: Authority) -> None:
    clock = MovableClock()
    checker = Checker(
        dialer=TcpDialer(allowed_networks=LOOPBACK),
        credentials=passwords(clock),
        clock=clock,
        session_limits=SessionLimits(),
    )
    seen = checker.check(home.account)
    assert seen.certificate_sha256 == authority.pins[0]
    assert seen.certificate_not_after is not None
    assert (seen.certificate_not_after - clock.now()).days > 100
