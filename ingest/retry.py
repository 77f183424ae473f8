"""Seconds inside one step: tenacity policies made from the error's own answer.

Rules of this room:
- Only `Retry.SOON` is tried again here, for a bounded time. Minutes belong to the due set, or to who asks a `Backoff`.
- What the other side asks for (`after_s`) is waited for; where that is longer than the step may take, it ends at once.
- A wait may beat every second, so that a lease is kept meanwhile; what that raises ends it.
- One exception: a maildrop that is locked by the session that we just dropped ourselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tenacity

from ingest.errors import IngestError, MaildropBusy, Retry

_FIRST_WAIT_S = 0.05
_BEAT_S = 1.0
P = ParamSpec("P")
T = TypeVar("T")


def soon(error: BaseException) -> bool:
    """Whether this error asks for another try within the step."""
    return isinstance(error, IngestError) and error.retry is Retry.SOON


class Steps:
    """Runs one idempotent step, again while its error says SOON, for at most `seconds`.

    Args:
        seconds: after which the step's own error is raised on.
        sleep: how to wait, in seconds.
    """

    def __init__(
        self,
        seconds: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._seconds = seconds
        self._sleep = sleep

    def __call__(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return step(*args, **kwargs)  # almost always: a policy costs more than a step in Redis
        except IngestError as error:
            asked_s = error.after_s or 0.0
            if not soon(error) or self._seconds <= 0 or asked_s > self._seconds:
                raise
        self._sleep(max(_FIRST_WAIT_S, asked_s))
        over = tenacity.stop_after_delay(self._seconds)
        backoff = tenacity.wait_random_exponential(multiplier=0.1, max=3)
        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception(soon),
            stop=lambda state: over(state) or _asked_s(state) > self._seconds,
            wait=lambda state: max(backoff(state), _asked_s(state)),
            sleep=self._sleep,
            reraise=True,
        )
        return policy(step, *args, **kwargs)

    def beating(self, beat: Callable[[], None]) -> Steps:
        """The same, but for a beat every second in its waits."""

        def sleep(wait_s: float) -> None:
            while wait_s > 0:
                self._sleep(min(wait_s, _BEAT_S))
                beat()
                wait_s -= _BEAT_S

        return Steps(self._seconds, sleep=sleep)

    def until_free(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a step again while it finds the maildrop busy, four times at most: its server frees it any moment."""
        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(MaildropBusy),
            stop=tenacity.stop_after_attempt(5),
            wait=tenacity.wait_exponential(multiplier=0.1),
            sleep=self._sleep,
            reraise=True,
        )
        return policy(step, *args, **kwargs)


def _asked_s(state: tenacity.RetryCallState) -> float:
    """How long the last try was asked to wait."""
    error = state.outcome.exception() if state.outcome else None
    return getattr(error, "after_s", None) or 0.0


class Backoff:
    """How long to wait before the next try of what has no end: longer each time, at least what was asked for.

    Args:
        most_s: the longest wait that nobody asked for.
    """

    def __init__(self, most_s: float) -> None:
        self._wait = tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_S * 2, max=most_s)
        self._state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})

    def next_s(self, asked_s: float | None = None) -> float:
        wait_s = max(_FIRST_WAIT_S, self._wait(self._state), asked_s or 0.0)
        self._state.attempt_number += 1
        return wait_s

    def reset(self) -> None:
        """It worked: begin anew."""
        self._state.attempt_number = 1
