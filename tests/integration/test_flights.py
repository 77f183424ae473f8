"""How many times a poll of a known Dovecot waits for an answer, over implicit TLS and STLS; state in a real Redis."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from integration.test_straight_line import message
from servers.dovecot import DovecotServer

from ingest.adapters.tcp import TcpStream
from ingest.models import Account, Outcome, PollReport, Tls
from ingest.ports import ByteStream, Dialer, TlsInfo
from ingest.settings import Settings
from ingest.wiring import Services, build

SEEN = 40
KNOWN = {Tls.IMPLICIT: 1, Tls.STARTTLS: 2}  # login and look in one; and STLS before it


@dataclass
class Heard:
    """A stream that notes what is said on it, one entry each time that something is sent.

    `resumed`: whether its TLS session was an earlier one; None before the end, and in plaintext.
    """

    inner: ByteStream
    said: list[bytes] = field(default_factory=list)
    resumed: bool | None = None

    def send(self, data: bytes, timeout_s: float) -> None:
        self.said.append(data)
        self.inner.send(data, timeout_s)

    def receive_into(self, room: memoryview, timeout_s: float) -> int:
        return self.inner.receive_into(room, timeout_s)

    def start_tls(self) -> None:
        self.inner.start_tls()

    @property
    def tls(self) -> TlsInfo | None:
        return self.inner.tls

    def close(self) -> None:
        assert isinstance(self.inner, TcpStream)
        if self.resumed is None and isinstance(self.inner._socket, ssl.SSLSocket):
            self.resumed = bool(self.inner._socket.session_reused)
        self.inner.close()


@dataclass
class HearingDialer:
    """`sessions`: the connections, in order."""

    inner: Dialer
    sessions: list[Heard] = field(default_factory=list)

    def dial(
        self, host: str, port: int, *, tls: Tls, ca_file: str | None, fingerprints: tuple[str, ...] = ()
    ) -> ByteStream:
        stream = self.inner.dial(host, port, tls=tls, ca_file=ca_file, fingerprints=fingerprints)
        self.sessions.append(Heard(stream))
        return self.sessions[-1]


@dataclass
class Line:
    """One account of a Dovecot, and what its polls say."""

    services: Services
    dialer: HearingDialer
    dovecot: DovecotServer
    account: Account

    def deliver(self, *numbers: int) -> None:
        for number in numbers:
            self.dovecot.deliver(self.account.username, message(self.account.username, number))

    def poll(self) -> PollReport:
        report = self.services.poller.poll(self.account)
        assert report.outcome is Outcome.DONE, report.failure
        return report

    def said(self) -> list[bytes]:
        """The commands of the last session, by their first word."""
        lines = b"".join(self.dialer.sessions[-1].said).split(b"\r\n")
        return [line.partition(b" ")[0] for line in lines if line]


@pytest.fixture
def services(redis_url: str, tmp_path: Path) -> Iterator[Services]:
    (tmp_path / "store").mkdir()
    services = build(
        Settings(
            redis_url=redis_url,
            storage_url=(tmp_path / "store").as_uri(),
            data_dir=tmp_path / "var",
            allowed_networks=["127.0.0.0/8", "::1/128"],  # type: ignore[list-item]  # as the environment has them
            log_level="error",
        )
    )
    yield services
    services.close()


@pytest.fixture
def line(
    services: Services, dovecot_server: DovecotServer, dovecot_user: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Tls], Line]:
    monkeypatch.setenv("DOVECOT_PASSWORD", dovecot_server.users[dovecot_user])
    dialer = HearingDialer(services.dialer)
    services.__dict__["dialer"] = dialer

    def line(tls: Tls) -> Line:
        account = Account(
            "a",
            dovecot_server.host,
            dovecot_server.tls_port if tls is Tls.IMPLICIT else dovecot_server.port,
            dovecot_user,
            "env:DOVECOT_PASSWORD",
            tls=tls,
            ca_file=str(dovecot_server.ca_file),
        )
        services.schedule.add([account.id])
        return Line(services, dialer, dovecot_server, account)

    return line


@pytest.mark.parametrize("tls", KNOWN)
def test_the_third_poll_of_a_dovecot_waits_for_login_and_look_once(line: Callable[[Tls], Line], tls: Tls) -> None:
    it = line(tls)
    it.deliver(*range(SEEN))
    reports = [it.poll() for _ in range(3)]
    assert [report.events for report in reports] == [SEEN, 0, 0]
    assert reports[2].flights == KNOWN[tls]
    assert len(it.dialer.sessions) == 3  # nothing was lost on the way, so none began anew
    assert it.dovecot.messages(it.account.username) == SEEN


@pytest.mark.parametrize("tls", KNOWN)
def test_dovecot_keeps_what_is_sent_behind_pass_and_that_is_remembered(line: Callable[[Tls], Line], tls: Tls) -> None:
    it = line(tls)
    it.deliver(1)
    for _ in range(3):
        it.poll()
    profile = it.services.hosts.profile(it.account.place)
    assert profile is not None
    assert profile.across_login is True
    assert (profile.uidl, profile.top) == (True, True)
    (together,) = [said for said in it.dialer.sessions[-1].said if b"PASS " in said]
    assert b"STAT\r\n" in together.partition(b"PASS ")[2]


def test_stls_is_the_first_word_to_a_known_dovecot_and_no_password_goes_before_it(line: Callable[[Tls], Line]) -> None:
    it = line(Tls.STARTTLS)
    it.deliver(1)
    for _ in range(3):
        it.poll()
    first, *rest = it.dialer.sessions[-1].said
    assert first == b"STLS\r\n"
    assert b"".join(rest).startswith(b"USER ")
    assert b"CAPA" not in it.said()


@pytest.mark.parametrize("tls", KNOWN)
def test_new_mail_at_a_known_dovecot_is_found_and_told_of(line: Callable[[Tls], Line], tls: Tls) -> None:
    it = line(tls)
    it.deliver(*range(SEEN))
    for _ in range(2):
        it.poll()
    it.deliver(*range(SEEN, SEEN + 3))
    report = it.poll()
    assert (report.events, len(it.dialer.sessions)) == (3, 3)
    assert it.poll().events == 0


@pytest.mark.parametrize("tls", KNOWN)
def test_the_tls_session_of_the_first_poll_is_resumed_by_the_later_ones(line: Callable[[Tls], Line], tls: Tls) -> None:
    it = line(tls)
    it.deliver(*range(SEEN))
    for _ in range(3):
        it.poll()
    assert [session.resumed for session in it.dialer.sessions] == [False, True, True]
