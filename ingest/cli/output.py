"""How things are said: tables, key-value lists, JSON, single lines.

Rules of this room:
- Results go to stdout, complaints to stderr. Colour only on a terminal, and not with NO_COLOR.
- What comes from mail or a server is shown without control characters, and never read as markup.
- JSON is for programs: every value, unrounded, the names those of the code.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ingest.advice import Advice, Severity
from ingest.models import Outcome, PollReport

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
_WIDE = 10_000
_SEVERITIES = {Severity.WRONG: "bold red", Severity.CARE: "yellow", Severity.NOTE: "cyan"}
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def console() -> Console:
    """Stdout for people; what is piped is never cut to a width."""
    width = None if sys.stdout.isatty() else _WIDE
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)


def complain(line: str) -> None:
    """One line on stderr, red on a terminal."""
    error = Console(file=sys.stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    error.print(Text(clean(line), style="red"))


def clean(text: str) -> str:
    """Text that can do nothing to a terminal: controls, bidi and other invisible characters become spaces."""
    return "".join(" " if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else c for c in text)


def dump(value: object, *, indent: int | None = 2) -> None:
    """One JSON value."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=indent))


def dump_each(values: Iterable[object]) -> None:
    """One JSON array, of which one value at a time is in memory."""
    comma = ""
    click.echo("[", nl=False)
    for value in values:
        text = json.dumps(value, default=_plain, ensure_ascii=False, indent=2)
        click.echo(f"{comma}\n{text}", nl=False)
        comma = ","
    click.echo("\n]" if comma else "]")


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, numbers: Sequence[str] = ()) -> None:
    """A table; columns named in `numbers` stand to the right."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(clean(cell)) for cell in row))
    _print(shown)


def pairs(values: Mapping[str, str | Text]) -> None:
    """Names and values, one pair a line."""
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(style="bold")
    shown.add_column(overflow="fold")
    for name, value in values.items():
        shown.add_row(name, value if isinstance(value, Text) else Text(clean(value)))
    _print(shown)


def _print(shown: Table) -> None:
    """A table, without the spaces that pad its last column where it is piped."""
    out = console()
    if out.is_terminal:
        out.print(shown)
        return
    with out.capture() as captured:
        out.print(shown)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def progress() -> Progress:
    """A bar of messages and bytes, gone when done."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[octets]}", markup=False),
        TimeElapsedColumn(),
        console=console(),
        transient=True,
    )


def report_line(report: PollReport) -> str:
    """What a poll did, for a person."""
    if report.outcome is Outcome.BUSY:
        return f"{report.account}: busy, another poller holds it"
    figures = [
        f"{count} {noun if count == 1 else nouns}"
        for count, noun, nouns in (
            (report.messages, "message", "messages"),
            (report.attachments, "attachment", "attachments"),
            (report.events, "event", "events"),
            (report.skipped, "skipped", "skipped"),
            (report.quarantined, "quarantined", "quarantined"),
            (report.deleted, "deleted", "deleted"),
        )
        if count or noun == "message"
    ]
    figures += [size(report.bytes), f"{report.seconds:.2f} s", f"{report.flights} flights"]
    return f"{report.account}: {report.outcome}, {report.listed} listed, {report.new} new: " + ", ".join(figures)


def advice_lines(advice: Iterable[Advice]) -> None:
    """Advice, an item a paragraph: how much it matters, what is so, and below it what to do."""
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column()
    shown.add_column(overflow="fold")
    for item in advice:
        shown.add_row(Text(item.severity, _SEVERITIES[item.severity]), Text(clean(item.line)))
        shown.add_row("", Text(f"→ {clean(item.todo)}", "dim"))
    _print(shown)


def size(octets: int) -> str:
    """Octets in a unit that fits."""
    amount = float(octets)
    for unit in ("B", "KB", "MB"):
        if amount < 1000:  # noqa: PLR2004 - the step between units
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def span(seconds: float) -> str:
    """A length of time in one unit that fits."""
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.0f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f} d"


def ago(epoch_s: float | None, now: datetime) -> str:
    """How long a moment is past."""
    return (
        "never"
        if epoch_s is None
        else f"{span(max(0.0, (now - datetime.fromtimestamp(epoch_s, UTC)).total_seconds()))} ago"
    )
