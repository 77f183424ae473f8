"""`mailsluice tick`: what beat does, once."""

from __future__ import annotations

import click

from ingest.cli.output import as_json, dump
from ingest.cli.services import pass_services
from ingest.wiring import Services


@click.command(epilog="Example: * * * * *  mailsluice tick")
@as_json
@pass_services
def tick(services: Services, *, as_json: bool) -> None:
    """Claim the accounts that are due and queue their polls, once.

    For cron, a systemd timer or a Kubernetes CronJob, where beat is not wanted.
    """
    ticked = services.ticker.tick()
    if as_json:
        dump(ticked)
    else:
        click.echo(f"{ticked.claimed} due, queued in {ticked.batches} batches")
