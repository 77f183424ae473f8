"""`mailsluice isolated`: what a worker runs a suspect message in. Not for people, so no help names it."""

from __future__ import annotations

import click

from ingest.wiring import answer_isolated


@click.command(hidden=True)
def isolated() -> None:
    """Process the one message on standard input."""
    answer_isolated()
