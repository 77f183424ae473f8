"""What the DNS says of a domain's mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One SRV record (RFC 2782). `target` has no final dot; "." alone says that the service is decidedly not there."""

    target: str
    port: int
    priority: int
    weight: int


class Names(Protocol):
    """Looks records up. Nothing it says is proven: without DNSSEC anyone on the way may have said it."""

    def services(self, name: str) -> Sequence[ServiceRecord]:
        """The SRV records of e.g. `_pop3s._tcp.example.com`, in no order; none is no error. HostUnreachable."""
        ...

    def exchangers(self, domain: str) -> Sequence[str]:
        """Who takes mail for a domain (MX, RFC 5321, 5.1), the preferred first; none is no error. HostUnreachable."""
        ...
