"""ONE login that looks and changes nothing: what a server is and can do, for `accounts check` and `doctor`."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.models import Account, AccountCheck, MessageRef, UidlForm, Uidls
from ingest.pop3.session import Session, SessionLimits
from ingest.ports import Clock, Credentials, Dialer

_LONGEST_UIDL_BYTES = 70  # RFC 1939, 7
_COUNTER_DIGITS = 10


class Checker:
    """Logs in, looks, leaves.

    Args:
        dialer, credentials, clock: what it works with.
        session_limits: what the session may take.
        max_message_bytes: larger messages are counted as too large.
    """

    def __init__(
        self,
        *,
        dialer: Dialer,
        credentials: Credentials,
        clock: Clock,
        session_limits: SessionLimits,
        max_message_bytes: int = 50 << 20,
    ) -> None:
        self._dialer = dialer
        self._credentials = credentials
        self._clock = clock
        self._session_limits = session_limits
        self._max_message_bytes = max_message_bytes

    def check(self, account: Account) -> AccountCheck:
        """What was seen; raises the IngestError that stands in the way."""
        secret = self._credentials.of(account)
        stream = self._dialer.dial(
            account.host,
            account.port,
            tls=account.tls,
            ca_file=account.ca_file,
            fingerprints=account.fingerprints,
        )
        session = Session(stream, host=account.host, clock=self._clock, limits=self._session_limits)
        try:
            before_login = session.start(tls=account.tls)
            began = self._clock.monotonic()
            listing = session.enter(account.username, secret, account.auth, session.overview())
            login_s = self._clock.monotonic() - began
            tls = stream.tls
            began = self._clock.monotonic()
            session.noop()
            round_trip_s = self._clock.monotonic() - began
            session.quit()
        finally:
            session.abort()
        sizes = [ref.size for ref in listing.messages]
        return AccountCheck(
            host=account.host,
            port=account.port,
            tls=account.tls,
            tls_version=tls.version if tls else None,
            certificate_not_after=tls.not_after if tls else None,
            greeting=session.greeting,
            apop=session.offers_apop,
            capabilities=before_login,
            capabilities_after_login=session.after if session.after.known else None,
            messages=len(sizes),
            octets=sum(sizes),
            complete=listing.complete,
            uidls=look_at(listing.messages),
            largest_bytes=max(sizes, default=0),
            too_large=sum(size > self._max_message_bytes for size in sizes),
            login_s=login_s,
            round_trip_s=round_trip_s,
            certificate_sha256=tls.sha256 if tls else None,
        )


def look_at(messages: Sequence[MessageRef]) -> Uidls:
    """What kind of UIDLs a listing has."""
    named = [(ref.number, ref.uidl) for ref in messages if ref.uidl]
    if not named:
        return Uidls(missing=len(messages))
    uidls = [uidl for _, uidl in named]
    if len(named) > 1 and all(uidl == b"%d" % number for number, uidl in named):
        form = UidlForm.POSITION
    elif all(uidl.isdigit() and len(uidl) <= _COUNTER_DIGITS for uidl in uidls):
        form = UidlForm.COUNTER
    else:
        form = UidlForm.OPAQUE
    return Uidls(
        form=form,
        example=uidls[0].decode("ascii", "backslashreplace"),
        missing=len(messages) - len(named),
        long=sum(len(uidl) > _LONGEST_UIDL_BYTES for uidl in uidls),
        repeated=len(uidls) - len(set(uidls)),
    )
