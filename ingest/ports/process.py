"""What a process is given: time, secrets, a place for its figures, a queue for its polls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ingest.models import Account, Failure, PollReport, Secret


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class Secrets(Protocol):
    """Fetches passwords inside the poll."""

    def resolve(self, reference: str) -> Secret:
        """The secret behind `env:`, `file:` or `sealed:`; SecretUnavailable."""
        ...

    def seal(self, literal: str) -> str:
        """A `sealed:` reference for a literal, encrypted under our key; ConfigurationError without one."""
        ...

    def mark(self, account_id: str, secret: Secret) -> str | None:
        """What tells this secret of this account from others, and nothing else to whom lacks our key; None without one.

        16 hex digits.
        """
        ...


class Credentials(Protocol):
    """What accounts log in with: their password, or an access token."""

    def of(self, account: Account) -> Secret:
        """Fetched now, or kept until it expires.

        SecretUnavailable, AccountMisconfigured, TokenUnavailable; CredentialsRejected where the token endpoint refuses.
        """
        ...

    def renewed(self, account: Account, refused: Secret) -> Secret | None:
        """A fresh token in place of one that the server refused; None where none is to be had (it is a password)."""
        ...


class Dispatcher(Protocol):
    """Queues polls for the cluster."""

    def submit(self, account_ids: Sequence[str], *, expires_s: float) -> None:
        """Queue one batch; BrokerUnavailable."""
        ...

    def ping(self) -> None: ...

    def close(self) -> None: ...


class Telemetry(Protocol):
    """Where figures and log lines go. Never raises."""

    def poll_finished(self, report: PollReport) -> None: ...

    def message_failed(self, account_id: str, code: str, detail: str) -> None: ...

    def ticked(self, claimed: int, batches: int) -> None: ...

    def step_failed(self, step: str, failure: Failure) -> None:
        """Something outside any one poll failed: a tick, a batch."""
        ...
