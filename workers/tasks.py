"""The tasks. Thin: each is one call; what an error means is decided by the library, never here."""

from __future__ import annotations

from ingest.errors import IngestError
from ingest.models import Failure
from workers.app import POLL_ACCOUNTS, TICK, celery


@celery.task(name=TICK)
def tick() -> None:
    """Claim due accounts and queue their polls; what fails waits for the next tick."""
    try:
        celery.services.ticker.tick()
    except IngestError as error:
        celery.services.telemetry.step_failed("tick", Failure.of(error))


@celery.task(name=POLL_ACCOUNTS)
def poll_accounts(account_ids: list[str]) -> None:
    """Poll a small batch of accounts."""
    try:
        celery.services.batches.run(account_ids)
    except IngestError as error:
        celery.services.telemetry.step_failed("batch", Failure.of(error))
