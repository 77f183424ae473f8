"""TLS sessions to be resumed: they spare both sides the certificates, and in TLS 1.2 a round trip.

Rules of this room:
- A session stands for a certificate that was verified: it is offered to the same peer under the same rules only, for
  an hour at most, never beyond the certificate's end. Then the certificate is looked at again.
- Only the session of a full handshake is kept. To take each new ticket of a resumed one costs as much CPU as resuming
  saves (Python copies a session by encoding and decoding it), and no certificate would ever be looked at again.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, replace

_PEERS = 1024
_KEPT_S = 3600.0
_REFUSALS = 3


@dataclass(frozen=True, slots=True)
class _Kept:
    session: ssl.SSLSession | None
    until: float
    refusals: int = 0


class TlsSessions:
    """The last session of each peer; the oldest peers are forgotten beyond a limit. Safe to share between threads."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}
        self._lock = threading.Lock()

    def of(self, peer: Hashable) -> ssl.SSLSession | None:
        """What to offer this peer."""
        with self._lock:
            kept = self._kept.get(peer)
            if kept is None:
                return None
            if time.monotonic() < kept.until:
                return kept.session
            del self._kept[peer]
            return None

    def keep(self, peer: Hashable, shaken: ssl.SSLSocket, *, offered: bool, left_s: float) -> None:
        """Remember the session of a connection that ends, and that began with a full handshake.

        Args:
            peer: with everything that the verification depended on.
            shaken: the connection; in TLS 1.3 what may be resumed came after the handshake.
            offered: whether it began with an offer to resume.
            left_s: until the certificate ends.
        """
        with self._lock:
            kept = self._kept.get(peer)
        if kept is not None and kept.session is None:
            return
        refusals = (kept.refusals if kept else 0) + offered
        if refusals >= _REFUSALS:  # it never resumes: to go on offering costs CPU and brings nothing
            self._store(peer, _Kept(None, time.monotonic() + _KEPT_S))
            return
        session = shaken.session
        if session is not None:
            lifetime_s = (session.has_ticket and session.ticket_lifetime_hint) or session.timeout
            self._store(peer, _Kept(session, time.monotonic() + min(_KEPT_S, lifetime_s, left_s), refusals))

    def resumed(self, peer: Hashable) -> None:
        """The peer took the session that it was offered."""
        with self._lock:
            kept = self._kept.get(peer)
            if kept is not None and kept.refusals:
                self._kept[peer] = replace(kept, refusals=0)

    def drop(self, peer: Hashable) -> None:
        """Never offer it again."""
        with self._lock:
            self._kept.pop(peer, None)

    def _store(self, peer: Hashable, kept: _Kept) -> None:
        with self._lock:
            self._kept.pop(peer, None)
            self._kept[peer] = kept
            while len(self._kept) > _PEERS:
                del self._kept[next(iter(self._kept))]
