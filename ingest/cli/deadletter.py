"""`mailsluice deadletter`: events that a sink refused for good, for a person to decide about.

Rules of this room:
- An event is named by the beginning of its id. One that was refused several times is meant with all of these.
- Each that was named has its own line, and one that failed doesn't stop the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from ingest.cli.output import ago, as_json, complain, dump_each, size, table
from ingest.cli.services import pass_services
from ingest.errors import IngestError
from ingest.events.order import account_of
from ingest.ports import DeadLetter, DeadLetters
from ingest.wiring import Services

_of_group = click.option("--group", help="Of this consumer group; MAILSLUICE_RELAY_GROUP if none is given.")


@click.group()
def deadletter() -> None:
    """Events that the sink refused for what they are, or did not take for long while it took others."""


@deadletter.command("list", epilog="Example: mailsluice deadletter list")
@_of_group
@as_json
@pass_services
def list_(services: Services, *, group: str | None, as_json: bool) -> None:
    """All of them, the oldest of each shard first. With --json the events, too."""
    found = services.dead_letters(group).all()
    if as_json:
        dump_each(map(_as_dict, found))
        return
    now = services.clock.now()
    table(
        ("EVENT", "ACCOUNT", "TYPE", "SIZE", "SINCE", "REASON"),
        (
            (
                letter.event.id,
                account_of(letter.event) or "-",
                letter.event.type,
                size(len(letter.event.json)),
                ago(letter.time, now),
                letter.reason,
            )
            for letter in found
        ),
        numbers=("SIZE",),
    )


@deadletter.command(epilog="Example: mailsluice deadletter retry --all")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All that are listed.")
@_of_group
@pass_services
def retry(services: Services, *, ids: tuple[str, ...], every: bool, group: str | None) -> None:
    """Put events back at the end of the stream.

    All groups that read it get them once more, with the same ids.
    """
    if bool(ids) == every:
        raise click.UsageError("name events, or all of them with --all" if not ids else "either ids or --all")
    letters = services.dead_letters(group)
    _each(letters, ids, letters.retry, "back in the stream")


@deadletter.command(epilog="Example: mailsluice deadletter discard 81c7a10c")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@_of_group
@pass_services
def discard(services: Services, *, ids: tuple[str, ...], group: str | None) -> None:
    """Forget events. The messages they tell of stay in storage: mailsluice replay tells of them again."""
    letters = services.dead_letters(group)
    _each(letters, ids, letters.discard, "forgotten")


def _each(letters: DeadLetters, ids: Iterable[str], decide: Callable[[DeadLetter], bool], done: str) -> None:
    failed = False
    named = dict.fromkeys(ids)
    missing, chosen = set(named), 0
    for letter in letters.all():
        meant = {id_ for id_ in named if id_ and letter.event.id.startswith(id_)}
        if named and not meant:
            continue
        missing -= meant
        chosen += 1
        try:
            click.echo(f"{letter.event.id}: {done if decide(letter) else 'is decided about already'}")
        except IngestError as error:
            failed = True
            complain(f"{letter.event.id}: {error}")
    for id_ in [id_ for id_ in named if id_ in missing]:
        failed = True
        complain(f"{id_}: there is no such event (mailsluice deadletter list)")
    if not (named or chosen):
        click.echo("nothing is listed")
    if failed:
        click.get_current_context().exit(1)


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.event.id,
        "account": account_of(letter.event),
        "type": letter.event.type,
        "shard": letter.shard,
        "position": letter.position,
        "reason": letter.reason,
        "since": letter.time,
        "event": letter.event.json.decode("utf-8", "replace"),
    }
