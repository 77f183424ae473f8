"""When an account is polled next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.errors import Fault, Retry
from ingest.models import Account, AccountState, Failure, Outcome, PollReport
from ingest.schedule import Cadence, Next, next_poll

ACCOUNT = Account("a", "pop.example.com", 995, "u", "env:P", poll_interval_s=60)
CADENCE = Cadence(max_interval_s=900, jitter=0)
DONE = PollReport("a", Outcome.DONE)
NOW = 1_800_000_000.0


def after(report: PollReport, state: AccountState = AccountState(), cadence: Cadence = CADENCE) -> Next:  # noqa: B008
    return next_poll(ACCOUNT, state, report, cadence, now=NOW, chance=0.5)


def failed(code: str, fault: Fault, after_s: float | None = None) -> PollReport:
    failure = Failure(code, fault, Retry.LATER, "what", after_s=after_s)
    return PollReport("a", Outcome.FAILED, failure=failure)


def in_a_row(report: PollReport, times: int) -> list[float]:
    waits, state = [], AccountState()
    for _ in range(times):
        following = after(report, state)
        waits.append(following.due_in_s)
        state = following.state
    return waits


def test_mail_makes_an_account_as_quick_as_it_may_be() -> None:
    following = after(replace(DONE, new=3, committed=3), AccountState(interval_s=900))
    assert (following.due_in_s, following.state.interval_s) == (60, 60)


def test_idleness_makes_it_slower_up_to_the_ceiling() -> None:
    waits = in_a_row(DONE, 12)
    assert waits[:3] == [60, 90, 135]
    assert waits == sorted(waits)
    assert waits[-1] == 900


def test_an_interval_of_its_own_that_is_above_the_ceiling_is_kept() -> None:
    slow = replace(ACCOUNT, poll_interval_s=3600)
    assert next_poll(slow, AccountState(), DONE, CADENCE, now=NOW, chance=0.5).due_in_s == 3600


def test_jitter_makes_it_earlier_by_a_tenth_at_most_and_never_later() -> None:
    waits = [next_poll(ACCOUNT, AccountState(), DONE, Cadence(), now=NOW, chance=n / 100).due_in_s for n in range(100)]
    assert max(waits) == 60
    assert 54 <= min(waits) < 55


def test_a_budget_that_ended_makes_it_due_at_once_if_something_was_committed() -> None:
    assert after(replace(DONE, new=9, more=True, committed=5)).due_in_s == 0
    assert after(replace(DONE, new=9, more=True, committed=0)).due_in_s == 60


def test_a_drained_poll_is_due_at_once() -> None:
    assert after(PollReport("a", Outcome.DRAINED, new=3)).due_in_s == 0


def test_login_delay_is_kept_whatever_there_is_to_do() -> None:
    assert after(replace(DONE, new=9, more=True, committed=5, login_delay_s=120)).due_in_s == 120
    assert after(replace(DONE, new=9, committed=9, login_delay_s=120)).due_in_s == 120


@pytest.mark.parametrize("fault", [Fault.HOST, Fault.ACCOUNT])
def test_faults_of_host_and_account_back_off_from_a_minute_to_an_hour(fault: Fault) -> None:
    assert in_a_row(failed("host_unreachable", fault), 8) == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_faults_of_ours_back_off_shorter_since_the_mail_waits_for_us() -> None:
    assert in_a_row(failed("store_unavailable", Fault.OURS), 7) == [10, 20, 40, 80, 160, 300, 300]


def test_refused_credentials_open_the_breaker_at_the_second_time_and_say_so_once() -> None:
    report, state = failed("credentials", Fault.ACCOUNT), AccountState()
    seen = []
    for _ in range(4):
        following = after(report, state)
        seen.append((following.due_in_s, following.failing))
        state = following.state
    assert seen == [(60, False), (6 * 3600, True), (24 * 3600, False), (24 * 3600, False)]
    assert state.failing_since == NOW


def test_other_failures_between_do_not_let_refusals_be_forgotten() -> None:
    first = after(failed("credentials", Fault.ACCOUNT))
    second = after(failed("host_unreachable", Fault.HOST), first.state)
    third = after(failed("credentials", Fault.ACCOUNT), second.state)
    assert third.due_in_s == 6 * 3600


def test_a_good_poll_forgets_all_failures_and_says_that_it_recovered() -> None:
    following = after(DONE, AccountState(failures=3, refusals=3, failing_since=NOW - 5, last_error="x"))
    assert following.recovered
    assert following.state.failures == following.state.refusals == 0
    assert following.state.failing_since is following.state.last_error is None
    assert not after(DONE).recovered


def test_a_busy_maildrop_waits_a_minute_and_counts_no_failure() -> None:
    assert in_a_row(failed("maildrop_busy", Fault.ACCOUNT), 3) == [60, 60, 60]


def test_what_the_server_asked_for_is_the_least() -> None:
    assert after(failed("slow_down", Fault.ACCOUNT, after_s=1200)).due_in_s == 1200


def test_a_hundred_failures_overflow_nothing() -> None:
    assert in_a_row(failed("connection_lost", Fault.HOST), 2000)[-1] == 3600


def refused_again(refusals: int, mark: str | None = "m") -> Next:
    return after(failed("credentials", Fault.ACCOUNT), AccountState(refusals=refusals, refused_mark=mark))


@pytest.mark.parametrize(("refusals", "hours"), [(1, 6), (2, 24), (9, 24)])
def test_with_the_breaker_open_a_secret_that_has_a_mark_is_looked_at_every_few_minutes(
    refusals: int, hours: int
) -> None:
    following = refused_again(refusals)
    assert (following.due_in_s, following.state.login_after) == (300, NOW + hours * 3600)


def test_a_first_refusal_holds_nothing_up() -> None:
    following = refused_again(0)
    assert (following.due_in_s, following.state.login_after) == (60, None)


def test_without_a_mark_there_is_nothing_to_look_at() -> None:
    following = refused_again(1, mark=None)
    assert (following.due_in_s, following.state.login_after) == (6 * 3600, None)


def test_a_waiting_poll_changes_nothing_and_comes_again_until_the_secret_may_be_tried() -> None:
    waiting = PollReport("a", Outcome.WAITING)
    state = replace(refused_again(1).state, login_after=NOW + 1000)
    assert after(waiting, state) == Next(300, state)
    assert next_poll(ACCOUNT, state, waiting, CADENCE, now=NOW + 900, chance=0.5).due_in_s == 100
    assert next_poll(ACCOUNT, state, waiting, CADENCE, now=NOW + 1001, chance=0.5).due_in_s == 0


def test_looking_at_secrets_is_spread_over_time() -> None:
    waits = {
        next_poll(
            ACCOUNT,
            AccountState(refusals=1, refused_mark="m"),
            failed("credentials", Fault.ACCOUNT),
            Cadence(),
            now=NOW,
            chance=n / 10,
        ).due_in_s
        for n in range(10)
    }
    assert len(waits) == 10
    assert max(waits) == 300


def test_another_failure_while_a_secret_waits_backs_off_as_ever() -> None:
    state = AccountState(refusals=2, refused_mark="m", login_after=NOW + 1000)
    following = after(failed("host_unreachable", Fault.HOST), state)
    assert (following.due_in_s, following.state.login_after) == (60, NOW + 1000)


def test_a_good_poll_forgets_the_refused_secret() -> None:
    state = after(DONE, AccountState(refused_mark="m", login_after=NOW, laid_to_host=3)).state
    assert (state.refused_mark, state.login_after, state.laid_to_host) == (None, None, 0)


def test_logins_laid_to_the_host_come_at_growing_distances_and_open_no_breaker() -> None:
    report = failed("logins_refused", Fault.HOST)
    assert in_a_row(report, 7) == [600, 1200, 2400, 4800, 9600, 19200, 6 * 3600]
    following = after(report, AccountState(refusals=1))
    assert (following.failing, following.state.refusals, following.state.laid_to_host) == (False, 1, 1)


def test_a_session_that_broke_off_behind_what_it_committed_goes_on_soon_and_still_says_why() -> None:
    report = replace(failed("connection_lost", Fault.HOST), committed=3)
    following = after(report, AccountState(failures=2, interval_s=900))
    assert (following.due_in_s, following.state.failures) == (60, 0)
    assert following.state.last_error == report.failure.line("connection_lost") if report.failure else False
