"""Records in, candidates out."""

from __future__ import annotations

import re

import pytest

from ingest.discovery import Candidate, Records, candidates, domain_of, id_of, is_denied, notes
from ingest.errors import ConfigurationError
from ingest.models import Tls
from ingest.ports import ServiceRecord

NOT_THERE = (ServiceRecord(".", 0, 0, 0),)


def srv(target: str, port: int = 995, priority: int = 0, weight: int = 0) -> ServiceRecord:
    return ServiceRecord(target, port, priority, weight)


def servers(found: list[Candidate]) -> list[str]:
    return [f"{candidate.host}:{candidate.port} {candidate.tls}" for candidate in found]


def test_without_records_the_usual_names_are_tried_encrypted_first() -> None:
    assert servers(candidates("example.com", Records())) == [
        "pop.example.com:995 implicit",
        "pop3.example.com:995 implicit",
        "mail.example.com:995 implicit",
        "pop.example.com:110 starttls",
        "pop3.example.com:110 starttls",
        "mail.example.com:110 starttls",
    ]


def test_records_come_before_names_and_pop3s_before_pop3() -> None:
    records = Records(pop3s=(srv("s.example.com"),), pop3=(srv("t.example.com", 110),))
    found = candidates("example.com", records)
    assert servers(found)[:2] == ["s.example.com:995 implicit", "t.example.com:110 starttls"]
    assert [candidate.sources for candidate in found[:2]] == [("SRV _pop3s._tcp",), ("SRV _pop3._tcp",)]


def test_the_lower_priority_wins_and_the_heavier_among_equals() -> None:
    records = Records(pop3s=(srv("c.example.com", priority=20, weight=9), srv("b.example.com", priority=10, weight=1),
                             srv("a.example.com", priority=10, weight=5)))  # fmt: skip
    assert [candidate.host[0] for candidate in candidates("example.com", records)[:3]] == ["a", "b", "c"]


def test_plaintext_is_never_a_candidate() -> None:
    records = Records(
        pop3s=(srv("a.example.com", 110),), pop3=(srv("b.example.com", 995),), exchangers=("mx.google.com",)
    )
    assert all(candidate.tls is not Tls.NONE for candidate in candidates("example.com", records))


def test_a_host_outside_of_the_domain_that_only_records_name_is_foreign() -> None:
    records = Records(pop3s=(srv("pop.other.net"), srv("example.com"), srv("pop.example.com"), srv("evilexample.com")))
    foreign = {candidate.host: candidate.foreign for candidate in candidates("example.com", records)[:4]}
    assert foreign == {"pop.other.net": True, "example.com": False, "pop.example.com": False, "evilexample.com": True}


def test_a_providers_host_is_known_to_us_and_not_foreign() -> None:
    records = Records(pop3s=(srv("pop.gmail.com"),), exchangers=("aspmx.l.google.com",))
    first = candidates("example.com", records)[0]
    assert (first.host, first.sources, first.foreign) == ("pop.gmail.com", ("SRV _pop3s._tcp", "MX"), False)


@pytest.mark.parametrize(
    ("domain", "exchangers", "host"),
    [
        ("gmail.com", (), "pop.gmail.com"),
        ("hotmail.com", (), "outlook.office365.com"),
        ("aol.com", ("mx-aol.mail.gm0.yahoodns.net",), "pop.aol.com"),
        ("example.com", ("example-com.mail.protection.outlook.com",), "outlook.office365.com"),
        ("example.com", ("mx.example.com", "alt1.aspmx.l.google.com"), "pop.gmail.com"),
        ("yahoo.fr", ("mx-eu.mail.am0.yahoodns.net",), "pop.mail.yahoo.com"),
    ],
)
def test_a_provider_is_known_by_its_domain_or_its_exchangers(
    domain: str, exchangers: tuple[str, ...], host: str
) -> None:
    assert servers(candidates(domain, Records(exchangers=exchangers)))[0] == f"{host}:995 implicit"


@pytest.mark.parametrize("exchanger", ["google.com.evil.net", "notgoogle.com", "."])
def test_a_name_that_only_looks_like_a_providers_is_none(exchanger: str) -> None:
    assert servers(candidates("example.com", Records(exchangers=(exchanger,))))[0] == "pop.example.com:995 implicit"


@pytest.mark.parametrize("target", [".", "", "a b", "x\\000y.example.com", "-" * 64, "a" * 300])
def test_a_target_that_is_no_host_name_is_left_out(target: str) -> None:
    assert servers(candidates("example.com", Records(pop3s=(srv(target),)))) == [
        server for server in servers(candidates("example.com", Records())) if target != "." or "starttls" in server
    ]


def test_port_0_and_a_flood_of_records_are_left_out() -> None:
    records = Records(pop3s=tuple(srv(f"p{n}.example.com", n) for n in range(100)))
    found = [candidate for candidate in candidates("example.com", records) if candidate.sources != ("usual name",)]
    assert len(found) == 8
    assert all(candidate.port for candidate in found)


def test_a_service_that_is_decidedly_not_there_is_not_guessed_at() -> None:
    found = candidates("example.com", Records(pop3=NOT_THERE))
    assert {candidate.tls for candidate in found} == {Tls.IMPLICIT}
    assert not is_denied(Records(pop3=NOT_THERE))
    assert notes("example.com", Records(pop3=NOT_THERE)) == [
        'example.com says that it has no such service: _pop3._tcp is "."'
    ]


def test_a_domain_may_say_that_it_has_no_pop3_at_all() -> None:
    assert is_denied(Records(pop3s=NOT_THERE, pop3=NOT_THERE))


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("a@Example.COM", "example.com"),
        ("a@b@example.com", "example.com"),
        ("x@bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_domain_is_written_as_the_dns_has_it(address: str, domain: str) -> None:
    assert domain_of(address) == domain


@pytest.mark.parametrize(
    "address", ["@example.com", "a@", "a@b..c", "a@[192.0.2.1]", "a@b c", "a@" + "x" * 64 + ".com"]
)
def test_what_is_no_address_is_bad_configuration(address: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address"):
        domain_of(address)


@pytest.mark.parametrize(
    ("address", "account_id"),
    [
        ("someone@example.com", "someone-example.com"),
        ("First.Last+tag@Example.com", "first.last-tag-example.com"),
        ("_x_@example.com", "x_-example.com"),
        ("@", "account"),
    ],
)
def test_an_id_is_made_of_an_address(address: str, account_id: str) -> None:
    assert id_of(address) == account_id


def test_every_id_is_valid_and_long_addresses_keep_apart() -> None:
    long = ["a" * 80 + f"{n}@example.com" for n in range(3)]
    ids = [id_of(address) for address in [*long, "ü@bücher.example", "?.@-"]]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", account_id) for account_id in ids)
    assert len(set(ids[:3])) == 3
