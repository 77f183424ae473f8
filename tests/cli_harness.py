"""The command line over services in memory: what a command prints, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from click.testing import CliRunner, Result

from ingest.adapters.memory_events import MemoryEvents
from ingest.adapters.memory_state import MemoryAccounts, MemoryLedger, MemorySchedule, MemoryState
from ingest.cli.main import mailsluice
from ingest.errors import IngestError
from ingest.models import Account, AccountCheck, Capabilities, Outcome, PollReport, UidlForm, Uidls
from ingest.settings import Settings
from ingest.wiring import Services, build

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Noon:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@dataclass
class ScriptedPoller:
    """Answers with what was prepared, and counts who was polled."""

    reports: dict[str, PollReport] = field(default_factory=dict)
    refusal: IngestError | None = None
    polled: list[str] = field(default_factory=list)

    def poll(self, account: Account, on_message: Callable[[int, int, int], None] = lambda *_: None) -> PollReport:
        self.polled.append(account.id)
        on_message(1, 1, 10)
        return self.reports.get(account.id, PollReport(account.id, Outcome.DONE, listed=1))

    def check(self, account: Account) -> AccountCheck:
        if self.refusal is not None:
            raise self.refusal
        return AccountCheck(
            host=account.host,
            port=account.port,
            tls=account.tls,
            tls_version="TLSv1.3",
            certificate_not_after=datetime(2027, 1, 31, tzinfo=UTC),
            certificate_sha256="sha256:" + "ab" * 32,
            greeting="ready",
            apop=False,
            capabilities=Capabilities(known=True, names=frozenset({"UIDL", "PIPELINING"}), login_delay_s=60),
            capabilities_after_login=None,
            messages=3,
            octets=4096,
            complete=True,
            uidls=Uidls(UidlForm.OPAQUE, "0000000163a1"),
            largest_bytes=2048,
            too_large=0,
            login_s=0.04,
            round_trip_s=0.02,
        )


@dataclass
class Harness:
    """One installation, and a terminal at it."""

    services: Services
    state: MemoryState
    poller: ScriptedPoller

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str | None = None) -> Result:
        return CliRunner().invoke(mailsluice, list(arguments), obj=lambda: self.services, env=env, input=stdin)

    def add(self, *accounts: Account) -> None:
        self.services.registry.put(accounts)
        self.services.schedule.add(account.id for account in accounts if not account.paused)


def harness(settings: Settings | None = None) -> Harness:
    state, poller = MemoryState(Noon()), ScriptedPoller()
    services = build(settings or Settings())
    services.__dict__ |= {
        "clock": Noon(),
        "registry": MemoryAccounts(state),
        "schedule": MemorySchedule(state, claim_ttl_s=120),
        "ledger": MemoryLedger(state),
        "events": MemoryEvents(state),
        "poller": poller,
        "checker": poller,
    }
    return Harness(services, state, poller)


def account(account_id: str, **other: object) -> Account:
    given = {"host": "pop.example.com", "port": 995, "username": f"{account_id}@example.com", "password": "env:PW"}
    return Account(id=account_id, **(given | other))  # type: ignore[arg-type]
