"""`mailsluice doctor`: is everything there, and as it must be?

Rules of this room:
- One line for each thing, all of them, whatever fails. What fails is said on stderr too, and makes exit code 1. A note
  is worth a look and fails nothing.
- A group that reads nothing is a note; once it holds more than half of a stream's cap, it fails.
- Few accounts are logged in to unasked, many only with --accounts; never one whose last login was refused: one more
  might lock it out.
"""

from __future__ import annotations

import dataclasses
import shlex

import click
from rich.text import Text

from ingest.checkup import Check, check_account, check_all
from ingest.cli.output import as_json, clean, complain, console, dump, size, span
from ingest.cli.services import pass_services
from ingest.dispatch import stream_filling
from ingest.errors import IngestError
from ingest.models import Account, AccountState
from ingest.ports import ConsumerGroup
from ingest.wiring import Services

_UNASKED = 20
_HELD_SHARE = 0.5
_OK, _NOTE, _FAIL = Text("ok   ", "green"), Text("note ", "yellow"), Text("FAIL ", "bold red")


@click.command(short_help="Name what is down or wrong.", epilog="Example: mailsluice doctor --accounts")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--accounts", "every", is_flag=True, help="Log in to all accounts, however many there are.")
@as_json
@pass_services
def doctor(services: Services, *, ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Check Redis, storage, sink, broker, clock, stream, settings, and log in to accounts: those named, or up to 20.

    Exit code 1 if anything is down or wrong, one line each on stderr.
    """
    checks = check_all(services)
    if all(check.ok for check in checks if check.name == "redis"):  # else the accounts can't be asked for
        checks += [*_stream(services), *_accounts(services, ids, every=every)]
    failed = [check for check in checks if not check.ok]
    if as_json:
        dump({"ok": not failed, "checks": [dataclasses.asdict(check) for check in checks]})
    else:
        for check in checks:
            mark = _NOTE if check.note and check.ok else _OK if check.ok else _FAIL
            console().print(mark + Text(f"{clean(check.name)}: {clean(check.line)}"))
    for check in failed:
        complain(f"{check.name}: {check.line}")
    if failed:
        click.get_current_context().exit(1)


def _stream(services: Services) -> list[Check]:
    try:
        shares, groups = services.events.pressure(), services.events.groups()
    except IngestError as error:
        return [Check("stream", ok=False, line=str(error))]
    full = {shard: share for shard, share in shares.items() if share >= services.settings.dispatch_stop_share}
    line = (
        f"dispatch has stopped: {stream_filling(full)}" if full else f"{max(shares.values()):.0%} of its cap is taken"
    )
    found = [Check("stream", ok=not full, line=line)]
    for name in sorted({group.name for group in groups}):
        found += _idle_group(services, name, [group for group in groups if group.name == name])
    return found


def _idle_group(services: Services, name: str, shards: list[ConsumerGroup]) -> list[Check]:
    """A group that has not read for long although events wait for it: a dead one, or a reader that hangs."""
    settings = services.settings
    idle = [group for group in shards if group.oldest_s is not None and _idle_s(group) >= settings.group_idle_s]
    if not idle:
        return []
    held = max(group.waiting_bytes for group in idle) / settings.stream_max_bytes
    waiting = sum(group.waiting_bytes for group in idle)
    line = (
        f"has read nothing for {span(max(map(_idle_s, idle)))}, about {size(waiting)} wait for it; if nobody reads it "
        f"any more: mailsluice events groups remove {shlex.quote(name)}"
    )
    return [Check(f"group {name}", ok=held <= _HELD_SHARE, line=line, note=held <= _HELD_SHARE)]


def _idle_s(group: ConsumerGroup) -> float:
    """Since it last asked; for one that never did, since the first event waits for it."""
    return (group.oldest_s or 0.0) if group.idle_s is None else group.idle_s


def _accounts(services: Services, ids: tuple[str, ...], *, every: bool) -> list[Check]:
    try:
        accounts = list(services.registry.get(ids).values()) if ids else services.registry.all()
        states = services.schedule.states([account.id for account in accounts])
    except IngestError as error:
        return [Check("accounts", ok=False, line=str(error))]
    unknown = set(ids) - {account.id for account in accounts}
    lines = [Check(f"account {name}", ok=False, line="no such account (mailsluice accounts list)") for name in unknown]
    if not (ids or every):
        accounts = [account for account in accounts if not account.paused]
        if len(accounts) > _UNASKED:
            failing = [account for account in accounts if states[account.id].failures]
            lines += [_as_polled(account, states[account.id]) for account in failing]
            if not failing:
                lines.append(Check("accounts", ok=True, line=f"{len(accounts)}; --accounts logs in to each"))
            return lines
    return lines + [
        _as_polled(account, states[account.id])
        if states[account.id].refusals and not (ids or every)
        else check_account(services, account)
        for account in accounts
    ]


def _as_polled(account: Account, state: AccountState) -> Check:
    return Check(f"account {account.id}", ok=False, line=state.last_error or "its last polls failed")
