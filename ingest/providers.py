"""Mail providers that behave in ways of their own: how one is recognised, and where its POP3 server is. Pure.

Rules of this room:
- A table, and look-ups in it. A provider is recognised by names that only it can answer for, or by its own words.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Provider(enum.StrEnum):
    """Whose service it is, where that makes a difference."""

    GMAIL = "Gmail"
    MICROSOFT = "Microsoft 365"
    YAHOO = "Yahoo"


@dataclass(frozen=True, slots=True)
class _Known:
    """One provider: its POP3 server, addresses, who takes mail for it, its servers' names, and how these greet."""

    provider: Provider
    pop_host: str
    domains: frozenset[str]
    exchangers: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


_KNOWN = (
    _Known(
        Provider.GMAIL,
        "pop.gmail.com",
        frozenset({"gmail.com", "googlemail.com"}),
        ("google.com", "googlemail.com"),
        ("gmail.com", "googlemail.com"),
        ("gpop ",),
    ),
    _Known(
        Provider.MICROSOFT,
        "outlook.office365.com",
        frozenset({"outlook.com", "hotmail.com", "live.com", "msn.com", "office365.com"}),
        ("outlook.com", "mx.microsoft"),
        # Its greeting is that of any Exchange, also of one in somebody's cellar.
        ("outlook.com", "office365.com", "office.com", "hotmail.com", "live.com"),
    ),
    # AOL's domains have Yahoo's exchangers and a server of their own.
    _Known(Provider.YAHOO, "pop.aol.com", frozenset({"aol.com"}), (), ("aol.com",)),
    _Known(
        Provider.YAHOO,
        "pop.mail.yahoo.com",
        frozenset({"yahoo.com", "ymail.com", "rocketmail.com"}),
        ("yahoodns.net",),
        ("yahoo.com",),
    ),
)
PORT = 995  # all of them: implicit TLS


def within(name: str, domain: str) -> bool:
    """Whether a name is the domain, or lies in it; both in lower case and without a final dot."""
    return name == domain or name.endswith(f".{domain}")


def pop_host_of_domain(domain: str) -> str | None:
    """The POP3 server for addresses of this domain, where the domain is a provider's own."""
    return next((known.pop_host for known in _KNOWN if domain in known.domains), None)


def pop_host_of_exchangers(exchangers: Iterable[str]) -> str | None:
    """The POP3 server of whoever takes a domain's mail, where that is a provider known here."""
    return next(
        (
            known.pop_host
            for exchanger in exchangers
            for known in _KNOWN
            if any(within(exchanger, domain) for domain in known.exchangers)
        ),
        None,
    )


def recognise(host: str, words: str = "") -> Provider | None:
    """Whose server it is.

    Args:
        host: its name.
        words: its greeting and IMPLEMENTATION; these tell a provider's server behind another name.
    """
    host, words = host.lower().rstrip("."), words.lower()
    for known in _KNOWN:
        if any(within(host, domain) for domain in known.hosts) or any(word in words for word in known.words):
            return known.provider
    return None
