from __future__ import annotations

from ipaddress import ip_network

import pytest

from ingest.adapters.address_policy import why_forbidden


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0.0.0.0", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("169.254.1.1", "link-local"),
        ("169.254.169.254", "a metadata service"),
        ("100.100.100.200", "a metadata service"),
        ("168.63.129.16", "a metadata service"),
        ("fd00:ec2::254", "a metadata service"),
        ("fd20:ce::254", "a metadata service"),
        ("::ffff:a9fe:a9fe", "a metadata service, as 169.254.169.254"),
        ("::ffff:127.0.0.1", "loopback, as 127.0.0.1"),
        ("::127.0.0.1", "loopback, as 127.0.0.1"),
        ("2002:7f00:1::", "loopback, as 127.0.0.1"),
        ("2002:a00:1::", "private, as 10.0.0.1"),
        ("64:ff9b::7f00:1", "loopback, as 127.0.0.1"),
        ("64:ff9b:1::", "local NAT64"),
        ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64"),
        ("::ffff:0:7f00:1", "reserved"),  # SIIT (RFC 2765)
        ("fec0::", "site-local"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("192.0.0.192", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fc00::1", "private"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("2001:db8::1", "documentation"),
        ("::ffff:10.0.0.1", "private, as 10.0.0.1"),
        ("::10.0.0.1", "private, as 10.0.0.1"),
        ("::93.184.216.34", "reserved"),
        ("64:ff9b::a9fe:a9fe", "a metadata service, as 169.254.169.254"),
        ("64:ff9b:1::5db8:d822", "local NAT64"),
        ("2002:7f00:1::1", "loopback, as 127.0.0.1"),
        # Teredo: the server's address in the open, the client's inverted (RFC 4380, 4).
        ("2001:0:a00:1:0:0:a247:27dd", "private, as 10.0.0.1"),
        ("2001:0:5db8:d822:0:0:80ff:fffe", "loopback, as 127.0.0.1"),
    ],
)
def test_what_only_we_can_reach_is_forbidden(address: str, why: str) -> None:
    assert why_forbidden(address, ()) == why


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "2606:4700::6810:84e5",
        "::ffff:93.184.216.34",
        "64:ff9b::5db8:d822",
        "2002:5db8:d822::1",
        "2001:0:5db8:d822:0:0:a247:27dd",
    ],
)
def test_public_addresses_are_free(address: str) -> None:
    assert why_forbidden(address, ()) is None


@pytest.mark.parametrize("address", ["10.0.0.7", "::ffff:10.0.0.7", "64:ff9b::a00:7", "fd12::1"])
def test_allowed_networks_lift_the_ban(address: str) -> None:
    allowed = [ip_network("10.0.0.0/24"), ip_network("fd12::/16")]
    assert why_forbidden(address, allowed) is None
    assert why_forbidden("10.0.1.7", allowed) == "private"


def test_of_two_addresses_that_one_carries_both_must_be_allowed() -> None:
    teredo = "2001:0:a00:1:0:0:5601:5601"  # server 10.0.0.1, client 169.254.169.254
    assert why_forbidden(teredo, [ip_network("10.0.0.0/24")]) == "a metadata service, as 169.254.169.254"
    assert why_forbidden(teredo, [ip_network("10.0.0.0/24"), ip_network("169.254.0.0/16")]) is None
