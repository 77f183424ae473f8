"""The DNS adapter against a server on loopback."""

from __future__ import annotations

import time

import pytest
from servers.dns import DnsServer, Twist, Zone

from ingest.adapters.dns import DnsNames
from ingest.errors import HostUnreachable
from ingest.ports import ServiceRecord

ZONE: Zone = {
    ("_pop3s._tcp.example.com", "SRV"): ["10 20 995 POP.example.com.", "0 1 1995 pop.other.net."],
    ("_pop3._tcp.example.com", "SRV"): ["0 0 0 ."],
    ("example.com", "MX"): ["20 mx2.example.com.", "10 MX1.example.com."],
}


def names(server: DnsServer, lifetime_s: float = 5) -> DnsNames:
    return DnsNames(lifetime_s=lifetime_s, nameservers=["127.0.0.1"], port=server.port)


def test_srv_records_come_with_all_their_fields_and_names_in_lower_case() -> None:
    with DnsServer(ZONE) as server:
        found = names(server).services("_pop3s._tcp.example.com")
    assert set(found) == {
        ServiceRecord("pop.example.com", 995, 10, 20),
        ServiceRecord("pop.other.net", 1995, 0, 1),
    }


def test_a_service_that_is_decidedly_not_there_is_a_dot() -> None:
    with DnsServer(ZONE) as server:
        assert names(server).services("_pop3._tcp.example.com") == [ServiceRecord(".", 0, 0, 0)]


def test_the_preferred_exchanger_comes_first() -> None:
    with DnsServer(ZONE) as server:
        assert names(server).exchangers("example.com") == ["mx1.example.com", "mx2.example.com"]


@pytest.mark.parametrize("name", ["nowhere.example.com", "example.com"])
def test_no_such_name_and_no_such_record_are_no_error(name: str) -> None:
    with DnsServer(ZONE) as server:
        assert names(server).services(name) == []


def test_a_name_is_asked_for_as_it_stands_without_a_search_list() -> None:
    with DnsServer({}) as server:
        names(server).services("_pop3s._tcp.example.com")
        assert server.asked == [("_pop3s._tcp.example.com", "SRV")]


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_a_server_that_refuses_is_one_line(rcode: str) -> None:
    with DnsServer(ZONE, rcode=rcode) as server, pytest.raises(HostUnreachable, match="refuses to answer for SRV x"):
        names(server, lifetime_s=2).services("x")


@pytest.mark.parametrize("twist", [lambda _: None, lambda _: b"\xff" * 40, lambda reply: b"\0\0" + reply[2:]])
def test_silence_garbage_and_replies_to_other_questions_end_in_time(twist: Twist) -> None:
    began = time.monotonic()
    with DnsServer(ZONE, twist=twist) as server, pytest.raises(HostUnreachable):
        names(server, lifetime_s=0.5).services("_pop3s._tcp.example.com")
    assert time.monotonic() - began < 10


def test_a_name_that_is_none_is_one_line() -> None:
    with DnsServer(ZONE) as server, pytest.raises(HostUnreachable, match="no DNS answer for MX"):
        names(server).exchangers("a..b")


def test_a_flood_of_records_is_cut() -> None:
    flood = [f"0 0 995 p{number}.example.com." for number in range(100)]
    with DnsServer({("_pop3s._tcp.example.com", "SRV"): flood}) as server:
        wide = DnsNames(lifetime_s=3, nameservers=["127.0.0.1"], port=server.port)
        try:
            assert len(wide.services("_pop3s._tcp.example.com")) <= 64
        except HostUnreachable:
            assert len(server.asked) == 1  # too large for UDP, and nobody listens on TCP
