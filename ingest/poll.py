"""ONE maildrop: lease, secret, session, visit; then what was learnt, the next due time, and the lease given back.

Rules of this room:
- Nothing raises out of a poll: every end is a report, and every report has a next due time.
- The lease is renewed on progress, and while store or scanner may still answer (hands.py): a stalled poller loses it.
- Without the lease nothing is written, and the connection is dropped without QUIT.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ingest.arrival import Arrival
from ingest.breaker import login_waits, remember_refused
from ingest.errors import CredentialsRejected, IngestError, LeaseLost, LoginsRefused
from ingest.events.build import account_event
from ingest.events.models import EventType
from ingest.glance import glance_at
from ingest.heartbeat import Heartbeat
from ingest.isolation import Isolation
from ingest.models import Account, AccountState, Failure, Grant, Outcome, PollReport
from ingest.pipeline import Pipeline
from ingest.pop3.session import SessionLimits
from ingest.ports import Clock, Credentials, Dialer, Hosts, Lease, Ledger, SpoolFactory, Telemetry
from ingest.retry import Steps
from ingest.schedule import Cadence, next_poll
from ingest.visit import OnMessage, Visit, VisitLimits, settled


class Poller:
    """Polls accounts, one call each.

    Args:
        dialer, credentials, hosts, spools, pipeline, isolation: towards the server and the store.
        lease, ledger: towards the state.
        clock, telemetry, steps: time, figures, seconds of patience within a step.
        session_limits, visit_limits, cadence: what a session and a visit may take, and how often to come back.
        lease_ttl_s: a third of it is how often progress renews the lease.
        draining: whether the process is asked to stop after the message in hand.
    """

    def __init__(
        self,
        *,
        dialer: Dialer,
        credentials: Credentials,
        hosts: Hosts,
        spools: SpoolFactory,
        pipeline: Pipeline,
        isolation: Isolation,
        lease: Lease,
        ledger: Ledger,
        clock: Clock,
        telemetry: Telemetry,
        steps: Steps,
        session_limits: SessionLimits,
        visit_limits: VisitLimits,
        cadence: Cadence,
        lease_ttl_s: float,
        draining: Callable[[], bool],
    ) -> None:
        self._dialer = dialer
        self._credentials = credentials
        self._hosts = hosts
        self._spools = spools
        self._pipeline = pipeline
        self._isolation = isolation
        self._lease = lease
        self._ledger = ledger
        self._clock = clock
        self._telemetry = telemetry
        self._steps = steps
        self._session_limits = session_limits
        self._visit_limits = visit_limits
        self._cadence = cadence
        self._renew_every_s = lease_ttl_s / 3
        self._draining = draining

    def poll(self, account: Account, on_message: OnMessage = lambda *_: None, *, claimed: bool = False) -> PollReport:
        """Poll now, whatever the due time says; with `claimed`, only if the account still stands claimed.

        Only with `claimed` a secret that the server refused waits until it may be tried again.
        Never raises: the report carries what went wrong.
        """
        started = self._clock.monotonic()
        if account.paused:
            report = PollReport(account.id, Outcome.PAUSED)
        else:
            try:
                grant = self._lease.acquire(account.id, claimed=claimed)
            except IngestError as error:
                report = PollReport(account.id, Outcome.FAILED, failure=Failure.of(error))
            else:
                report = (
                    self._hold(account, grant, on_message, claimed=claimed)
                    if grant
                    else PollReport(account.id, Outcome.BUSY)
                )
        report = replace(report, seconds=self._clock.monotonic() - started)
        self._telemetry.poll_finished(report)
        return report

    def _hold(self, account: Account, grant: Grant, on_message: OnMessage, *, claimed: bool) -> PollReport:
        """With the lease in hand: visit, then give it back with what was learnt."""
        report, learnt = PollReport(account.id, Outcome.FAILED), grant.state
        try:
            report, learnt = self._visit(account, grant, on_message, claimed=claimed)
        except IngestError as error:
            report = replace(report, failure=Failure.of(error))
        except Exception as error:  # noqa: BLE001  # a bug must back off like any failure; its text might hold a secret
            where = traceback.extract_tb(error.__traceback__)[-1]
            bug = IngestError(
                f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}", todo="this is a bug: report it"
            )
            report, learnt = replace(report, failure=Failure.of(bug)), replace(learnt, login_at=grant.now)
        except BaseException:  # Ctrl-C: what is committed stays, and nobody has to wait for the lease to run out
            left = replace(grant.state, fingerprint=None, login_at=grant.now)
            self._lease.release(account.id, grant.token, due_in_s=0.0, state=left)
            raise
        if report.failure is not None and report.failure.code == LeaseLost.code:
            return report
        return self._give_back(account, grant, report, learnt)

    def _visit(
        self, account: Account, grant: Grant, on_message: OnMessage, *, claimed: bool
    ) -> tuple[PollReport, AccountState]:
        token = grant.token
        # Renewed once, not in steps of its own: it may be called from within a step that is tried again.
        beat = Heartbeat(lambda: self._lease.renew(account.id, token), self._clock, self._renew_every_s)
        arrival = Arrival(
            account,
            grant,
            dialer=self._dialer,
            credentials=self._credentials,
            hosts=self._hosts,
            clock=self._clock,
            steps=self._steps,
            limits=self._session_limits,
            beat=beat,
        )
        mark = arrival.fetch_secret()
        if claimed and login_waits(grant.state, mark, now=grant.now):
            return PollReport(account.id, Outcome.WAITING), grant.state
        number = glance_at(
            grant.state,
            settled(account, grant.extent, self._visit_limits),
            now=grant.now,
            full_listing_s=self._visit_limits.full_listing_s,
        )
        visit: Visit | None = None
        failure: IngestError | None = None
        try:
            session, seen = arrival.arrive(number)
            visit = Visit(
                account,
                grant,
                session,
                seen,
                ledger=self._ledger,
                pipeline=self._pipeline,
                isolation=self._isolation,
                spools=self._spools,
                clock=self._clock,
                telemetry=self._telemetry,
                steps=self._steps,
                limits=self._visit_limits,
                beat=beat,
                draining=self._draining,
                on_message=on_message,
            )
            visit.run()
        except IngestError as error:
            failure = error
        finally:
            arrival.leave()  # after a clean QUIT there is nothing left to drop
        learnt = visit.learnt if visit else grant.state
        if isinstance(failure, CredentialsRejected | LoginsRefused):
            learnt = remember_refused(learnt, mark)
        return _report(account.id, visit, arrival, failure), replace(learnt, login_at=arrival.login_at)

    def _give_back(self, account: Account, grant: Grant, report: PollReport, learnt: AccountState) -> PollReport:
        now = self._clock.now()
        following = next_poll(
            account,
            learnt,
            report,
            self._cadence,
            now=grant.now,
            chance=random.random(),  # noqa: S311  # spreads load, guards nothing
        )
        event = None
        if following.failing or following.recovered:
            type_ = EventType.FAILING if following.failing else EventType.RECOVERED
            reason, detail = (report.failure.code, report.failure.what) if report.failure else ("recovered", "")
            event = account_event(type_, account, reason=reason, detail=detail, time=now)
        try:
            held = self._steps(
                self._lease.release,
                account.id,
                grant.token,
                due_in_s=following.due_in_s,
                state=following.state,
                event=event,
            )
        except IngestError as error:
            # The lease runs out by itself and the claim's TTL makes the account due again.
            return replace(report, outcome=Outcome.FAILED, failure=report.failure or Failure.of(error))
        return replace(report, next_due_s=following.due_in_s if held else None)


def _report(account_id: str, visit: Visit | None, arrival: Arrival, failure: IngestError | None) -> PollReport:
    report = PollReport(
        account_id,
        Outcome.FAILED if failure else Outcome.DONE,
        flights=arrival.flights,
        login_delay_s=arrival.session.capabilities.login_delay_s if arrival.session else None,
        failure=Failure.of(failure) if failure else None,
    )
    if visit is None:
        return report
    tally, holding = visit.tally, visit.holding
    return replace(
        report,
        outcome=Outcome.DRAINED if tally.drained and not failure else report.outcome,
        listed=tally.listed,
        new=tally.new,
        messages=tally.messages,
        events=holding.events,
        skipped=tally.skipped,
        quarantined=tally.quarantined,
        deleted=tally.deleted,
        undeleted=tally.undeleted,
        attachments=tally.attachments,
        bytes=tally.bytes,
        committed=holding.committed,
        records=len(holding.image) if holding.image.exists else None,
        more=tally.more or tally.window,
    )
