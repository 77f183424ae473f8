"""Steps in Redis, which may go away at any moment: tried again until it is back, or until there is no time left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import tenacity

from ingest.errors import IngestError
from ingest.retry import soon

_LOG = logging.getLogger("ingest.consumer")
T = TypeVar("T")


class Stopped(Exception):
    """Asked to end while Redis was away."""


class Patience:
    """Does a step once Redis is there.

    Args:
        stopping: set when this consumer is to end.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def __call__(self, step: Callable[[], T], grace_s: float = 0.0) -> T:
        """What the step answers; Stopped if it can't be done within `grace_s` and this consumer is to end."""
        try:
            return step()  # almost always
        except IngestError as error:
            if not soon(error):
                raise
        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception(soon),
            stop=lambda state: self._stopping.is_set() and (state.seconds_since_start or 0) >= grace_s,
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            before_sleep=_say,
            reraise=True,
        )
        try:
            return policy(step)
        except IngestError as error:
            if soon(error):
                raise Stopped(str(error)) from error
            raise


def _say(state: tenacity.RetryCallState) -> None:
    _LOG.warning("%s; trying again", state.outcome.exception() if state.outcome else None)
