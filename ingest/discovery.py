"""Which servers an address may have, in the order to try them: RFC 6186's records, then providers, then usual names.

Rules of this room:
- Pure: records in, candidates out. Nothing here asks the DNS or a server.
- Plaintext is never a candidate.
- DNS answers can be forged: a host that only they name, outside of the address' own domain, is `foreign`, and a person
  must say yes to it (RFC 6186, 6). A provider's host comes from our own table, so the worst a forger gains is a login
  tried at the real Gmail.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ingest.errors import ConfigurationError
from ingest.models import Failure, Tls
from ingest.ports import ServiceRecord
from ingest.providers import PORT, pop_host_of_domain, pop_host_of_exchangers, within

POP3S, POP3 = "_pop3s._tcp", "_pop3._tcp"
MX, PROVIDER, USUAL = "MX", "provider", "usual name"
_USUAL_NAMES = ("pop", "pop3", "mail")
_ENCRYPTED, _UPGRADED = 995, 110
_RECORDS = 8  # of each kind; whoever has more has enough in these
_ID_CHARACTERS = 64
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class Records:
    """What the DNS says of a domain; `trouble` is why a part of it is not known."""

    pop3s: Sequence[ServiceRecord] = ()
    pop3: Sequence[ServiceRecord] = ()
    exchangers: Sequence[str] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server to try. `sources` names who says so; `foreign`: only forgeable records do, outside of the domain."""

    host: str
    port: int
    tls: Tls
    sources: tuple[str, ...]
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a candidate showed before any login: its certificate is verified, its greeting in printable ASCII."""

    tls_version: str
    certificate_not_after: datetime | None
    greeting: str
    mechanisms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate, and how trying it went: one of `seen` and `failure`."""

    candidate: Candidate
    seen: Seen | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found for an address. `trials` end with the first that worked; `notes` are lines for a person."""

    address: str
    domain: str
    trials: tuple[Trial, ...]
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> Trial | None:
        """The one that worked."""
        return next((trial for trial in self.trials if trial.seen is not None), None)


def domain_of(address: str) -> str:
    """The domain of an address as the DNS has it (A-labels, lower case); ConfigurationError."""
    local, _, domain = address.rpartition("@")
    try:
        ascii_domain = domain.rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        ascii_domain = ""
    if not local or not _HOST.fullmatch(ascii_domain):
        raise ConfigurationError([f"{address[:80]!r} is no address (someone@example.com)"])
    return ascii_domain


def id_of(address: str) -> str:
    """An account's id made of an address: `someone@example.com` gives `someone-example.com`."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", address.lower()).strip("-._") or "account"
    if len(plain) <= _ID_CHARACTERS:
        return plain
    return f"{plain[: _ID_CHARACTERS - 9]}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def candidates(domain: str, records: Records) -> list[Candidate]:
    """The servers to try, the best first, each once.

    SRV by priority, then by weight: one choice is stored here for good, so the heaviest is taken instead of a random
    one (RFC 2782 draws lots at each connection). Then providers, then usual names, implicit TLS before STARTTLS.
    """
    found = [
        *_from_records(domain, records.pop3s, POP3S, Tls.IMPLICIT),
        *_from_records(domain, records.pop3, POP3, Tls.STARTTLS),
    ]
    for host, source in (
        (pop_host_of_domain(domain), PROVIDER),
        (pop_host_of_exchangers(records.exchangers), MX),
    ):
        if host is not None:
            found.append(Candidate(host, PORT, Tls.IMPLICIT, (source,)))
    denied = _denied(records)
    for port, tls in ((_ENCRYPTED, Tls.IMPLICIT), (_UPGRADED, Tls.STARTTLS)):
        if tls not in denied:
            found += [Candidate(f"{name}.{domain}", port, tls, (USUAL,)) for name in _USUAL_NAMES]
    return _merged(found)


def notes(domain: str, records: Records) -> list[str]:
    """What a person should know of the records themselves."""
    lines = []
    if records.trouble:
        lines.append(f"{records.trouble}; SRV records may be missing here")
    for name, tls in ((POP3S, Tls.IMPLICIT), (POP3, Tls.STARTTLS)):
        if tls in _denied(records):
            lines.append(f'{domain} says that it has no such service: {name} is "."')
    return lines


def is_denied(records: Records) -> bool:
    """Whether the domain says outright that it offers no POP3 (RFC 6186, 3.4)."""
    return _denied(records) == {Tls.IMPLICIT, Tls.STARTTLS}


def _denied(records: Records) -> set[Tls]:
    pairs = ((Tls.IMPLICIT, records.pop3s), (Tls.STARTTLS, records.pop3))
    return {tls for tls, listed in pairs if listed and all(record.target == "." for record in listed)}


def _from_records(domain: str, records: Iterable[ServiceRecord], source: str, tls: Tls) -> list[Candidate]:
    ranked = sorted(records, key=lambda record: (record.priority, -record.weight, record.target, record.port))
    usable = [record for record in ranked if record.port and _HOST.fullmatch(record.target.lower())]
    return [
        Candidate(host, record.port, tls, (f"SRV {source}",), foreign=not within(host, domain))
        for record in usable[:_RECORDS]
        if (host := record.target.lower())
    ]


def _merged(found: Iterable[Candidate]) -> list[Candidate]:
    """Each server once, at its first place; it is foreign only if everybody who names it is a record outside."""
    by_place: dict[tuple[str, int, Tls], Candidate] = {}
    for candidate in found:
        place = (candidate.host, candidate.port, candidate.tls)
        known = by_place.get(place)
        by_place[place] = (
            candidate
            if known is None
            else replace(
                known,
                sources=tuple(dict.fromkeys(known.sources + candidate.sources)),
                foreign=known.foreign and candidate.foreign,
            )
        )
    return list(by_place.values())
