"""From an account and its lease to a session that is logged in and has looked once, in as few flights as may be.

Rules of this room:
- What may be lost behind a password is learnt for each host, without harm: first a barrier; then one session in the
  cluster tries without, under a short guard. Silence there ends nothing but a connection in which nothing was retrieved
  or deleted: the same poll comes again with the barrier, and that it then gets through is what proves the loss.
- One password is tried once. A token that was refused is renewed and tried once more.
- LOGIN-DELAY (RFC 2449, 6.5) is kept across the cluster, whoever asks for the poll; one that differs by user is left
  to the server and to the due time, since the profile may be another user's.
- What is remembered of a host is a memory: that it can't be written fails no poll.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from ingest.breaker import judge_refusal
from ingest.errors import (
    ConnectionLost,
    CredentialsRejected,
    IngestError,
    ListingFailed,
    MaildropBusy,
    ProtocolError,
    ServerRefused,
    ServerTemporary,
    SlowDown,
)
from ingest.models import Account, Auth, Grant, HostProfile, Listing, Secret, Sight
from ingest.pop3.limits import KIB
from ingest.pop3.looks import Glance, Look
from ingest.pop3.session import Session, SessionLimits
from ingest.ports import Clock, Credentials, Dialer, Hosts
from ingest.retry import Steps

CAPABILITIES_S = 86_400.0
_PATIENT = 6
# What a server says or does when it lost what came behind the password.
_LOST = (ConnectionLost, ProtocolError, ListingFailed)
# The same behind a good login: what came along was read before that took effect, or by the wrong process.
_REFUSED = (ServerRefused, ServerTemporary)
# What it may look like when a server can no longer do what it could.
_OUTDATED = (ConnectionLost, ProtocolError, ListingFailed, ServerRefused)


class Arrival:
    """One poll's way in.

    Args:
        account, grant: whose maildrop, under which lease.
        dialer, credentials, hosts, clock, steps: what it works with.
        limits: of a session.
        beat: keeps the lease; called while octets move.

    Attributes:
        session: the last one that was opened, None before any was.
    """

    def __init__(
        self,
        account: Account,
        grant: Grant,
        *,
        dialer: Dialer,
        credentials: Credentials,
        hosts: Hosts,
        clock: Clock,
        steps: Steps,
        limits: SessionLimits,
        beat: Callable[[], None],
    ) -> None:
        self.session: Session | None = None
        self._account = account
        self._now = grant.now
        self._state = grant.state
        self._secret: Secret | None = None
        self._dialer = dialer
        self._credentials = credentials
        self._hosts = hosts
        self._clock = clock
        self._steps = steps
        # A message that is slow to come must come one day: who failed may take longer, down to the least rate. Where
        # only other mail came through no failure is counted, but what broke off is a suspect.
        patience = _PATIENT if grant.suspects else min(grant.state.failures, _PATIENT)
        slower = limits.deadline_bytes_per_s >> patience
        self._limits = replace(limits, deadline_bytes_per_s=max(min(KIB, limits.deadline_bytes_per_s), slower))
        self._beat = beat
        self._flights = 0
        self._dialled = False
        self._profile: HostProfile | None = None

    @property
    def login_at(self) -> float | None:
        """When the last login was tried, by the clock of the state."""
        return self._now if self._dialled else self._state.login_at

    @property
    def flights(self) -> int:
        """Round trips waited for, those of a session given up included."""
        return self._flights + (self.session.flights if self.session else 0)

    def fetch_secret(self) -> str | None:
        """Fetch what to log in with, before anything is dialled; what marks it, if there is a key to mark with."""
        self._secret = self._credentials.of(self._account)
        return self._credentials.mark(self._account, self._secret)

    def arrive(self, number: int | None) -> tuple[Session, Listing | Sight]:
        """Log in and look: a glance at the message with this number, or None for the whole listing.

        Raises what stands in the way; the session, if any, is aborted then.
        """
        self._profile = self._hosts.profile(self._account.place)
        self._keep_login_delay()
        if self._secret is None:
            self.fetch_secret()
        seen = self._with_fresh_token(number)
        if self.session is None:
            raise RuntimeError("arrived without a session")
        with contextlib.suppress(IngestError):
            self._hosts.admitted(self._account.place)
        return self.session, seen

    def leave(self) -> None:
        """The poll is over: drop the connection if it is still there, and remember what was found out in it."""
        session, profile = self.session, self._profile
        if session is None:
            return
        session.abort()
        if profile is not None and session.admitted and (profile.uidl, profile.top) != (session.uidl, session.top):
            self._learn(replace(profile, uidl=session.uidl, top=session.top))

    def _with_fresh_token(self, number: int | None) -> Listing | Sight:
        """Enter; once more with a fresh token where the server refused the one that was kept."""
        try:
            return self._enter(number)
        except CredentialsRejected as error:
            # Raises, too; but what the token endpoint refuses is not for the host to answer.
            fresh = self._credentials.renewed(self._account, self._secret) if self._secret else None
            if fresh is None:
                raise judge_refusal(error, self._account, self._hosts, self._state) from None
            self._secret = fresh
        try:
            return self._enter(number)
        except CredentialsRejected as error:
            raise judge_refusal(error, self._account, self._hosts, self._state) from None

    def _keep_login_delay(self) -> None:
        profile = self._profile
        if profile is None or profile.before.per_user or profile.after.per_user or self._state.login_at is None:
            return
        delay_s = profile.after.login_delay_s or profile.before.login_delay_s
        if not delay_s:
            return
        left_s = self._state.login_at + delay_s - self._now
        if 0 < left_s <= delay_s:
            raise SlowDown(
                f"{self._account.host} wants {delay_s} s between logins, {left_s:.0f} s to go", after_s=left_s
            )

    def _enter(self, number: int | None) -> Listing | Sight:
        profile = self._fresh()
        across, trying = self._across(profile)
        try:
            return self._once(number, profile, across=across, trying=trying)
        except (*_LOST, *_REFUSED) as error:
            session = self.session
            if session is None or not session.along:
                raise
            if not session.admitted and (not trying or isinstance(error, _REFUSED)):
                raise
        # With nothing taken for granted this time. The server may need a moment to notice that the session is over.
        try:
            seen = self._steps.until_free(self._once, number, None, across=False, trying=False)
        except MaildropBusy:
            if session.admitted:  # so by our own session, most likely: the host is up, and that login went through
                self._unlearn(trying=trying)
            raise
        self._unlearn(trying=trying)
        return seen

    def _unlearn(self, *, trying: bool) -> None:
        """What was sent along is lost there: after a try that is certain, else it is to be tried again."""
        if self._profile is not None:
            self._learn(replace(self._profile, across_login=False if trying else None))

    def _fresh(self) -> HostProfile | None:
        """What is known of the host, unless that is old."""
        profile = self._profile
        return profile if profile and 0 <= self._clock.now().timestamp() - profile.seen_at < CAPABILITIES_S else None

    def _across(self, profile: HostProfile | None) -> tuple[bool, bool]:
        """Whether to send the look along with the password, and whether that is a try."""
        if profile is None or profile.across_login is False:
            return False, False
        if profile.across_login:
            return True, False
        pipelining = "PIPELINING" in profile.before or "PIPELINING" in profile.after
        delayed = profile.before.login_delay_s or profile.after.login_delay_s  # a second login would come too soon
        bearable = self._account.auth in {Auth.AUTO, Auth.USER, Auth.APOP}
        trying = bool(pipelining and bearable and not delayed and self._hosts.may_try(self._account.place))
        return trying, trying

    def _once(self, number: int | None, profile: HostProfile | None, *, across: bool, trying: bool) -> Listing | Sight:
        account, secret = self._account, self._secret
        if secret is None:
            raise RuntimeError("no secret was fetched")
        if self.session is not None:
            self._flights += self.session.flights
            self.session = None
        self._beat()  # name, connection and handshake may take long, and so may the greeting
        stream = self._dialer.dial(
            account.host,
            account.port,
            tls=account.tls,
            ca_file=account.ca_file,
            fingerprints=account.fingerprints,
        )
        self._beat()
        session = Session(stream, host=account.host, clock=self._clock, limits=self._limits, on_progress=self._beat)
        self.session, self._dialled = session, True
        try:
            session.start(tls=account.tls, known=self._of_this_maildrop(profile))
            look: Look[Listing | Sight] = session.overview() if number is None else Glance(number)
            guard_s = self._limits.login_guard_s if trying else 0.0
            seen = session.enter(account.username, secret, account.auth, look, across=across, guard_s=guard_s)
        except BaseException as error:
            session.abort()
            if profile is not None and isinstance(error, _OUTDATED):
                self._learn(replace(profile, seen_at=0.0))
            raise
        self._remember(session, profile, tried=trying and session.along)
        return seen

    def _of_this_maildrop(self, profile: HostProfile | None) -> HostProfile | None:
        """A host that refused UIDL, perhaps to another user, is asked again for a maildrop that had UIDLs."""
        return replace(profile, uidl=True) if profile is not None and self._state.listings else profile

    def _remember(self, session: Session, known: HostProfile | None, *, tried: bool) -> None:
        """Write down what this session found out of the host, if it is news."""
        if known is not None:
            profile = replace(known, uidl=session.uidl, top=session.top)
        else:
            before = self._profile
            same = before is not None and before.before == session.before
            profile = HostProfile(
                session.before,
                session.after,
                seen_at=self._clock.now().timestamp(),
                across_login=before.across_login if before and same else None,
                uidl=session.uidl,
                top=session.top,
            )
        self._learn(replace(profile, across_login=True) if tried else profile)

    def _learn(self, profile: HostProfile) -> None:
        if profile == self._profile:
            return
        self._profile = profile
        with contextlib.suppress(IngestError):
            self._hosts.learn(self._account.place, profile)
