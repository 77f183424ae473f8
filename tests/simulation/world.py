"""One world: what a plan becomes when it runs. First with faults, then quiet, until nothing changes any more.

What is promised nowhere, and so does not happen here (see also `faults.EXCLUDED`):
- A UIDL is given to other content only after a poll that came to its QUIT saw a complete listing without it, or was
  told that it deleted its message; and while no poll of the account is under way, which could still record the old one.
  Behind a record that covers it the new message is never looked at.
- A UIDL is given to a second message only while each of its records belongs to a message that is there, and no other
  client deletes one of the two before both have their records: behind one record the other would not be looked at.
- Renumbering gives UIDLs that were never used. One that swaps UIDLs is the first case.
- Stores rewrite the Status field of mail whose content is read. What is too large is known by UIDL and size, where
  there are neither UIDLs nor TOP by size alone: no two of one size are delivered.
- A failover loses what was not settled (WAIT) since; the simulated `settle` has a replica to wait for.
"""

from __future__ import annotations

import random
from collections import deque
from functools import partial
from random import Random

from house import InProcess

from ingest.adapters.memory_hosts import MemoryHosts
from ingest.adapters.memory_state import MemoryLease, MemoryLedger, MemorySchedule, MemoryState
from ingest.adapters.memory_store import MemoryStore
from ingest.adapters.spool import Spools
from ingest.errors import MessageUnprocessable
from ingest.mime.limits import MimeLimits
from ingest.models import Account, Failure, Outcome, PollReport, Secret
from ingest.pipeline import Pipeline, Read
from ingest.poll import Poller
from ingest.pop3.session import SessionLimits
from ingest.ports import Spool
from ingest.schedule import Cadence
from ingest.visit import VisitLimits
from simulation.baton import Actor, Baton, Halt, Killed, SimulatedClock
from simulation.faults import Faults
from simulation.invariants import Book
from simulation.mail import Maildrop
from simulation.plan import FULL_LISTING_S, GRACE_S, KEEP_AGE_S, LEASE_TTL_S, MAX_MESSAGE_BYTES, Plan
from simulation.server import SimulatedDialer, SimulatedStream
from simulation.state import SimulatedLease, SimulatedLedger, SimulatedSteps, SimulatedStore, Snapshot, Way, restore
from simulation.weather import Weather

MOST_STEPS = 4000  # of one poll: more is taken for a poll without an end
_CLAIM_TTL_S = 120.0
_MOST_ROUNDS = 40
_HISTORY = 5


class World:
    """One simulated installation.

    Args:
        plan: what to build and run.
        trace: whether to keep every step for a person to read.
    """

    def __init__(self, plan: Plan, *, trace: bool = False) -> None:
        self.plan = plan
        self.rng = Random(f"{plan.seed}:world")
        self.faults = Faults(plan.seed, plan.faults)
        self.clock = SimulatedClock()
        self.state = MemoryState(self.clock)
        self.store = MemoryStore()
        self.drops: dict[str, Maildrop] = {drop.account_id: drop for drop in plan.drops}
        self.streams: list[SimulatedStream] = []
        self.workers = [Actor(f"w{number}") for number in range(plan.workers)]
        self.history: deque[Snapshot] | None = deque(maxlen=_HISTORY) if "failover" in plan.faults else None
        self.book = Book(self)
        self.violation = ""
        self.polls = 0
        self.steps = 0
        self.state_down_until = self.store_down_until = 0.0
        self.trace: list[tuple[float, str, str, object]] | None = [] if trace else None
        self._baton = Baton(self.clock, self.rng, stay=plan.stay)
        self._weather = Weather(self)
        self._left = plan.polls
        self.hosts = MemoryHosts(self.clock)
        self._schedule = MemorySchedule(self.state, claim_ttl_s=_CLAIM_TTL_S)

    def run(self) -> None:
        """From the first delivery to the last check; `violation` says what was wrong, "" if nothing was."""
        random.seed(self.plan.seed)  # the product's jitter
        try:
            for drop in self.drops.values():
                for _ in range(self.rng.randint(0, 5)):
                    self._weather.deliver(drop)
            self._schedule.add(self.drops)
            self._baton.run([(actor, partial(self._work, actor)) for actor in self.workers])
            if not self.violation:
                self._become_quiet()
                self._settle()
                self.book.closes()
        except Halt:
            if not self.violation:
                raise

    # What actors call

    def step(self, actor: Actor, what: str, detail: object) -> None:
        """Before each touch of the outside: time passes, things happen, others get their turn."""
        if self._baton.halted:
            raise Halt
        if actor.dead:
            raise Killed
        self.steps += 1
        actor.steps += 1
        if actor.steps > MOST_STEPS:
            self.violate(f"the poll of {actor.polling} by {actor.name} does not end")
        if self.trace is not None:
            self.note(actor.name, what, detail)
        if not self.faults.over:
            self.clock.seconds += self.rng.random() * self.plan.creep_s
            self._weather.at_step(actor)
            if actor.dead:
                raise Killed
        else:
            self.clock.seconds += 0.001
        self._baton.step(actor)

    def sleep(self, actor: Actor, seconds: float) -> None:
        """Let time pass for this one."""
        actor.wake_at = self.clock.seconds + seconds
        self.step(actor, "sleep", seconds)

    def kill(self, actor: Actor) -> None:
        """As kill -9: its connections go, and whatever it would still do has no effect."""
        for stream in self.streams:
            if stream.actor is actor:
                stream.close()
        actor.dead = True

    def fails_over(self) -> bool:
        """A replica takes over that lacks the last few writes; False if it lacks none."""
        if not self.history:
            return False
        restore(self.state, self.history[-self.rng.randint(1, len(self.history))])
        self.history.clear()
        self.book.lost_writes()
        return True

    def violate(self, what: str) -> None:
        """Something that must never be: the end of this world."""
        self.violation = self.violation or f"{what} (at {self.clock.seconds:.1f} s, step {self.steps})"
        self._baton.halted = True
        raise Halt

    def note(self, who: str, what: str, detail: object) -> None:
        """A line of the trace."""
        if self.trace is not None:
            self.trace.append((self.clock.seconds, who, what, detail))

    # Workers

    def _work(self, actor: Actor) -> None:
        poller = self._poller(actor)
        while self._left > 0:
            self._left -= 1
            account = self.rng.choice(self.plan.accounts)
            claimed = self.rng.random() < 0.3 and account.id in self._schedule.claim(9)
            actor.draining = self.faults.strikes("drained")
            try:
                self._poll(poller, actor, account, claimed=claimed)
                self.sleep(actor, self.rng.choice([1.0, 30.0, 400.0, 4000.0]) * self.rng.random())
            except Killed:
                actor.dead, actor.polling = False, ""
                poller = self._poller(actor)  # a new process
                actor.wake_at = self.clock.seconds + 1

    def _poll(self, poller: Poller, actor: Actor, account: Account, *, claimed: bool = False) -> PollReport:
        self.polls += 1
        actor.poll, actor.steps, actor.polling = self.polls, 0, account.id
        if self.trace is not None:
            self.note(actor.name, "poll", f"{self.polls} of {account.id}")
        try:
            report = poller.poll(account, claimed=claimed)
        except Exception as error:  # whatever it is, it must not come out of a poll
            self.violate(f"a poll raised {type(error).__name__}: {error}")
            raise
        actor.polling = ""
        self.book.reported(report)
        self._frees(actor, account, report)
        if self.trace is not None:
            self.note(actor.name, "report", _figures(report))
        return report

    def _frees(self, actor: Actor, account: Account, report: PollReport) -> None:
        """Which UIDLs the poller has learnt to be without a message."""
        stream = next((stream for stream in reversed(self.streams) if stream.actor is actor), None)
        if report.outcome is not Outcome.DONE or stream is None or not stream.quitted:
            return
        drop = self.drops[account.id]
        if stream.complete:
            drop.free |= {uidl for mail in drop.all for uidl in mail.uidls} - stream.shown
        if report.deleted and report.deleted == len(stream.removed):
            drop.free |= stream.removed

    def _poller(self, actor: Actor) -> Poller:
        way, steps = Way(self, actor), SimulatedSteps(self, actor, seconds=self.plan.step_patience_s)
        spools = Spools(None, 1 << 20)
        pipeline = PoisonedPipeline(
            store=SimulatedStore(self, actor),
            spools=spools,
            clock=self.clock,
            mime_limits=MimeLimits(),
            event_max_bytes=1 << 20,
            steps=steps,
        )
        pipeline.book = self.book
        return Poller(
            dialer=SimulatedDialer(self, actor),
            credentials=_OnePassword(),
            hosts=self.hosts,
            spools=spools,
            pipeline=pipeline,
            isolation=InProcess(pipeline),
            lease=SimulatedLease(way, MemoryLease(self.state, ttl_s=LEASE_TTL_S, claim_ttl_s=_CLAIM_TTL_S)),
            ledger=SimulatedLedger(self, way, MemoryLedger(self.state)),
            clock=self.clock,
            telemetry=_NoTelemetry(),
            steps=steps,
            session_limits=SessionLimits(),
            visit_limits=VisitLimits(
                max_message_bytes=MAX_MESSAGE_BYTES,
                max_messages=self.plan.max_messages,
                delete_grace_s=GRACE_S,
                glance_from=1,
                full_listing_s=FULL_LISTING_S,
            ),
            cadence=Cadence(),
            lease_ttl_s=LEASE_TTL_S,
            draining=lambda: actor.draining,
        )

    # The quiet end

    def _become_quiet(self) -> None:
        self.faults.over = True
        self.state_down_until = self.store_down_until = 0.0
        self.state.stream_max_bytes = 1 << 30
        for stream in self.streams:
            stream.close()

    def _settle(self) -> None:
        """Poll without faults, time moving on past all graces, until two rounds find nothing to do."""
        actor = Actor("quiet")
        poller = self._poller(actor)
        reports: list[PollReport] = []
        calm, named = 0, "without_uidl" not in self.faults.names
        for _ in range(_MOST_ROUNDS):
            self.clock.seconds += KEEP_AGE_S + GRACE_S + 120
            before = [len(drop.mails) for drop in self.drops.values()]
            reports = [self._poll(poller, actor, account) for account in self.plan.accounts]
            idle = all(
                report.outcome is Outcome.DONE and not (report.committed or report.more or (named and report.new))
                for report in reports
            )
            calm = calm + 1 if idle and before == [len(drop.mails) for drop in self.drops.values()] else 0
            if calm > (1 if named else 3):  # without UIDLs all is new at each poll, and may count towards quarantine
                return
        self.violate(f"after {_MOST_ROUNDS} quiet rounds there is still something to do: {reports}")


def _figures(report: PollReport) -> str:
    names = ("listed", "new", "messages", "events", "skipped", "quarantined", "deleted", "committed")
    figures = " ".join(f"{name}={getattr(report, name)}" for name in names if getattr(report, name))
    failure = "" if report.failure is None else f" {report.failure.code}: {report.failure.what}"
    return f"{report.outcome}{' more' if report.more else ''} {figures}{failure}"


class PoisonedPipeline(Pipeline):
    """The real pipeline, in which some messages bring out a bug."""

    book: Book

    def read(self, spool: Spool) -> Read:
        if self.book.fails_to_parse(bytes(spool.buffer)):
            raise MessageUnprocessable("the message can't be parsed: PoisonError")
        return super().read(spool)


class _OnePassword:
    def of(self, account: Account) -> Secret:
        return Secret("pw")

    def mark(self, account: Account, secret: Secret) -> str | None:
        return None

    def renewed(self, account: Account, refused: Secret) -> Secret | None:
        return None


class _NoTelemetry:
    def poll_finished(self, report: PollReport) -> None:
        pass

    def message_failed(self, account_id: str, code: str, detail: str) -> None:
        pass

    def ticked(self, claimed: int, batches: int) -> None:
        pass

    def step_failed(self, step: str, failure: Failure) -> None:
        pass
