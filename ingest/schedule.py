"""When to poll an account next. Pure: state and report in, seconds and state out.

Rules of this room:
- Mail makes an account quick, idleness slow: the interval falls to its smallest on mail and grows while there is none.
- Faults back off by whose they are: host and account in minutes and exponentially, ours shorter (the mail waits for
  us), credentials in hours after the second refusal in a row, lest we lock the account out. Meanwhile the account is
  due every few minutes, to see whether its secret is another one by now; where that can't be told, it is not.
- What the server asked for (`after_s`) is kept at the least.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ingest.errors import ConnectionLost, CredentialsRejected, Fault, LoginsRefused, MaildropBusy, SlowDown
from ingest.models import Account, AccountState, Failure, Outcome, PollReport


@dataclass(frozen=True, slots=True)
class Cadence:
    """How quick and how patient polling is; all in seconds but the factors and counts."""

    max_interval_s: float = 900
    growth: float = 1.5
    jitter: float = 0.1
    fault_first_s: float = 60
    fault_max_s: float = 3600
    ours_first_s: float = 10
    ours_max_s: float = 300
    refusals_until_breaker: int = 2
    breaker_first_s: float = 6 * 3600
    breaker_s: float = 24 * 3600
    secret_check_s: float = 300
    host_refused_first_s: float = 600


@dataclass(frozen=True, slots=True)
class Next:
    """When an account is due again and what it remembers; `failing`/`recovered`: an event of the account is due."""

    due_in_s: float
    state: AccountState
    failing: bool = False
    recovered: bool = False


def next_poll(
    account: Account, state: AccountState, report: PollReport, cadence: Cadence, *, now: float, chance: float
) -> Next:
    """What follows from a poll.

    Args:
        account: whose poll.
        state: what was remembered before it, with what the visit learnt.
        report: how it went.
        cadence: the policy.
        now: seconds since the epoch by the clock of the state, kept as the time of the last poll.
        chance: uniform in [0, 1), for the jitter.
    """
    spread = 1 - cadence.jitter * chance  # earlier, so that the interval stays what was promised
    if report.outcome is Outcome.WAITING:  # nothing happened, so what is remembered of the last poll stays
        return Next(_until_check(state, cadence, now=now, spread=spread), state)
    state = replace(state, last_poll=now, last_outcome=report.outcome.value)
    if report.undeleted or report.deleted:
        state = replace(state, undeleted=report.undeleted and state.undeleted + report.undeleted)
    # A session that broke off behind something it committed made progress: the next one goes on, and bears less.
    broke = report.failure is not None and report.failure.code == ConnectionLost.code and report.committed > 0
    if report.failure is not None and not broke:
        return _after_failure(state, report.failure, cadence, now=now, spread=spread)
    recovered = state.failing_since is not None
    state = replace(
        state,
        failures=0,
        refusals=0,
        failing_since=None,
        last_error=report.failure.line(report.failure.code) if report.failure else None,
        refused_mark=None,
        login_after=None,
        laid_to_host=0,
    )
    smallest = float(account.poll_interval_s)
    delay = float(report.login_delay_s or 0)
    if report.outcome is Outcome.DRAINED or (report.more and report.committed):
        return Next(delay, replace(state, interval_s=smallest), recovered=recovered)
    if report.committed:
        interval = smallest
    else:
        interval = min(max(cadence.max_interval_s, smallest), (state.interval_s or smallest) * cadence.growth)
    # The first idle poll still waits the smallest interval only: growth shows from the next one on.
    due = smallest if report.committed else state.interval_s or smallest
    return Next(max(min(due, interval) * spread, delay), replace(state, interval_s=interval), recovered=recovered)


def _after_failure(state: AccountState, failure: Failure, cadence: Cadence, *, now: float, spread: float) -> Next:
    failures = state.failures + 1
    refusals = state.refusals + (failure.code == CredentialsRejected.code)
    failing = held = False
    if failure.code == CredentialsRejected.code and refusals >= cadence.refusals_until_breaker:
        first = refusals == cadence.refusals_until_breaker
        wait = cadence.breaker_first_s if first else cadence.breaker_s
        failing = state.failing_since is None
        held = state.refused_mark is not None
    elif failure.code == LoginsRefused.code:
        state = replace(state, laid_to_host=state.laid_to_host + 1)
        wait = _doubled(cadence.host_refused_first_s, state.laid_to_host, cadence.breaker_first_s)
    elif failure.code in {MaildropBusy.code, SlowDown.code}:
        wait = cadence.fault_first_s
        failures = state.failures
    elif failure.fault is Fault.OURS:
        wait = _doubled(cadence.ours_first_s, failures, cadence.ours_max_s)
    else:
        wait = _doubled(cadence.fault_first_s, failures, cadence.fault_max_s)
    state = replace(
        state,
        failures=failures,
        refusals=refusals,
        last_error=failure.line(failure.code),
        failing_since=now if failing else state.failing_since,
    )
    due = max(wait * spread, failure.after_s or 0.0)
    if held:
        state = replace(state, login_after=now + due)
        due = _until_check(state, cadence, now=now, spread=spread)
    return Next(due, state, failing=failing)


def _until_check(state: AccountState, cadence: Cadence, *, now: float, spread: float) -> float:
    """Until its secret is looked at again, or may be tried again, whichever comes first."""
    return max(0.0, min(cadence.secret_check_s * spread, (state.login_after or now) - now))


def _doubled(first_s: float, times: int, most_s: float) -> float:
    return min(most_s, first_s * 2.0 ** min(times - 1, 32))
