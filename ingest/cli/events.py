"""`mailsluice events`: the stream, for eyes and pipes.

Rules of this room:
- One event a line, as it lies in the stream, each flushed at once. A reader that goes away ends it quietly.
"""

from __future__ import annotations

import sys

import click

from ingest.cli.services import pass_services
from ingest.models import StreamEntry
from ingest.wiring import Services

# JSON may hold these as they are; a terminal would obey them.
_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


@click.group()
def events() -> None:
    """Read the event stream."""


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


def _line(entry: StreamEntry) -> str:
    return entry.event.json.decode("utf-8", "replace").replace("\n", " ").translate(_ESCAPED)
