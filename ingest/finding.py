"""ONE address: what the DNS says, and which of its candidates answers as a POP3 server. No login.

Rules of this room:
- Each candidate is dialled like an account's host: the policy on addresses and the verification of certificates hold.
- It ends: so long a candidate, so long all of them. What fails is kept as a line; nothing but a bad address raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ingest.discovery import (
    POP3,
    POP3S,
    Candidate,
    Discovery,
    Records,
    Seen,
    Trial,
    candidates,
    domain_of,
    is_denied,
    notes,
)
from ingest.errors import ConnectionLost, IngestError
from ingest.models import Failure
from ingest.pop3.session import Session, SessionLimits
from ingest.ports import Clock, Dialer, Names

_TRIAL_S = 20.0  # of one session's waiting; greeting, CAPA and TLS take a round trip each
_ALL_S = 120.0


def _quietly(_: Candidate) -> None:
    pass


class Finder:
    """Finds the server of an address.

    Args:
        names, dialer, clock: what it works with.
        session_limits: what a session may take; it gets less time here.
    """

    def __init__(self, *, names: Names, dialer: Dialer, clock: Clock, session_limits: SessionLimits) -> None:
        self._names = names
        self._dialer = dialer
        self._clock = clock
        self._limits = replace(
            session_limits,
            read_timeout_s=min(_TRIAL_S / 2, session_limits.read_timeout_s),
            deadline_s=min(_TRIAL_S, session_limits.deadline_s),
        )

    def find(
        self, address: str, *, ca_file: str | None = None, on_trial: Callable[[Candidate], None] = _quietly
    ) -> Discovery:
        """Try candidates until one works.

        Args:
            address: someone@example.com; ConfigurationError if it is none.
            ca_file: CA bundle to verify certificates by.
            on_trial: told of each candidate before it is tried.
        """
        domain = domain_of(address)
        records = self._records(domain)
        lines = notes(domain, records)
        trials: list[Trial] = []
        began = self._clock.monotonic()
        for candidate in [] if is_denied(records) else candidates(domain, records):
            if self._clock.monotonic() - began > _ALL_S:
                lines.append(f"after {_ALL_S:.0f} s no more were tried")
                break
            on_trial(candidate)
            trials.append(self._try(candidate, ca_file))
            if trials[-1].seen is not None:
                break
        return Discovery(address, domain, tuple(trials), tuple(lines))

    def _records(self, domain: str) -> Records:
        """A DNS that fails at one question is not asked another: it costs its whole patience each time."""
        records = Records()
        try:
            records = replace(records, pop3s=tuple(self._names.services(f"{POP3S}.{domain}")))
            records = replace(records, pop3=tuple(self._names.services(f"{POP3}.{domain}")))
            return replace(records, exchangers=tuple(self._names.exchangers(domain)))
        except IngestError as error:
            return replace(records, trouble=str(error))

    def _try(self, candidate: Candidate, ca_file: str | None) -> Trial:
        try:
            stream = self._dialer.dial(candidate.host, candidate.port, tls=candidate.tls, ca_file=ca_file)
            session = Session(stream, host=candidate.host, clock=self._clock, limits=self._limits)
            try:
                can = session.start(tls=candidate.tls)
                tls = stream.tls
                mechanisms: Sequence[str] = sorted(can.sasl)
                greeting = session.greeting
                session.quit()
            finally:
                session.abort()
        except IngestError as error:
            return Trial(candidate, failure=Failure.of(error))
        if tls is None:  # a dialer that forgets TLS must not pass for one that verified
            return Trial(candidate, failure=Failure.of(ConnectionLost(f"{candidate.host} is not encrypted")))
        return Trial(candidate, Seen(tls.version, tls.not_after, greeting, tuple(mechanisms)))
