"""`mailsluice demo`: sample mail through the whole chain, on this machine, with what would run in production.

Rules of this room:
- Nothing is shown that did not happen: events come out of the stream, the attachment out of the store, figures out of
  reports. What does not arrive in time makes exit code 1, with the worker's last words.
- It uses and wipes one directory of its own, and no setting but MAILSLUICE_DATA_DIR.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ingest.cli.output import complain, console, size, table
from ingest.cli.services import quiet
from ingest.cli.stack import Stack, event_line, make_data_dir, own_store, stop_requests, use_environment
from ingest.errors import ConfigurationError
from ingest.models import Account, Outcome, PollReport, Tls
from ingest.settings import Settings
from ingest.simulator.maildrop import Maildrop
from ingest.simulator.samples import sample_maildrops
from ingest.simulator.server import Simulator
from ingest.wiring import Services, build, start_embedded_redis

DEADLINE_S = 60.0
_MARK = "made-by-mailsluice-demo"
_CHUNK_BYTES = 1 << 16
_LAST_LINES = 15

Event = dict[str, Any]


@click.command(short_help="Show sample mail become events.", epilog="Example: mailsluice demo")
def demo() -> None:
    """Show sample mail become events: Redis, object store, POP3 server, worker and beat, all on this machine.

    Ends by itself, with exit code 0 if every message arrived. Leaves its data in MAILSLUICE_DATA_DIR/demo.
    """
    started = time.monotonic()
    directory = _fresh(Settings.load().data_dir.absolute() / "demo")
    maildrops = sample_maildrops()
    passwords = {name: secrets.token_urlsafe(16) for name in maildrops}
    users = {name: (passwords[name], maildrop) for name, maildrop in maildrops.items()}
    with (
        stop_requests() as asked,
        Simulator(users) as server,
        closing(start_embedded_redis(directory / "redis")) as state,
    ):
        variables = {
            "MAILSLUICE_REDIS_URL": state.url,
            "MAILSLUICE_STORAGE_URL": own_store(directory),
            "MAILSLUICE_DATA_DIR": str(directory),
            "MAILSLUICE_ALLOWED_NETWORKS": '["127.0.0.0/8"]',
            "MAILSLUICE_TICK_S": "1",
            "MAILSLUICE_WORKER_THREADS": "4",
        }
        use_environment(variables | {f"DEMO_{name}".upper(): word for name, word in passwords.items()}, only=True)
        with closing(build(quiet(Settings.load()))) as services:
            accounts = [_account(name, server.port) for name in maildrops]
            services.registry.put(accounts)
            services.schedule.add(account.id for account in accounts)
            failed = _show(services, accounts, maildrops, directory, asked)
    for line in failed:
        complain(line)
    if failed:
        click.get_current_context().exit(1)
    console().print(f"\nDone in {time.monotonic() - started:.1f} s. Mail, attachments and logs lie in {directory}")


def _show(
    services: Services,
    accounts: list[Account],
    maildrops: Mapping[str, Maildrop],
    directory: Path,
    asked: threading.Event,
) -> list[str]:
    """The show itself; returns what went wrong."""
    waiting = {(name, uidl) for name, maildrop in maildrops.items() for uidl in maildrop.uidls()}
    console().print(
        Text(f"{len(waiting)} messages wait in {len(accounts)} maildrops of a POP3 server on port {accounts[0].port}.")
    )
    console().print("Starting worker and beat, as a cluster would: celery -A workers worker, celery -A workers beat\n")
    stack = Stack(directory)
    stack.start()
    try:
        arrived = _watch(services, stack, waiting, asked)
        if waiting:
            words = [f"  {child.name}: {line}" for child in stack.children for line in child.last_lines(_LAST_LINES)]
            return [f"{len(waiting)} messages did not arrive; the last log lines:", *words]
        again = [_poll_again(services, account) for account in accounts]
    finally:
        stack.stop()
    wrong = _read_back(services, arrived) + [
        report.failure.line(report.account)
        if report.failure
        else f"{report.account}: {report.outcome}, {report.new} new"
        for report in again
        if report.outcome is not Outcome.DONE or report.events or report.new
    ]
    if not wrong:
        listed = sum(report.listed for report in again)
        console().print(f"Polled all again: {listed} listed, 0 new, 0 events: each is known by now.\n")
    _summary(accounts, arrived)
    return wrong


def _watch(services: Services, stack: Stack, waiting: set[tuple[str, str]], asked: threading.Event) -> list[Event]:
    """Print events until all messages arrived, or the deadline, or the death of a child; empties `waiting`."""
    arrived: list[Event] = []
    deadline = time.monotonic() + DEADLINE_S
    for entry in services.events.tail(from_start=True, group=None, consumer="demo", timeout_s=DEADLINE_S):
        if entry is not None:
            console().print(event_line(entry))
            event: Event = json.loads(entry.event.json)
            arrived.append(event)
            waiting.discard((event["data"]["account"], event["data"].get("uidl")))
        if asked.is_set():
            raise KeyboardInterrupt
        if not waiting or time.monotonic() > deadline or (entry is None and stack.tend()):
            break
    return arrived


def _poll_again(services: Services, account: Account) -> PollReport:
    """Poll here and now, once the worker has let go of the account."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        report = services.poller.poll(account)
        if report.outcome is not Outcome.BUSY or time.monotonic() > deadline:
            return report
        time.sleep(0.1)


def _read_back(services: Services, arrived: list[Event]) -> list[str]:
    """Fetch the largest attachment from the store and check it against its event; returns what is wrong."""
    files = [(event["data"]["account"], file) for event in arrived for file in event["data"].get("attachments", ())]
    account, file = max(files, key=lambda pair: int(pair[1]["size"]))
    key = f"attachments/{account}/{file['sha256'][:2]}/{file['sha256']}"
    digest, octets = hashlib.sha256(), 0
    with services.store.open(key) as stored:
        while chunk := stored.read(_CHUNK_BYTES):
            digest.update(chunk)
            octets += len(chunk)
    if (digest.hexdigest(), octets, services.store.url(key)) != (file["sha256"], file["size"], file["url"]):
        return [f"{file['url']} is not what its event says"]
    console().print(Text(f"\nRead back {file['filename']}, {size(octets)}: size and SHA-256 are those of its event."))
    return []


def _summary(accounts: list[Account], arrived: list[Event]) -> None:
    rows = []
    for account in accounts:
        data = [event["data"] for event in arrived if event["data"]["account"] == account.id]
        files = [file for message in data for file in message.get("attachments", ())]
        rows.append(
            (
                account.id,
                str(len(data)),
                str(len(files)),
                size(sum(message.get("size", 0) for message in data)),
                str(sum(len(message.get("defects", ())) for message in data)),
            )
        )
    columns = ("ACCOUNT", "EVENTS", "ATTACHMENTS", "MAIL", "DEFECTS NOTED")
    table(columns, rows, numbers=columns[1:])


def _account(name: str, port: int) -> Account:
    return Account(
        id=name,
        host="127.0.0.1",
        port=port,
        username=name,
        password=f"env:DEMO_{name}".upper().replace("ENV:", "env:"),
        tls=Tls.NONE,  # allowed on loopback
        tags={"demo": "yes"},
    )


def _fresh(directory: Path) -> Path:
    """The directory, empty; one that this command did not make is never wiped."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / _MARK).exists():
            raise ConfigurationError(
                [f"{directory} is not the demo's (move it away, or set another MAILSLUICE_DATA_DIR)"]
            )
        shutil.rmtree(directory)
    make_data_dir(directory)
    (directory / _MARK).touch()
    return directory
