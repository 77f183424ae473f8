"""Access tokens kept in this process until shortly before they expire.

Rules of this room:
- One flight a grant: while one thread asks, the others wait for its answer, good or bad.
- What is known of a grant is found by a digest over all of it, secrets included: who does not know a client's secret
  gets no token of it, and a changed secret counts at once.
- Nothing here is written anywhere. What is forgotten, or lost with the process, costs one request.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.adapters.oauth import Grant, Granted
from ingest.errors import IngestError
from ingest.models import Secret
from ingest.ports import Clock

MARGIN_S = 60.0
QUIET_S = 10.0
RENEWAL_S = 60.0


@dataclass(slots=True, repr=False)
class _Kept:
    """What is known of a grant; the lock is held by whoever asks for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: Secret | None = None
    until: float = 0.0
    refresh_token: Secret | None = None
    failure: IngestError | None = None
    quiet_until: float = 0.0
    renewed_at: float | None = None


class Tokens:
    """The tokens of this process. Safe to share between threads.

    Args:
        ask: gets a new one, or raises why not.
        clock: for their lives.
        most: grants that are remembered; beyond it the one that was asked for longest ago is forgotten.
    """

    def __init__(self, ask: Callable[[Grant], Granted], clock: Clock, *, most: int = 10_000) -> None:
        self._ask = ask
        self._clock = clock
        self._most = most
        self._kept: dict[bytes, _Kept] = {}
        self._lock = threading.Lock()

    def of(self, grant: Grant) -> Secret:
        """A token that lives a while yet; what `ask` raises.

        An endpoint that failed is left alone for as long as it asked for, or some seconds: the same error, until then.
        """
        kept = self._find(grant)
        with kept.lock:
            if kept.token is not None and self._clock.monotonic() < kept.until:
                return kept.token
            return self._fetch(grant, kept)

    def renewed(self, grant: Grant, refused: Secret) -> Secret | None:
        """Another token than one that a mail server refused; None if there is none, or one was asked for just now.

        Who may not read a mailbox is refused with any token: accounts like that must not wear out one that others
        share.
        """
        kept = self._find(grant)
        with kept.lock:
            now = self._clock.monotonic()
            if kept.token is not None and kept.token != refused and now < kept.until:
                return kept.token  # another thread was quicker
            if kept.renewed_at is not None and now < kept.renewed_at + RENEWAL_S:
                return None
            kept.renewed_at = now
            fresh = self._fetch(grant, kept)
            return None if fresh == refused else fresh

    def _find(self, grant: Grant) -> _Kept:
        key = _digest(grant)
        with self._lock:
            kept = self._kept.pop(key, None) or _Kept()
            self._kept[key] = kept  # the last now
            while len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
        return kept

    def _fetch(self, grant: Grant, kept: _Kept) -> Secret:
        if kept.failure is not None and (left_s := kept.quiet_until - self._clock.monotonic()) > 0:
            raise _again(kept.failure, left_s)
        refresh_token = kept.refresh_token or grant.refresh_token
        asked = Grant(grant.token_url, grant.client_id, grant.client_secret, refresh_token, grant.scope)
        try:
            granted = self._ask(asked)
        except IngestError as error:
            kept.failure = _again(error, error.after_s)
            kept.quiet_until = self._clock.monotonic() + max(error.after_s or 0.0, QUIET_S)
            raise
        kept.token, kept.failure = granted.token, None
        kept.until = self._clock.monotonic() + granted.lives_s - min(MARGIN_S, granted.lives_s / 2)
        kept.refresh_token = granted.refresh_token or kept.refresh_token
        return granted.token


def _again(error: IngestError, after_s: float | None) -> IngestError:
    """The same for another thread: an exception carries the way it was raised."""
    return type(error)(error.what, todo=error.todo, after_s=None if error.after_s is None else after_s)


def _digest(grant: Grant) -> bytes:
    parts = (grant.token_url, grant.client_id, grant.scope, grant.client_secret, grant.refresh_token)
    texts = (part.reveal() if isinstance(part, Secret) else part for part in parts)
    return hashlib.sha256(repr([*texts]).encode("utf-8", "surrogatepass")).digest()
