"""Which addresses an account's host may resolve to. Pure.

Rules of this room:
- Accounts are data from elsewhere: without this policy one could make a worker talk to what only we can reach.
- An IPv6 address that carries an IPv4 address is judged by both; outside of 2000::/3 nothing is reachable by right.
- `allowed` (MAILSLUICE_ALLOWED_NETWORKS) lifts the ban, for the address itself or for each one that it carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# IANA's special-purpose registries (RFC 6890 and updates), and the metadata services on otherwise public addresses.
_BANNED: Sequence[tuple[Network, str]] = tuple(
    (ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.100.100.200/32", "a metadata service"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a metadata service"),
        ("169.254.169.254/32", "a metadata service"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("2001:db8::/32", "documentation"),
        ("2001::/23", "reserved"),
        ("3fff::/20", "documentation"),
        ("fd00:ec2::254/128", "a metadata service"),
        ("fd20:ce::254/128", "a metadata service"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def why_forbidden(address: str, allowed: Iterable[Network]) -> str | None:
    """What speaks against connecting to this address, None if nothing does."""
    found = ip_address(address)
    allowed, carried = tuple(allowed), _carried(found)
    if _within(found, allowed):
        return None
    for candidate in carried:
        why = None if _within(candidate, allowed) else _banned(candidate)
        if why:
            return f"{why}, as {candidate}"
    if carried and all(_within(candidate, allowed) for candidate in carried):
        return None
    # These three are only wrappings; what they lie in is reserved, what they carry is fine.
    if isinstance(found, IPv6Address) and (found.ipv4_mapped or found.teredo or found in _NAT64):
        return None
    return _banned(found)


def _carried(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address leads to: mapped, compatible, NAT64 (RFC 6052), 6to4, Teredo."""
    if isinstance(address, IPv4Address):
        return ()
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _banned(address: Address) -> str | None:
    for network, why in _BANNED:
        if address in network:
            return why
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "reserved"
    return None
