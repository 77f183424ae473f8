"""A whole house over memory and the simulator: real sockets, real POP3, a clock that the test moves."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from ingest.adapters.credentials import AccountCredentials
from ingest.adapters.memory_events import MemoryEvents
from ingest.adapters.memory_hosts import MemoryHosts
from ingest.adapters.memory_state import (
    MemoryAccounts,
    MemoryLease,
    MemoryLedger,
    MemoryRefusals,
    MemorySchedule,
    MemoryState,
)
from ingest.adapters.memory_store import MemoryStore
from ingest.adapters.secrets import SecretStore
from ingest.adapters.spool import Spools
from ingest.adapters.tcp import TcpDialer
from ingest.adapters.tokens import Tokens
from ingest.isolation import Isolation
from ingest.mime.limits import MimeLimits
from ingest.models import Account, Failure, MessageRef, PollReport, Tls
from ingest.pipeline import Pipeline, Processed
from ingest.poll import Poller
from ingest.pop3.session import SessionLimits
from ingest.ports import Clock, Dialer, Spool
from ingest.quarantine import Quarantine
from ingest.rawmail import RawMail
from ingest.replay import Replayer, ReplayReport, Wanted
from ingest.retry import Steps
from ingest.scanning import Scanning
from ingest.schedule import Cadence
from ingest.simulator.behaviour import Behaviour
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.server import Simulator
from ingest.visit import VisitLimits

PASSWORD = "correct horse"


class MovableClock:
    """Runs with the system's clock, ahead of it by what the test added."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return self.now().timestamp()

    def forward(self, **by: float) -> None:
        self.ahead += timedelta(**by)


class Silent:
    """Telemetry that keeps what it is told."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def poll_finished(self, report: PollReport) -> None:
        pass

    def message_failed(self, account_id: str, code: str, detail: str) -> None:
        self.failed.append(code)

    def ticked(self, claimed: int, batches: int) -> None:
        pass

    def step_failed(self, step: str, failure: Failure) -> None:
        self.failed.append(failure.code)


@dataclass(frozen=True)
class InProcess:
    """Isolation that isolates nothing: for messages that only pretend to be dangerous."""

    pipeline: Pipeline

    def process(
        self, account: Account, ref: MessageRef, spool: Spool, *, first_seen: datetime, beat: Callable[[], None]
    ) -> Processed:
        read = self.pipeline.read(spool)
        return self.pipeline.process(account, ref, spool, read, first_seen=first_seen, beat=beat)


def _no_tokens(grant: object) -> NoReturn:
    raise AssertionError("nobody logs in by token here")


def passwords(clock: Clock, secret_key: str | None = None) -> AccountCredentials:
    """The credentials of accounts that have a password."""
    return AccountCredentials(SecretStore(secret_key), Tokens(_no_tokens, clock))


def mail(subject: str, body: str = "text\r\n", *, received: str | None = None) -> bytes:
    """A small message; its subject makes it one of its kind."""
    trace = f"Received: from a by b; {received}\r\n" if received else ""
    return f"{trace}From: a@example.com\r\nTo: b@example.com\r\nSubject: {subject}\r\n\r\n{body}".encode()


@dataclass
class House:
    """One maildrop, one account, everything between them."""

    maildrop: Maildrop
    server: Simulator
    spool_dir: Path
    clock: MovableClock = field(default_factory=MovableClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    telemetry: Silent = field(default_factory=Silent)
    draining: bool = False
    refused: list[str] = field(default_factory=list)
    lease_ttl_s: float = 60
    dialer: Dialer = field(default_factory=lambda: TcpDialer(allowed_networks=["127.0.0.0/8"]))
    session_limits: SessionLimits = field(default_factory=lambda: SessionLimits(read_timeout_s=5, login_guard_s=0.3))
    secret_key: str | None = None

    def __post_init__(self) -> None:
        self.state = MemoryState(self.clock)
        self.lease = MemoryLease(self.state, ttl_s=self.lease_ttl_s, claim_ttl_s=120)
        self.ledger = MemoryLedger(self.state)
        self.hosts = MemoryHosts(self.clock)
        self.refusals = MemoryRefusals(self.state)
        self.schedule = MemorySchedule(self.state, claim_ttl_s=120)
        self.registry = MemoryAccounts(self.state)
        self.account = Account("a", "127.0.0.1", self.server.port, "u", "env:HOUSE_PASSWORD", tls=Tls.NONE)
        self.schedule.add(["a"])
        self.registry.put([self.account])

    def poller(
        self,
        pipeline: Pipeline | None = None,
        *,
        isolation: Isolation | None = None,
        read_timeout_s: float | None = None,
        **limits: float,
    ) -> Poller:
        spools = Spools(self.spool_dir)
        steps = Steps(0.0)
        pipeline = pipeline or self.pipeline()
        return Poller(
            dialer=self.dialer,
            credentials=passwords(self.clock, self.secret_key),
            hosts=self.hosts,
            spools=spools,
            pipeline=pipeline,
            isolation=isolation or InProcess(pipeline),
            lease=self.lease,
            ledger=self.ledger,
            clock=self.clock,
            telemetry=self.telemetry,
            steps=steps,
            session_limits=replace(
                self.session_limits, **({"read_timeout_s": read_timeout_s} if read_timeout_s else {})
            ),
            visit_limits=VisitLimits(**limits),
            cadence=Cadence(jitter=0),
            lease_ttl_s=self.lease_ttl_s,
            draining=lambda: self.draining,
        )

    def quarantine(self, pipeline: Pipeline | None = None, *, max_message_bytes: int = 50 << 20) -> Quarantine:
        return Quarantine(
            refusals=self.refusals,
            registry=self.registry,
            schedule=self.schedule,
            lease=self.lease,
            ledger=self.ledger,
            store=self.store,
            raw=RawMail(store=self.store, spools=Spools(self.spool_dir), steps=Steps(0.0)),
            isolation=InProcess(pipeline or self.pipeline()),
            clock=self.clock,
            steps=Steps(0.0),
            lease_ttl_s=self.lease_ttl_s,
            max_message_bytes=max_message_bytes,
        )

    def pipeline(self, scanning: Scanning | None = None) -> Pipeline:
        return Pipeline(
            store=self.store,
            spools=Spools(self.spool_dir),
            clock=self.clock,
            mime_limits=MimeLimits(),
            event_max_bytes=1 << 20,
            steps=Steps(0.0),
            scanning=scanning,
        )

    def replayer(self, pipeline: Pipeline | None = None, *, isolation: Isolation | None = None) -> Replayer:
        pipeline = pipeline or self.pipeline()
        return Replayer(
            raw=RawMail(store=self.store, spools=Spools(self.spool_dir), steps=Steps(0.0)),
            pipeline=pipeline,
            isolation=isolation or InProcess(pipeline),
            lease=self.lease,
            ledger=self.ledger,
            schedule=self.schedule,
            events=MemoryEvents(self.state),
            registry=self.registry,
            clock=self.clock,
            telemetry=self.telemetry,
            steps=Steps(0.0),
            lease_ttl_s=self.lease_ttl_s,
        )

    def replay(
        self,
        replayer: Replayer | None = None,
        **wanted: Any,  # noqa: ANN401  # as Wanted takes them
    ) -> list[ReplayReport]:
        """Replay to the end; what could not be told of is in `refused`."""
        made = replayer or self.replayer()
        return list(made.replay(Wanted(**wanted), on_refused=lambda _, why: self.refused.append(why.what)))

    def lose_redis(self) -> None:
        """Redis is new: registry, schedule, ledger, state and stream are gone. The account is applied again."""
        state = self.state
        for held in (state.ledgers, state.leases, state.due, state.states, state.suspects, state.in_hand):
            held.clear()
        state.refusals.clear()
        state.claimed.clear()
        state.events.clear()
        self.schedule.add(["a"])

    def poll(
        self,
        poller: Poller | None = None,
        *,
        account: Mapping[str, Any] | None = None,
        claimed: bool = False,
        **limits: float,
    ) -> PollReport:
        """One poll; the server has noticed before it that the last session is over, and so frees the maildrop.

        A claimed one is due by then, and a tick has claimed it.
        """
        self.account = replace(self.account, **(account or {}))
        assert self.server.wait_idle(5)
        if claimed:
            assert self.schedule.claim(1) == ["a"]
        return (poller or self.poller(**limits)).poll(self.account, claimed=claimed)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(event.json) for event in self.state.events]

    def subjects(self, kind: str = "received") -> list[str | None]:
        return [event["data"]["subject"] for event in self.events() if f".{kind}." in event["type"]]


@contextmanager
def house(*messages: bytes, behaviour: Behaviour | None = None) -> Iterator[House]:
    """A house around a maildrop with these messages; HOUSE_PASSWORD must be set (see the fixture `password`)."""
    maildrop = Maildrop(messages)
    with (
        tempfile.TemporaryDirectory() as spool_dir,
        Simulator({"u": (PASSWORD, maildrop)}, behaviour=behaviour or Behaviour()) as server,
    ):
        yield House(maildrop, server, Path(spool_dir))
