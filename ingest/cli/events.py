"""`mailsluice events`: the stream, for eyes and pipes, and the groups that read it.

Rules of this room:
- One event a line, as it lies in the stream, each flushed at once. A reader that goes away ends it quietly.
- A group is named by its reader; removing it changes no event, but nothing waits for it any more.
"""

from __future__ import annotations

import sys

import click

from ingest.cli.output import as_json, clean, complain, dump, size, span, table
from ingest.cli.services import pass_services
from ingest.models import StreamEntry
from ingest.wiring import Services

# JSON may hold these as they are; a terminal would obey them.
_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


@click.group()
def events() -> None:
    """Read the event stream, and see who reads it."""


@events.command(epilog="Example: mailsluice events tail --from-start --timeout 5 | jq -r .data.subject")
@click.option("--from-start", is_flag=True, help="Begin with the oldest event that is kept, not with the next one.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="End after so many quiet seconds.")
@click.option("--group", help="Read as this consumer group: go on where it stands, acknowledge what was printed.")
@click.option("--consumer", default="tail", show_default=True, help="Who of the group reads; one at a time.")
@pass_services
def tail(
    services: Services, *, from_start: bool, count: int | None, timeout: float | None, group: str | None, consumer: str
) -> None:
    """Print events as they come, one CloudEvent as JSON a line.

    mailsluice events tail --from-start --timeout 5 | jq -r .data.subject
    """
    entries = services.events.tail(from_start=from_start, group=group, consumer=consumer, timeout_s=timeout)
    printed = 0
    try:
        for entry in entries:
            if entry is None:
                continue
            click.echo(_line(entry))  # flushes
            printed += 1
            if printed == count:
                if group is not None:
                    next(entries, None)  # asking on acknowledges the last one
                return
    except BrokenPipeError:
        sys.stdout = None  # nobody reads: not even the interpreter's last flush


@events.group()
def groups() -> None:
    """Consumer groups: what waits for each. Nothing that waits for one is trimmed."""


@groups.command("list", epilog="Example: mailsluice events groups list")
@as_json
@pass_services
def list_groups(services: Services, *, as_json: bool) -> None:
    """Show each group, by shard: what is delivered and not acknowledged, what is not delivered yet, since when."""
    found = services.events.groups()
    if as_json:
        dump(found)
        return
    table(
        ("SHARD", "GROUP", "PENDING", "BEHIND", "WAITING", "OLDEST", "IDLE"),
        [
            (
                str(group.shard),
                group.name,
                str(group.pending),
                "?" if group.behind is None else str(group.behind),
                size(group.waiting_bytes),
                "-" if group.oldest_s is None else span(group.oldest_s),
                "never read" if group.idle_s is None else span(group.idle_s),
            )
            for group in found
        ],
        numbers=("SHARD", "PENDING", "BEHIND", "WAITING", "OLDEST", "IDLE"),
    )


@groups.command("remove", epilog="Example: mailsluice events groups remove old-reader")
@click.argument("name")
@pass_services
def remove_group(services: Services, *, name: str) -> None:
    """Remove a group from all shards. What waited for it alone counts as acknowledged.

    A reader that is still there gets an error; starting it anew makes the group again. One of ingest.consumer makes it
    again by itself, and begins with the oldest event.
    """
    shards = services.events.remove_group(name)
    if shards:
        click.echo(f"{clean(name)}: removed" + (f" from {shards} shards" if shards > 1 else ""))
    else:
        complain(f"{name}: no such group (mailsluice events groups list)")
        click.get_current_context().exit(1)


def _line(entry: StreamEntry) -> str:
    return entry.event.json.decode("utf-8", "replace").replace("\n", " ").translate(_ESCAPED)
