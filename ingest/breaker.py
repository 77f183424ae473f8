"""Refused logins: whose fault they are, and when a refused secret may be tried again.

Rules of this room:
- Every try with a refused secret may lock its account out, so tries are few: at most 8 in the first day, then one a
  day, also where the host seems to be at fault.
- A secret is never kept, only a mark of it, made under a key that Redis does not hold. Without that key there is no
  mark, and time alone says when to try again.
- Many accounts of one host refused, with no good login in between, is the host's fault; but only while the account was
  refused so five times without a good login between, at growing distances. Then its password is wrong, too, or the
  host has been broken for five hours.
"""

from __future__ import annotations

from dataclasses import replace

from ingest.errors import CredentialsRejected, IngestError, LoginsRefused
from ingest.models import Account, AccountState
from ingest.ports import Hosts

ACCOUNTS_AT_ONCE = 3
MOST_LAID_TO_HOST = 5


def judge_refusal(error: IngestError, account: Account, hosts: Hosts, state: AccountState) -> IngestError:
    """What to raise for a failed login: LoginsRefused in place of CredentialsRejected where the host is at fault.

    Args:
        error: what the login raised; anything but CredentialsRejected comes back as it is.
        account: whose login.
        hosts: counts the refused accounts of the place. Where it fails, the account is at fault.
        state: what earlier polls of the account remember.
    """
    if not isinstance(error, CredentialsRejected):
        return error
    try:
        accounts = hosts.refused(account.place, account.id)
    except IngestError:
        return error  # giving back the lease will tell what is wrong with the state
    if accounts < ACCOUNTS_AT_ONCE or state.failing_since is not None or state.laid_to_host >= MOST_LAID_TO_HOST:
        return error
    _, _, words = error.what.partition(": ")
    what = f"{account.host} refuses the logins of {accounts} accounts at once: {words or error.what}"
    return LoginsRefused(what, after_s=error.after_s)


def remember_refused(state: AccountState, mark: str | None) -> AccountState:
    """The state of an account whose login with the secret of this mark was just refused, before it is scheduled.

    Another secret than the one refused before starts counting anew. Without a mark, nobody knows.
    """
    if mark is not None and state.refused_mark not in {None, mark}:
        state = replace(state, failures=0, refusals=0, laid_to_host=0)
    return replace(state, refused_mark=mark, login_after=None)


def login_waits(state: AccountState, mark: str | None, *, now: float) -> bool:
    """Whether the secret of this mark was refused and is not to be tried yet.

    Args:
        state: of the account, as the lease came with it.
        mark: of the secret as it is now.
        now: by the clock of the state, in seconds since the epoch. If it was set back, nothing waits for it.
    """
    if mark is None or mark != state.refused_mark or state.login_after is None:
        return False
    return (state.last_poll or 0.0) <= now < state.login_after
