"""Which candidate answers: over a small world of names and servers."""

from __future__ import annotations

import pytest
from fake_names import HELLO, STLS, UNTIL, FakeDialer, FakeNames
from pop3_scripts import GREETING, LOCKSTEP_CAPA, QUIT

from ingest.discovery import Discovery
from ingest.errors import CertificateRejected, ConfigurationError, HostUnreachable
from ingest.finding import Finder
from ingest.models import Tls
from ingest.pop3.session import SessionLimits
from ingest.ports import ServiceRecord

POP3S, POP3 = "_pop3s._tcp.example.com", "_pop3._tcp.example.com"
NOT_THERE = (ServiceRecord(".", 0, 0, 0),)


def find(names: FakeNames, dialer: FakeDialer, address: str = "me@example.com") -> Discovery:
    finder = Finder(names=names, dialer=dialer, clock=dialer.clock, session_limits=SessionLimits())
    return finder.find(address, ca_file="ca.pem")


def test_the_server_of_the_srv_record_is_tried_and_nothing_else() -> None:
    dialer = FakeDialer({("in.example.com", 1995): HELLO})
    found = find(FakeNames({POP3S: [ServiceRecord("in.example.com", 1995, 0, 0)]}), dialer)
    assert dialer.dialled == [("in.example.com", 1995, Tls.IMPLICIT, "ca.pem")]
    (trial,) = found.trials
    assert found.chosen is trial
    assert trial.seen is not None
    assert (trial.seen.greeting, trial.seen.tls_version, trial.seen.certificate_not_after) == (
        "ready",
        "TLSv1.3",
        UNTIL,
    )


def test_a_candidate_is_greeted_asked_for_its_capabilities_and_left_without_a_login() -> None:
    dialer = FakeDialer({("pop.example.com", 995): HELLO})
    find(FakeNames(), dialer)
    assert dialer.streams[0].sent == b"CAPA\r\nQUIT\r\n"
    assert dialer.streams[0].closed


def test_the_next_candidate_is_tried_where_one_fails() -> None:
    rejected = CertificateRejected("certificate of pop.example.com has expired")
    dialer = FakeDialer({("pop.example.com", 995): rejected, ("mail.example.com", 995): HELLO})
    found = find(FakeNames(), dialer)
    assert [(trial.candidate.host, trial.failure and trial.failure.code) for trial in found.trials] == [
        ("pop.example.com", "certificate"),
        ("pop3.example.com", "host_unreachable"),
        ("mail.example.com", None),
    ]


def test_starttls_counts_once_the_session_is_encrypted() -> None:
    dialer = FakeDialer({("pop.example.com", 110): STLS})
    chosen = find(FakeNames(), dialer).chosen
    assert chosen is not None
    assert chosen.candidate.tls is Tls.STARTTLS
    assert chosen.seen is not None
    assert chosen.seen.tls_version == "TLSv1.3"


def test_a_server_that_offers_plaintext_only_is_not_taken() -> None:
    dialer = FakeDialer({(f"{name}.example.com", 110): (GREETING, LOCKSTEP_CAPA, QUIT) for name in ("pop", "mail")})
    found = find(FakeNames(), dialer)
    assert found.chosen is None
    assert {trial.failure.code for trial in found.trials if trial.failure} == {"host_unreachable", "tls_not_offered"}


def test_what_is_no_pop3_server_is_not_taken() -> None:
    dialer = FakeDialer({("pop.example.com", 995): ((b"", b"220 smtp ready\r\n"),)})
    found = find(FakeNames(), dialer)
    assert found.chosen is None
    assert found.trials[0].failure is not None
    assert found.trials[0].failure.code == "protocol"


def test_a_silent_server_costs_seconds_and_no_more() -> None:
    dialer = FakeDialer({("pop.example.com", 995): (GREETING,)})
    find(FakeNames(), dialer)
    assert dialer.clock.seconds <= 20


def test_a_domain_without_pop3_is_not_guessed_at() -> None:
    dialer = FakeDialer({("pop.example.com", 995): HELLO})
    found = find(FakeNames({POP3S: NOT_THERE, POP3: NOT_THERE}), dialer)
    assert (found.trials, dialer.dialled) == ((), [])
    assert len(found.notes) == 2


def test_a_dns_that_does_not_answer_is_said_asked_once_and_the_names_are_tried() -> None:
    names = FakeNames(trouble=HostUnreachable("no answer by DNS for SRV x within 10 s"))
    found = find(names, FakeDialer({("pop.example.com", 995): HELLO}))
    assert names.asked == [POP3S]
    assert found.notes == ("no answer by DNS for SRV x within 10 s; SRV records may be missing here",)
    assert found.chosen is not None


def test_names_that_lead_nowhere_end_after_two_minutes() -> None:
    dialer = FakeDialer(seconds=50)
    found = find(FakeNames(), dialer)
    assert len(found.trials) == 3
    assert found.notes == ("after 120 s no more were tried",)


def test_what_is_no_address_asks_nobody() -> None:
    names, dialer = FakeNames(), FakeDialer()
    with pytest.raises(ConfigurationError):
        find(names, dialer, "me@")
    assert (names.asked, dialer.dialled) == ([], [])
