"""`mailsluice accounts`: the registry, and what each account's polls remember.

Rules of this room:
- No command prints a password.
- `add` and `check` have files of their own.
- Removing an account keeps its ledger, so that adding it again repeats no mail; `--erase` forgets that too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.text import Text

from ingest.cli.account_add import add
from ingest.cli.account_check import check
from ingest.cli.account_view import as_dict, get_account, print_account, shown_due, shown_state, unknown_account
from ingest.cli.output import ago, as_json, clean, dump, size, table
from ingest.cli.services import pass_services
from ingest.errors import StateRefused
from ingest.ledger import NO_IDENTITY
from ingest.models import AccountState
from ingest.wiring import Services


@click.group()
def accounts() -> None:
    """The maildrops to poll."""


accounts.add_command(add)
accounts.add_command(check)


@accounts.command(epilog="Example: mailsluice accounts apply accounts.toml --prune")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="Remove accounts that are not in the file (their ledgers stay).")
@as_json
@pass_services
def apply(services: Services, *, file: Path, prune: bool, as_json: bool) -> None:
    """Make the registry hold what FILE says. Applying it again changes nothing.

    mailsluice accounts apply accounts.toml
    """
    changes = services.apply_accounts_file(file, prune=prune)
    done = {
        "added": [account.id for account in changes.added],
        "changed": [account.id for account in changes.changed],
        "unchanged": [account.id for account in changes.unchanged],
        "removed": list(changes.removed),
    }
    if as_json:
        dump(done)
        return
    for what, ids in done.items():
        for account_id in ids if what != "unchanged" else ():
            click.echo(f"{what} {account_id}")
    click.echo(", ".join(f"{len(ids)} {what}" for what, ids in done.items()))


@accounts.command("list", epilog="Example: mailsluice accounts list --json")
@as_json
@pass_services
def list_(services: Services, *, as_json: bool) -> None:
    """All accounts with their next poll and last outcome."""
    every = services.registry.all()
    ids = [account.id for account in every]
    due, states, now = services.schedule.due_in(ids), services.schedule.states(ids), services.clock.now()
    if as_json:
        dump([as_dict(account, states[account.id], due.get(account.id)) for account in every])
        return
    table(
        ("ID", "HOST", "TLS", "USER", "STATE", "NEXT POLL", "LAST POLL", "OUTCOME", "FAILURES"),
        (
            (
                account.id,
                f"{account.host}:{account.port}",
                account.tls,
                account.username,
                shown_state(account),
                shown_due(due.get(account.id)),
                ago(states[account.id].last_poll, now),
                _outcome(states[account.id]),
                str(states[account.id].failures),
            )
            for account in every
        ),
        numbers=("FAILURES",),
    )


@accounts.command(epilog="Example: mailsluice accounts show billing")
@click.argument("account_id", metavar="ID")
@click.option("--ledger", is_flag=True, help="What is remembered of its mail, a record a line, the oldest first.")
@as_json
@pass_services
def show(services: Services, *, account_id: str, ledger: bool, as_json: bool) -> None:
    """One account in full, without its password."""
    if ledger:
        _print_ledger(services, account_id, as_json=as_json)
    else:
        print_account(services, get_account(services, account_id), as_json=as_json)


@accounts.command(epilog="Example: mailsluice accounts pause billing")
@click.argument("account_id", metavar="ID")
@pass_services
def pause(services: Services, *, account_id: str) -> None:
    """Poll an account no more until it is resumed."""
    services.registry.put([replace(get_account(services, account_id), paused=True)])
    services.schedule.drop([account_id])
    click.echo(f"{account_id} is paused")


@accounts.command(epilog="Example: mailsluice accounts resume billing")
@click.argument("account_id", metavar="ID")
@pass_services
def resume(services: Services, *, account_id: str) -> None:
    """Poll an account again, from now on: one that is paused, or that backs off after failures."""
    services.registry.put([replace(get_account(services, account_id), paused=False)])
    services.schedule.add([account_id])
    services.schedule.reset([account_id])
    click.echo(f"{account_id} is active")


@accounts.command(epilog="Example: mailsluice accounts remove billing")
@click.argument("account_id", metavar="ID")
@click.option("--erase", is_flag=True, help="Forget its ledger too: added again, it repeats all its mail.")
@pass_services
def remove(services: Services, *, account_id: str, erase: bool) -> None:
    """Remove an account. Its mail, objects, events and (without --erase) its ledger stay."""
    if not services.registry.get([account_id]) and not (erase and _is_remembered(services, account_id)):
        raise unknown_account(account_id)
    services.registry.remove([account_id])
    services.schedule.drop([account_id])
    if erase:
        services.schedule.erase(account_id)
    click.echo(f"{account_id} is removed" + (", with its ledger" if erase else "; its ledger is kept"))


def _is_remembered(services: Services, account_id: str) -> bool:
    """Whether it has a ledger, if only a damaged one; also that of an account that was removed is kept."""
    try:
        return services.ledger.load(account_id).exists
    except StateRefused:
        return True


def _print_ledger(services: Services, account_id: str, *, as_json: bool) -> None:
    """Also of an account that was removed: its ledger is kept."""
    image = services.ledger.load(account_id)
    if not image.exists:
        get_account(services, account_id)
    records = sorted(image.records(), key=lambda record: record.minutes)
    shown = [
        {
            "uidl_digest": record.uidl.hex(),
            "identity_digest": None if record.identity == NO_IDENTITY else record.identity.hex(),
            "kind": record.kind.name.lower(),
            "since": datetime.fromtimestamp(record.minutes * 60, UTC).isoformat(),
        }
        for record in records
    ]
    if as_json:
        dump({"account": account_id, "octets": image.value_bytes, "records": shown})
        return
    table(
        ("UIDL DIGEST", "IDENTITY", "KIND", "SINCE"),
        (
            (row["uidl_digest"] or "", row["identity_digest"] or "-", row["kind"] or "", row["since"] or "")
            for row in shown
        ),
    )
    counts = Counter(record.kind.name.lower() for record in records)
    click.echo(
        f"{len(records)} records, {size(image.value_bytes)}: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        if records
        else "nothing is remembered"
    )


def _outcome(state: AccountState) -> Text:
    return Text(clean(state.last_outcome or "-"), "red" if state.failures else "")
