"""The one place where settings become objects.

Rules of this room:
- `build` is cheap: each part is made at its first use, once a process, and closed by `close`.
- State is never trusted to a Redis that evicts: the first use of it checks, and refuses to go on.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from ingest.accounts import Changes
from ingest.adapters import confined
from ingest.adapters.child import ChildProcess
from ingest.adapters.clamd import ClamdScanner
from ingest.adapters.credentials import credentials_over
from ingest.adapters.embedded_redis import EmbeddedRedis
from ingest.adapters.secrets import SecretStore
from ingest.adapters.sinks.claim_check import ClaimCheckSink
from ingest.adapters.spool import Spools
from ingest.adapters.stores import open_store
from ingest.adapters.tcp import TcpDialer
from ingest.applying import apply_accounts, read_accounts
from ingest.check import Checker
from ingest.dispatch import BatchRunner, Ticker, TickLimits
from ingest.errors import ConfigurationError
from ingest.finding import Finder
from ingest.hands import Crew
from ingest.isolation import Isolation
from ingest.news import Pruning
from ingest.once import once
from ingest.pipeline import Pipeline
from ingest.poll import Poller
from ingest.pop3.session import SessionLimits
from ingest.ports import Credentials, Dispatcher, EventSink, Names, ObjectStore, Scanner, Secrets, SpoolFactory
from ingest.quarantine import Quarantine
from ingest.rawmail import RawMail
from ingest.relay import Relay, RelayLimits
from ingest.replay import Replayer
from ingest.retry import Steps
from ingest.scanning import Scanning
from ingest.schedule import Cadence
from ingest.settings import Settings
from ingest.visit import VisitLimits
from ingest.wiring.sinks import open_sink
from ingest.wiring.state import StateServices

DISPATCHERS = "mailsluice.dispatcher"
# What a process for one message alone is told: enough for store, scanner and pipeline, and no secret.
_ISOLATED = {
    "storage_url",
    "store_connect_timeout_s",
    "store_read_timeout_s",
    "s3_encryption",
    "s3_kms_key_id",
    "s3_storage_class",
    "s3_tags",
    "data_dir",
    "spool_memory_bytes",
    "mime",
    "event_max_bytes",
    "step_retry_s",
    "clamd_url",
    "clamd_timeout_s",
    "scan_infected",
    "scan_unavailable",
}


class Services(StateServices):
    """Everything a process works with. One instance a process; safe to share between threads."""

    @once
    def secrets(self) -> Secrets:
        key = self.settings.secret_key
        return SecretStore(key.get_secret_value() if key else None)

    @once
    def store(self) -> ObjectStore:
        store = open_store(self.settings)
        self._closing.append(store.close)
        return store

    @once
    def scanner(self) -> Scanner | None:
        """None where none is set."""
        url = self.settings.clamd_url
        return None if url is None else ClamdScanner(url, self.settings.clamd_timeout_s)

    @once
    def spools(self) -> SpoolFactory:
        return Spools(self.settings.data_dir / "spool", self.settings.spool_memory_bytes)

    @once
    def steps(self) -> Steps:
        return Steps(self.settings.step_retry_s)

    @once
    def pipeline(self) -> Pipeline:
        return Pipeline(
            store=self.store,
            spools=self.spools,
            clock=self.clock,
            mime_limits=self.settings.mime,
            event_max_bytes=self.settings.event_max_bytes,
            steps=self.steps,
            scanning=self.scanning,
            crew=self.crew,
        )

    @once
    def crew(self) -> Crew:
        settings = self.settings
        pool = ThreadPoolExecutor(settings.worker_threads * settings.uploads_at_once, "aside")
        self._closing.append(lambda: pool.shutdown(wait=False, cancel_futures=True))
        longest_s = max(settings.store_connect_timeout_s + settings.store_read_timeout_s, settings.clamd_timeout_s)
        return Crew(
            pool,
            at_once=settings.uploads_at_once,
            aside=settings.clamd_url is not None or not settings.require_storage().startswith("file:"),
            patience_s=60 + 4 * longest_s,  # a job says nothing during a few of them
        )

    @once
    def scanning(self) -> Scanning | None:
        settings = self.settings
        if self.scanner is None:
            return None
        return Scanning(
            self.scanner,
            steps=self.steps,
            quarantines=settings.scan_infected == "quarantine",
            waits=settings.scan_unavailable == "wait",
        )

    @once
    def isolation(self) -> Isolation:
        settings = self.settings
        return ChildProcess(
            settings=settings.model_dump(mode="json", include=_ISOLATED),
            memory_bytes=settings.suspect_memory_bytes,
            cpu_s=settings.suspect_cpu_s,
            deadline_s=settings.suspect_deadline_s,
            event_max_bytes=settings.event_max_bytes,
        )

    @once
    def credentials(self) -> Credentials:
        wait_s, deadline_s = self.settings.connect_timeout_s, self.settings.read_timeout_s
        return credentials_over(self.secrets, self.dialer, self.clock, connect_timeout_s=wait_s, deadline_s=deadline_s)

    @once
    def dialer(self) -> TcpDialer:
        settings = self.settings
        return TcpDialer(
            connect_timeout_s=settings.connect_timeout_s,
            ca_file=str(settings.ca_file) if settings.ca_file else None,
            allowed_networks=map(str, settings.allowed_networks),
        )

    @once
    def session_limits(self) -> SessionLimits:
        settings = self.settings
        return replace(settings.pop3, read_timeout_s=settings.read_timeout_s, deadline_s=settings.session_deadline_s)

    @once
    def checker(self) -> Checker:
        return Checker(
            dialer=self.dialer,
            credentials=self.credentials,
            clock=self.clock,
            session_limits=self.session_limits,
            max_message_bytes=self.settings.max_message_bytes,
        )

    @once
    def names(self) -> Names:
        from ingest.adapters.dns import DnsNames  # noqa: PLC0415 - takes 0.1 s, and one command needs it

        return DnsNames(lifetime_s=self.settings.connect_timeout_s)

    @once
    def finder(self) -> Finder:
        return Finder(names=self.names, dialer=self.dialer, clock=self.clock, session_limits=self.session_limits)

    @once
    def poller(self) -> Poller:
        settings = self.settings
        return Poller(
            dialer=self.dialer,
            credentials=self.credentials,
            hosts=self.hosts,
            spools=self.spools,
            pipeline=self.pipeline,
            isolation=self.isolation,
            lease=self.lease,
            ledger=self.ledger,
            clock=self.clock,
            telemetry=self.telemetry,
            steps=self.steps,
            session_limits=self.session_limits,
            visit_limits=VisitLimits(
                full_listing_s=settings.full_listing_s,
                max_message_bytes=settings.max_message_bytes,
                max_messages=settings.poll_max_messages,
                max_bytes=settings.poll_max_bytes,
                max_s=settings.poll_max_s,
                delete_grace_s=settings.delete_grace_s,
                quarantine_attempts=settings.quarantine_attempts,
                pruning=Pruning(settings.prune_listings, settings.prune_apart_s),
            ),
            cadence=Cadence(max_interval_s=settings.max_poll_interval_s),
            lease_ttl_s=settings.lease_ttl_s,
            draining=self.drain.is_set,
        )

    @once
    def raw_mail(self) -> RawMail:
        return RawMail(store=self.store, spools=self.spools, steps=self.steps, crew=self.crew)

    @once
    def replayer(self) -> Replayer:
        return Replayer(
            raw=self.raw_mail,
            pipeline=self.pipeline,
            isolation=self.isolation,
            lease=self.lease,
            ledger=self.ledger,
            schedule=self.schedule,
            events=self.events,
            registry=self.registry,
            clock=self.clock,
            telemetry=self.telemetry,
            steps=self.steps,
            lease_ttl_s=self.settings.lease_ttl_s,
        )

    @once
    def sink(self) -> EventSink:
        sink = open_sink(self.settings, self.clock)
        if self.settings.storage_url is not None:
            sink = ClaimCheckSink(sink, lambda: self.store)
        self._closing.append(sink.close)
        return sink

    @once
    def relays(self) -> list[Relay]:
        """One a shard, for a thread each."""
        settings = self.settings
        limits = RelayLimits(
            batch=settings.relay_batch_events,
            window=max(1000, settings.relay_batch_events),
            max_wait_s=settings.relay_max_wait_s,
            give_up_s=settings.relay_give_up_s,
        )
        return [
            Relay(
                group=self.group(shard),
                turn=self.turn(shard),
                sink=self.sink,
                clock=self.clock,
                telemetry=self.telemetry,
                limits=limits,
                rest=self.drain.wait,
            )
            for shard in range(settings.shards)
        ]

    @once
    def quarantine(self) -> Quarantine:
        return Quarantine(
            refusals=self.refusals,
            registry=self.registry,
            schedule=self.schedule,
            lease=self.lease,
            ledger=self.ledger,
            store=self.store,
            raw=self.raw_mail,
            isolation=self.isolation,
            clock=self.clock,
            steps=self.steps,
            lease_ttl_s=self.settings.lease_ttl_s,
            max_message_bytes=self.settings.max_message_bytes,
        )

    @once
    def dispatcher(self) -> Dispatcher:
        found = list(importlib.metadata.entry_points(group=DISPATCHERS))
        if not found:
            raise ConfigurationError([f"no {DISPATCHERS} entry point is installed: install the package whole"])
        dispatcher: Dispatcher = found[0].load()(self.settings)
        self._closing.append(dispatcher.close)
        return dispatcher

    @once
    def ticker(self) -> Ticker:
        settings = self.settings
        return Ticker(
            schedule=self.schedule,
            events=self.events,
            dispatcher=self.dispatcher,
            telemetry=self.telemetry,
            limits=TickLimits(
                batch_accounts=settings.poll_batch_accounts,
                expires_s=settings.claim_ttl_s,
                stop_share=settings.dispatch_stop_share,
            ),
        )

    @once
    def batches(self) -> BatchRunner:
        return BatchRunner(
            registry=self.registry,
            schedule=self.schedule,
            poller=self.poller,
            clock=self.clock,
            telemetry=self.telemetry,
            budget_s=self.settings.poll_batch_budget_s,
            draining=self.drain.is_set,
        )

    @property
    def may_seal(self) -> bool:
        """Whether there is a key to encrypt literal passwords with."""
        return self.settings.secret_key is not None

    def apply_accounts_file(self, path: Path, *, prune: bool = False) -> Changes:
        """Bring the registry in line with an accounts file; ConfigurationError with every problem of it."""
        return apply_accounts(
            read_accounts(path),
            str(path),
            registry=self.registry,
            schedule=self.schedule,
            secrets=self.secrets,
            may_seal=self.may_seal,
            prune=prune,
        )


def build(settings: Settings, *, drain: threading.Event | None = None) -> Services:
    """The services of this process; nothing is connected yet. `drain` asks its polls to stop."""
    return Services(settings, drain or threading.Event())


def answer_isolated() -> NoReturn:
    """What the processes of `Services.isolation` do: one message, then the end of the process."""

    def make(settings: Mapping[str, Any]) -> tuple[Pipeline, SpoolFactory]:
        services = build(Settings(**settings))
        services.crew = Crew()  # no lease is kept there, and threads take much address space
        return services.pipeline, services.spools

    confined.answer(make)


def start_embedded_redis(directory: Path) -> EmbeddedRedis:
    """A Redis of our own for one machine, its data in this directory."""
    return EmbeddedRedis(directory)
