"""`mailsluice replay`: stored messages as events again.

Rules of this room:
- One line for each account that has stored messages; with --json one report each, a line each.
- What could not be told of is a line on stderr and exit code 1: an object, a busy account, a failure. If it broke off,
  the line says how to go on.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from ingest.cli.output import as_json, complain, console, dump, progress, size
from ingest.cli.services import pass_services
from ingest.models import Failure, Outcome
from ingest.replay import ReplayReport, Wanted
from ingest.wiring import Services

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_COUNTS = ("stored", "replayed", "quarantined", "recorded", "refused", "bytes")


def _wanted(account: str | None, since: datetime | None, until: datetime | None, after: str) -> Wanted:
    """What the options ask for, if it makes sense."""
    if account is not None and not _ID.fullmatch(account):
        raise click.BadParameter(f"{account!r} is no account's id", param_hint="--account")
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--since must be before --until")
    if after and not after.startswith(f"raw/{account}/" if account else "raw/"):
        raise click.BadParameter(f"{after!r} is no key of a raw message of this replay", param_hint="--after")
    return Wanted(account, since, until, after)


def _time(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """An ISO 8601 date or time; without an offset it is UTC."""
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is neither a date such as 2026-01-31 nor a time such as 2026-01-31T18:00Z"
        ) from None


@click.command(epilog="Example: mailsluice replay --account billing --since 2026-01-01")
@click.option("--account", metavar="ID", help="Of this account only; without it of all that have stored messages.")
@click.option("--since", callback=_time, metavar="T", help="First seen then or later: a date, or a time, in UTC.")
@click.option("--until", callback=_time, metavar="T", help="First seen before then.")
@click.option("--after", default="", metavar="KEY", help="Behind this object key, where an earlier replay broke off.")
@as_json
@pass_services
def replay(
    services: Services,
    *,
    account: str | None,
    since: datetime | None,
    until: datetime | None,
    after: str,
    as_json: bool,
) -> None:
    """Emit stored messages again, from object storage alone; Redis may be new.

    Each event has the id of its first time and says replay: true. Attachments that are lost are stored again.
    Exit code 1 if anything could not be told of.
    """
    wanted = _wanted(account, since, until, after)
    failed, total = False, Counter[str]()

    def on_refused(account_id: str, why: Failure) -> None:
        complain(why.line(account_id))

    with _bar(show=not as_json and sys.stdout.isatty()) as on_message:
        for report in services.replayer.replay(wanted, on_message, on_refused):
            total["accounts"] += 1
            total.update({name: getattr(report, name) for name in _COUNTS})
            if as_json:
                dump(report, indent=None)
            elif report.outcome is Outcome.DONE or report.stored:
                console().print(_line(report))
            if report.outcome is not Outcome.DONE:
                complain(_why(report, wanted))
            failed = failed or report.outcome is not Outcome.DONE or report.refused > 0
    if account is not None and not total["accounts"]:
        failed = True
        complain(f"{account}: no messages are stored for it" + (" behind that key" if after else ""))
    elif account is None and not as_json:
        console().print(f"{total['accounts']} accounts, {total['stored']} stored: {_figures(total)}")
    if failed:
        click.get_current_context().exit(1)


@contextmanager
def _bar(*, show: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Moves a progress bar with each object; how many there are, nobody knows before the end."""
    if not show:
        yield lambda *_: None
        return
    with progress() as bar:
        task = bar.add_task("listing", total=None, octets="")

        def on_message(account_id: str, done: int, octets: int) -> None:
            bar.update(task, description=account_id, completed=done, octets=size(octets))

        yield on_message


def _line(report: ReplayReport) -> str:
    """What one account's replay did, for a person."""
    oldest = f", the oldest of {report.oldest:%Y-%m-%d}" if report.oldest else ""
    figures = _figures({name: getattr(report, name) for name in _COUNTS})
    return f"{report.account}: {report.outcome}, {report.stored} stored{oldest}: {figures}, {report.seconds:.2f} s"


def _figures(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['replayed']} replayed, {counts['quarantined']} quarantined, "
        f"{counts['recorded']} already had a record, {counts['refused']} failed, {size(counts['bytes'])}"
    )


def _why(report: ReplayReport, wanted: Wanted) -> str:
    """What went wrong, and how to go on from there."""
    again = f"mailsluice replay --account {report.account}"
    times = f" --since {_shown(wanted.since)}" if wanted.since else ""
    times += f" --until {_shown(wanted.until)}" if wanted.until else ""
    if report.failure is None:
        return f"{report.account}: busy, a poller holds it; again: {again}{times}"
    line = report.failure.line(report.account)
    if not report.last:
        return line
    if report.ends and wanted.account is None:
        again = "mailsluice replay"
    return f"{line}; to go on: {again}{times} --after {report.last}"


def _shown(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
