"""How things went."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ingest.errors import Fault, IngestError, Retry


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a value: its answers, and its line for a person."""

    code: str
    fault: Fault
    retry: Retry
    what: str
    todo: str = ""
    after_s: float | None = None

    @classmethod
    def of(cls, error: IngestError) -> Failure:
        return cls(error.code, error.fault, error.retry, error.what, error.todo, error.after_s)

    def line(self, whom: str) -> str:
        return f"{whom}: {self.what}" + (f" ({self.todo})" if self.todo else "")


class Outcome(enum.StrEnum):
    """How a poll ended.

    BUSY: another poller holds the lease, or took the claim that a late task was for; no failure. DRAINED: asked to
    stop. WAITING: the server refused the secret, it is still the same, and it is not time to try it again, so the
    server was left alone; only of polls that a claim began.
    """

    DONE = "done"
    BUSY = "busy"
    PAUSED = "paused"
    UNKNOWN = "unknown"
    DRAINED = "drained"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PollReport:
    """One poll in figures. `events` counts what entered the stream, `messages` what was retrieved in full.

    `committed` counts steps that wrote the ledger, `records` what it holds (None: it was not read). `undeleted`: what
    the server kept although we deleted it, or may have kept. `more`: something new is left for the next poll.
    `login_delay_s`: what the server wants between logins (LOGIN-DELAY, RFC 2449).
    """

    account: str
    outcome: Outcome
    listed: int = 0
    new: int = 0
    messages: int = 0
    events: int = 0
    skipped: int = 0
    quarantined: int = 0
    deleted: int = 0
    undeleted: int = 0
    attachments: int = 0
    bytes: int = 0
    seconds: float = 0.0
    flights: int = 0
    committed: int = 0
    records: int | None = None
    more: bool = False
    login_delay_s: int | None = None
    next_due_s: float | None = None
    failure: Failure | None = None
