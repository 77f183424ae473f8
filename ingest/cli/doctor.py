"""`mailsluice doctor`: is everything there, and as it must be?

Rules of this room:
- One line for each thing, all of them, whatever fails. What fails is said on stderr too, and makes exit code 1.
"""

from __future__ import annotations

import dataclasses

import click
from rich.text import Text

from ingest.cli.output import as_json, clean, complain, console, dump
from ingest.cli.services import pass_services
from ingest.errors import IngestError
from ingest.wiring import Check, Services, check_account


@click.command(short_help="Name what is down or wrong.", epilog="Example: mailsluice doctor --accounts")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--accounts", "every", is_flag=True, help="Log in to all accounts too.")
@as_json
@pass_services
def doctor(services: Services, *, ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Check Redis, storage, broker, clock and settings; with ids, log in to those accounts too.

    Exit code 1 if anything is down or wrong, one line each on stderr.
    """
    checks = [*services.checks(), *_accounts(services, ids, every=every)]
    failed = [check for check in checks if not check.ok]
    if as_json:
        dump({"ok": not failed, "checks": [dataclasses.asdict(check) for check in checks]})
    else:
        for check in checks:
            mark = Text("ok   ", "green") if check.ok else Text("FAIL ", "bold red")
            console().print(mark + Text(f"{clean(check.name)}: {clean(check.line)}"))
    for check in failed:
        complain(f"{check.name}: {check.line}")
    if failed:
        click.get_current_context().exit(1)


def _accounts(services: Services, ids: tuple[str, ...], *, every: bool) -> list[Check]:
    if not ids and not every:
        return []
    try:
        accounts = services.registry.all() if every else list(services.registry.get(ids).values())
    except IngestError as error:
        return [Check("accounts", ok=False, line=str(error))]
    unknown = [] if every else [name for name in ids if name not in {account.id for account in accounts}]
    return [
        *(Check(f"account {name}", ok=False, line="no such account (mailsluice accounts list)") for name in unknown),
        *(check_account(services, account) for account in accounts if not account.paused or ids),
    ]
