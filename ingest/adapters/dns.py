"""SRV and MX records through dnspython: the system's resolver does not ask for them.

Rules of this room:
- Names are absolute; no search list. Nothing that comes back is believed: whoever uses it checks names and ports.
- Every question ends within `lifetime_s`; every failure is HostUnreachable, in one line. "No such record" is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import dns.exception
import dns.name
import dns.rdata
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.IN.SRV import SRV

from ingest.errors import HostUnreachable
from ingest.ports import ServiceRecord

_MOST = 64


class DnsNames:
    """Looks records up. Safe to share between threads.

    Args:
        lifetime_s: for one question, however many servers and tries it takes.
        nameservers: addresses to ask; none takes the system's (/etc/resolv.conf).
        port: of these.
    """

    def __init__(self, *, lifetime_s: float = 10, nameservers: Sequence[str] = (), port: int = 53) -> None:
        self._lifetime_s = lifetime_s
        self._nameservers = tuple(nameservers)
        self._port = port

    def services(self, name: str) -> Sequence[ServiceRecord]:
        """The SRV records of a name, in no order; none is no error. HostUnreachable."""
        return [
            ServiceRecord(_text(record.target), record.port, record.priority, record.weight)
            for record in self._ask(name, "SRV")
            if isinstance(record, SRV)
        ]

    def exchangers(self, domain: str) -> Sequence[str]:
        """Who takes mail for a domain, the preferred first; none is no error. HostUnreachable."""
        records = [record for record in self._ask(domain, "MX") if isinstance(record, MX)]
        return [_text(record.exchange) for record in sorted(records, key=lambda record: record.preference)]

    def _ask(self, name: str, kind: str) -> list[dns.rdata.Rdata]:
        try:
            resolver = dns.resolver.Resolver(configure=not self._nameservers)
            if self._nameservers:
                resolver.nameservers = list(self._nameservers)
                resolver.port = self._port
            answer = resolver.resolve(
                dns.name.from_text(f"{name}."), kind, search=False, lifetime=self._lifetime_s, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return []
        except dns.resolver.LifetimeTimeout:
            raise HostUnreachable(f"no answer by DNS for {kind} {name} within {self._lifetime_s:.0f} s") from None
        except dns.resolver.NoNameservers:
            raise HostUnreachable(f"the DNS refuses to answer for {kind} {name}") from None
        except dns.resolver.NoResolverConfiguration:
            raise HostUnreachable("this machine names no DNS server", todo="see /etc/resolv.conf") from None
        except (dns.exception.DNSException, OSError) as error:
            raise HostUnreachable(f"no DNS answer for {kind} {name}: {type(error).__name__}") from error
        return list(answer.rrset or ())[:_MOST]


def _text(name: dns.name.Name) -> str:
    """A name without its final dot, in lower case; the root stays "."."""
    return name.to_text(omit_final_dot=True).lower()
