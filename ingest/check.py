"""ONE login that looks and changes nothing: what a server is and can do, for `accounts check` and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ingest.models import Account, Capabilities
from ingest.pop3.session import Session, SessionLimits
from ingest.ports import Clock, Dialer, Secrets


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """What a server is and can do, seen by one login that changes nothing."""

    host: str
    port: int
    tls_version: str | None
    certificate_not_after: datetime | None
    capabilities: Capabilities
    messages: int
    octets: int
    uidl_form: str | None
    round_trip_s: float
    certificate_sha256: str | None = None  # as an account's `fingerprint` is written
    certificate_days_left: int | None = None  # below 0 where a pinned one is out of date


class Checker:
    """Logs in, looks, leaves.

    Args:
        dialer, secrets, clock: what it works with.
        session_limits: what the session may take.
    """

    def __init__(self, *, dialer: Dialer, secrets: Secrets, clock: Clock, session_limits: SessionLimits) -> None:
        self._dialer = dialer
        self._secrets = secrets
        self._clock = clock
        self._session_limits = session_limits

    def check(self, account: Account) -> AccountCheck:
        """What was seen; raises the IngestError that stands in the way."""
        secret = self._secrets.resolve(account.password)
        stream = self._dialer.dial(
            account.host,
            account.port,
            tls=account.tls,
            ca_file=account.ca_file,
            fingerprints=account.fingerprints,
        )
        session = Session(stream, host=account.host, clock=self._clock, limits=self._session_limits)
        try:
            session.start(tls=account.tls)
            session.login(account.username, secret, account.auth)
            tls = stream.tls
            before = self._clock.monotonic()
            session.noop()
            round_trip_s = self._clock.monotonic() - before
            listing = session.listing()
            session.quit()
        finally:
            session.abort()
        uidl = next((ref.uidl for ref in listing.messages if ref.uidl), None)
        return AccountCheck(
            host=account.host,
            port=account.port,
            tls_version=tls.version if tls else None,
            certificate_not_after=tls.not_after if tls else None,
            capabilities=session.capabilities,
            messages=len(listing.messages),
            octets=sum(ref.size for ref in listing.messages),
            uidl_form=uidl.decode("ascii", "backslashreplace") if uidl else None,
            round_trip_s=round_trip_s,
            certificate_sha256=tls.sha256 if tls else None,
            certificate_days_left=(tls.not_after - self._clock.now()).days if tls and tls.not_after else None,
        )
