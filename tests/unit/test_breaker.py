"""Refused logins: whose fault, and when the same secret may be tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from ingest.adapters.memory_hosts import MemoryHosts
from ingest.breaker import judge_refusal, login_waits, remember_refused
from ingest.errors import (
    ConnectionLost,
    CredentialsRejected,
    Fault,
    IngestError,
    LoginsRefused,
    MaildropBusy,
    StateUnavailable,
)
from ingest.models import Account, AccountState, Failure, Outcome, Place, PollReport
from ingest.schedule import Cadence, next_poll

REFUSED = CredentialsRejected("pop.example.com refused the login: [AUTH] no: really")
FRESH = AccountState()
DAY_S = 86_400.0


class OwnClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@pytest.fixture
def clock() -> OwnClock:
    return OwnClock()


@pytest.fixture
def hosts(clock: OwnClock) -> MemoryHosts:
    return MemoryHosts(clock)


def account(id_: str, host: str = "pop.example.com") -> Account:
    return Account(id_, host, 995, "u", "env:P")


def judged(hosts: MemoryHosts, id_: str, state: AccountState = FRESH) -> IngestError:
    return judge_refusal(REFUSED, account(id_), hosts, state)


# Whose fault


def test_refusals_of_two_accounts_are_their_own(hosts: MemoryHosts) -> None:
    assert [judged(hosts, id_) for id_ in "abab"] == [REFUSED] * 4


def test_the_third_account_that_is_refused_shows_that_it_is_the_host(hosts: MemoryHosts) -> None:
    judged(hosts, "a")
    judged(hosts, "b")
    error = judged(hosts, "c")
    assert type(error) is LoginsRefused
    assert error.fault is Fault.HOST
    assert error.what == "pop.example.com refuses the logins of 3 accounts at once: [AUTH] no: really"
    assert type(judged(hosts, "a")) is LoginsRefused


def test_a_good_login_between_shows_that_it_is_not(hosts: MemoryHosts) -> None:
    judged(hosts, "a")
    judged(hosts, "b")
    hosts.admitted(account("d").place)
    assert judged(hosts, "c") is REFUSED


def test_accounts_of_another_host_say_nothing_about_this_one(hosts: MemoryHosts) -> None:
    for id_ in "abc":
        judge_refusal(REFUSED, account(id_, "other.example.com"), hosts, FRESH)
    assert judged(hosts, "a") is REFUSED


@pytest.mark.parametrize("error", [MaildropBusy("x"), ConnectionLost("x")])
def test_only_refused_credentials_are_judged_and_counted(hosts: MemoryHosts, error: IngestError) -> None:
    assert [judge_refusal(error, account(id_), hosts, FRESH) for id_ in "abcd"] == [error] * 4
    assert hosts.refusals == {}


def test_an_account_whose_breaker_is_open_stays_at_fault(hosts: MemoryHosts) -> None:
    for id_ in "abcd":
        judged(hosts, id_)
    assert judged(hosts, "a", AccountState(failing_since=1.0)) is REFUSED


def test_where_nobody_can_count_the_account_is_at_fault() -> None:
    class Down(MemoryHosts):
        def refused(self, place: Place, account_id: str) -> int:
            raise StateUnavailable("down")

    assert judged(Down(OwnClock()), "a") is REFUSED


# How often a refused secret is tried


@dataclass
class Story:
    """Of an account that is never let in: when it logged in and when it was said to be failing, in seconds."""

    logins: list[float] = field(default_factory=list)
    failing: list[float] = field(default_factory=list)

    def within(self, start_s: float, end_s: float) -> int:
        return len([at for at in self.logins if start_s <= at < end_s])


def stories(hosts: MemoryHosts, clock: OwnClock, *, days: int, mark: str | None, accounts: int) -> list[Story]:
    """Poll accounts of one host whenever they are due."""
    start = clock.monotonic()
    states = {str(n): FRESH for n in range(accounts)}
    due = {id_: start + n for n, id_ in enumerate(states)}
    told = {id_: Story() for id_ in states}
    while (now := min(due.values())) < start + days * DAY_S:
        id_ = min(due, key=lambda each: due[each])
        clock.time = datetime.fromtimestamp(now, UTC)
        state = states[id_]
        if login_waits(state, mark, now=now):
            report = PollReport(id_, Outcome.WAITING)
        else:
            told[id_].logins.append(now - start)
            report = PollReport(id_, Outcome.FAILED, failure=Failure.of(judged(hosts, id_, state)))
            state = remember_refused(state, mark)
        following = next_poll(account(id_), state, report, Cadence(), now=now, chance=random.random())
        told[id_].failing += [now - start] if following.failing else []
        states[id_], due[id_] = following.state, now + following.due_in_s
    return list(told.values())


@pytest.mark.parametrize("mark", [None, "m"])
@pytest.mark.parametrize("accounts", [1, 2, 3, 4, 20])
def test_a_refused_password_is_tried_eight_times_in_its_first_day_at_most_and_then_once_a_day(
    hosts: MemoryHosts, clock: OwnClock, accounts: int, mark: str | None
) -> None:
    for story in stories(hosts, clock, days=9, mark=mark, accounts=accounts):
        assert len(story.failing) == 1
        assert story.within(0, DAY_S) <= 8
        assert story.within(DAY_S, 9 * DAY_S) <= 9  # a wait is up to a tenth shorter than it says


def test_a_host_may_refuse_everybody_for_four_hours_before_accounts_are_said_to_be_failing(
    hosts: MemoryHosts, clock: OwnClock
) -> None:
    for story in stories(hosts, clock, days=1, mark=None, accounts=20):
        assert min(story.failing) > 4 * 3600
        assert story.within(0, 4 * 3600) >= 5  # and is noticed to be back


def test_two_wrong_passwords_at_one_host_are_known_for_that_within_minutes(hosts: MemoryHosts, clock: OwnClock) -> None:
    for story in stories(hosts, clock, days=1, mark=None, accounts=2):
        assert max(story.failing) < 300


# The same secret, or another one


NOW = 1_800_000_000.0
OPEN = AccountState(failures=5, refusals=2, failing_since=NOW, refused_mark="m", login_after=NOW + 100, laid_to_host=1)


def test_a_refused_secret_waits_until_its_time() -> None:
    assert login_waits(OPEN, "m", now=NOW + 99)
    assert not login_waits(OPEN, "m", now=NOW + 100)


def test_another_secret_waits_for_nothing() -> None:
    assert not login_waits(OPEN, "other", now=NOW)


def test_nothing_waits_where_nothing_tells_secrets_apart() -> None:
    assert not login_waits(OPEN, None, now=NOW)
    assert not login_waits(replace(OPEN, refused_mark=None), None, now=NOW)
    assert not login_waits(replace(OPEN, login_after=None), "m", now=NOW)
    assert not login_waits(FRESH, "m", now=NOW)


def test_another_secret_that_is_refused_counts_anew() -> None:
    assert remember_refused(OPEN, "other") == AccountState(failing_since=NOW, refused_mark="other")


@pytest.mark.parametrize(("before", "mark"), [("m", "m"), (None, "m"), ("m", None)])
def test_the_same_secret_and_one_that_nobody_can_tell_count_on(before: str | None, mark: str | None) -> None:
    state = remember_refused(replace(OPEN, refused_mark=before), mark)
    assert (state.failures, state.refusals, state.laid_to_host) == (5, 2, 1)
    assert (state.refused_mark, state.login_after) == (mark, None)


def test_a_clock_that_was_set_back_holds_up_no_login() -> None:
    state = AccountState(refused_mark="m", last_poll=10 * DAY_S, login_after=11 * DAY_S)
    assert login_waits(state, "m", now=10.5 * DAY_S)
    assert not login_waits(state, "m", now=2 * DAY_S)
