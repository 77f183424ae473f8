"""`mailsluice quarantine`: the messages that were skipped or could not be processed, for a person to decide about.

Rules of this room:
- A message is named by the beginning of its id, as long as that stands for one message only.
- Each message that was named has its own line, and one that failed doesn't stop the next, unless nothing could go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import click

from ingest.cli.output import ago, as_json, complain, dump, pairs, size, table
from ingest.cli.services import pass_services
from ingest.errors import AccountMisconfigured, Fault, IngestError, Retry
from ingest.models import Refusal
from ingest.quarantine import Retried
from ingest.wiring import Services

_SHORTEST = 8
_DONE = {
    Retried.RECEIVED: "told of as received",
    Retried.KNOWN: "was told of meanwhile; listed no more",
    Retried.AWAITED: "the next poll retrieves it",
}


_DISCARDED = "listed no more; it is never fetched again, nor deleted from its server"
_RAW_STAYS = "; its raw message stays in storage"


@click.group()
def quarantine() -> None:
    """Messages that were skipped or could not be processed.

    They are left on their servers, told of by an event each, and not fetched again.
    """


@quarantine.command("list", epilog="Example: mailsluice quarantine list --account billing")
@click.option("--account", "account_id", metavar="ID", help="Those of one account only.")
@as_json
@pass_services
def list_(services: Services, *, account_id: str | None, as_json: bool) -> None:
    """All of them, the oldest first."""
    found = _listed(services, account_id)
    if as_json:
        dump([_as_dict(services, refusal) for refusal in found])
        return
    length = _distinct(refusal.id for refusal in found)
    table(
        ("ID", "ACCOUNT", "KIND", "REASON", "SIZE", "SINCE", "SUBJECT"),
        (
            (
                refusal.id[:length],
                refusal.account,
                refusal.record.kind.name.lower(),
                refusal.reason,
                size(refusal.size),
                ago(refusal.time, services.clock.now()),
                refusal.subject or "-",
            )
            for refusal in found
        ),
        numbers=("SIZE",),
    )


@quarantine.command(epilog="Example: mailsluice quarantine show 81c7a10c")
@click.argument("id_", metavar="ID")
@as_json
@pass_services
def show(services: Services, *, id_: str, as_json: bool) -> None:
    """All that is known of one message: why it is here, and where its octets lie."""
    refusal = _one(services, id_)
    if refusal is None:
        click.get_current_context().exit(1)
    if as_json:
        dump(_as_dict(services, refusal))
        return
    pairs(
        {
            "id": refusal.id,
            "account": refusal.account,
            "kind": refusal.record.kind.name.lower(),
            "reason": refusal.reason,
            "detail": refusal.detail,
            "UIDL": "none" if refusal.uidl is None else refusal.uidl,
            "size": f"{refusal.size} octets",
            "subject": refusal.subject or "not known",
            "since": f"{_since(refusal)}, {ago(refusal.time, services.clock.now())}",
            "raw message": services.quarantine.url(refusal) or "not stored, only its server has it",
        }
    )


@quarantine.command(epilog="Example: mailsluice quarantine retry 81c7a10c")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All that are listed.")
@click.option("--account", "account_id", metavar="ID", help="All of one account.")
@pass_services
def retry(services: Services, *, ids: tuple[str, ...], every: bool, account_id: str | None) -> None:
    """Process messages again: from storage, else by having the next poll retrieve them.

    What succeeds is told of as received and listed no more; what fails again stays as it is.
    """
    if bool(ids) + every + (account_id is not None) != 1:
        raise click.UsageError("name messages, or --account ID, or --all")
    failed = False
    listed = [] if ids else _listed(services, account_id)
    if not (ids or listed):
        click.echo("nothing is listed")
    for refusal in _named(services, ids) if ids else listed:
        if refusal is None:
            failed = True
            continue
        try:
            done = services.quarantine.retry(refusal)
        except IngestError as error:
            failed = True
            still = "it still fails: " if refusal.raw and error.fault is Fault.MESSAGE else ""
            complain(f"{refusal.id}: {still}{error}")
            if error.retry is Retry.SOON:  # Redis or the store is down: the others would only wait for it
                break
        else:
            click.echo(f"{refusal.id}: {_DONE[done]}{_if_paused(services, refusal.account, done)}")
    if failed:
        click.get_current_context().exit(1)


@quarantine.command(epilog="Example: mailsluice quarantine discard 81c7a10c")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@pass_services
def discard(services: Services, *, ids: tuple[str, ...]) -> None:
    """List messages no more. They are never fetched again, nor deleted from their servers or from storage."""
    failed = False
    for refusal in _named(services, ids):
        if refusal is None:
            failed = True
        else:
            services.quarantine.discard(refusal)
            click.echo(f"{refusal.id}: {_DISCARDED}{_RAW_STAYS if refusal.raw else ''}")
    if failed:
        click.get_current_context().exit(1)


def _listed(services: Services, account_id: str | None) -> list[Refusal]:
    """Those of one account or of all; a name that stands for nothing is a slip."""
    found = services.quarantine.all(account_id)
    if account_id is not None and not found and not services.registry.get([account_id]):
        raise AccountMisconfigured(f"{account_id}: no such account", todo="mailsluice accounts list")
    return found


def _if_paused(services: Services, account_id: str, done: Retried) -> str:
    """What a person must do for the next poll to come."""
    account = services.registry.get([account_id]).get(account_id) if done is Retried.AWAITED else None
    return f"; {account_id} is paused (mailsluice accounts resume {account_id})" if account and account.paused else ""


def _named(services: Services, ids: Iterable[str]) -> Iterator[Refusal | None]:
    return (_one(services, id_) for id_ in dict.fromkeys(ids))


def _one(services: Services, prefix: str) -> Refusal | None:
    """The message that this stands for; None, and a line, if that is not one."""
    found = services.quarantine.find(prefix) if prefix else []
    if len(found) == 1:
        return found[0]
    complain(
        f"{prefix}: stands for {len(found)} messages (give more of the id)"
        if found
        else f"{prefix}: there is no such message (mailsluice quarantine list)"
    )
    return None


def _distinct(ids: Iterable[str]) -> int:
    """How much of an id tells them apart."""
    every = set(ids)
    longest = max(map(len, every), default=_SHORTEST)
    return next(
        (length for length in range(_SHORTEST, longest) if len({id_[:length] for id_ in every}) == len(every)), longest
    )


def _since(refusal: Refusal) -> str:
    return datetime.fromtimestamp(refusal.time, UTC).isoformat(timespec="seconds")


def _as_dict(services: Services, refusal: Refusal) -> dict[str, Any]:
    return {
        "id": refusal.id,
        "account": refusal.account,
        "kind": refusal.record.kind.name.lower(),
        "reason": refusal.reason,
        "detail": refusal.detail,
        "size": refusal.size,
        "since": _since(refusal),
        "uidl": refusal.uidl,
        "subject": refusal.subject,
        "raw": services.quarantine.url(refusal),
    }
