"""`mailsluice poll`: now, in this process.

Rules of this room:
- One report for each account that was asked for, in that order. A failed account doesn't stop the next.
- Busy (another poller holds the lease) is no failure. A paused account that was named is; `--all` passes it over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
from rich.progress import Progress

from ingest.cli.output import as_json, complain, console, dump, progress, report_line, size
from ingest.cli.services import pass_services
from ingest.models import Outcome, PollReport
from ingest.wiring import Services

_FAILED = {Outcome.FAILED, Outcome.PAUSED, Outcome.UNKNOWN}
_WHY = {
    Outcome.PAUSED: "is paused (mailsluice accounts resume {0})",
    Outcome.UNKNOWN: "no such account (mailsluice accounts list)",
}


@click.command(epilog="Example: mailsluice poll billing orders")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Poll all accounts that are not paused.")
@as_json
@pass_services
def poll(services: Services, *, ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Poll accounts now, in this process, whether due or not.

    Exit code 1 if any of them failed. With --json one report per account, a line each.
    """
    if bool(ids) == every:
        raise click.UsageError("name accounts, or all of them with --all" if not ids else "either ids or --all")
    failed = False
    for report in _reports(services, ids, show=not as_json and sys.stdout.isatty()):
        if as_json:
            dump(report, indent=None)
        elif report.outcome not in _FAILED or report.listed:
            console().print(report_line(report))
        if report.outcome in _FAILED:
            failed = True
            complain(_why(report))
    if failed:
        click.get_current_context().exit(1)


def _reports(services: Services, ids: tuple[str, ...], *, show: bool) -> Iterator[PollReport]:
    if ids:
        known = services.registry.get(ids)
        wanted = [(account_id, known.get(account_id)) for account_id in dict.fromkeys(ids)]
    else:
        wanted = [(account.id, account) for account in services.registry.all() if not account.paused]
    for account_id, account in wanted:
        if account is None:
            yield PollReport(account_id, Outcome.UNKNOWN)
        elif not show or account.paused:
            yield services.poller.poll(account)
        else:
            with progress() as bar:
                report = services.poller.poll(account, _Bar(bar, account_id))
            yield report


class _Bar:
    """Moves a progress bar as messages come in."""

    def __init__(self, bar: Progress, account_id: str) -> None:
        self._bar = bar
        self._task = bar.add_task(f"{account_id}: logging in", total=None, octets="")
        self._name = account_id

    def __call__(self, done: int, total: int, octets: int) -> None:
        self._bar.update(self._task, description=self._name, completed=done, total=total, octets=size(octets))


def _why(report: PollReport) -> str:
    if report.failure is not None:
        return report.failure.line(report.account)
    return f"{report.account}: " + _WHY.get(report.outcome, "failed").format(report.account)
