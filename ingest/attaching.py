"""The attachments of one message: decoded into spools, looked at, put into storage.

Rules of this room:
- One attachment at a time is decoded, in bounded memory; a few are under way to the store meanwhile.
- A content that a message holds twice is put once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass

from ingest.errors import own_fault
from ingest.hands import Hands
from ingest.mime.decoders import decoded
from ingest.models import Part, StoredPart, Verdict
from ingest.ports import ObjectStore, Spool, SpoolFactory
from ingest.putting import attachment_key, put_spooled
from ingest.retry import Steps

_MAPPED_BYTES = 4 * 1024 * 1024
Beat = Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Underway:
    """A part whose content is on its way into storage."""

    part: Part
    key: str
    size: int
    sha256: str
    done: Future[Verdict | None]


class Attaching:
    """Stores attachments.

    Args:
        store: object storage.
        spools: where a decoded attachment waits for its put.
        steps: tries one put again while the store's error says SOON.
        at_once: puts of one message at once.
    """

    def __init__(self, *, store: ObjectStore, spools: SpoolFactory, steps: Steps, at_once: int) -> None:
        self._store = store
        self._spools = spools
        self._steps = steps
        self._at_once = at_once

    def attach(self, account_id: str, spool: Spool, parts: Iterable[Part], beat: Beat) -> tuple[StoredPart, ...]:
        """Store the parts of a sealed spool, in order. `beat` is called, in this thread, while octets move."""
        parts = tuple(parts)
        if not parts:
            return ()
        underway: list[_Underway] = []
        known: dict[str, Future[Verdict | None]] = {}
        with ExitStack() as later, Hands(min(self._at_once, len(parts)), beat) as hands:
            for part in parts:
                content = self._content(spool, part, beat)
                later.callback(content.close)
                underway.append(self._begin(account_id, part, content, hands, known))
        return tuple(self._stored(each) for each in underway)

    def _begin(
        self, account_id: str, part: Part, content: Spool, hands: Hands, known: dict[str, Future[Verdict | None]]
    ) -> _Underway:
        sha256, key = content.sha256.hex(), attachment_key(account_id, content.sha256)
        if key not in known:
            known[key] = hands.do(lambda move: self._put(key, content, move))
        known[key].add_done_callback(lambda _: content.close())
        return _Underway(part, key, content.size, sha256, known[key])

    def _put(self, key: str, content: Spool, move: Beat) -> Verdict | None:
        put_spooled(self._store, self._steps, key, content, "application/octet-stream", {}, move)
        return None

    def _stored(self, each: _Underway) -> StoredPart:
        return StoredPart(each.part, self._store.url(each.key), each.size, each.sha256, verdict=each.done.result())

    def _content(self, spool: Spool, part: Part, beat: Beat) -> Spool:
        """The decoded content of a part, sealed."""
        content = self._spools()
        try:
            mapped = 0
            for chunk in _chunks(spool, part):
                content.write(chunk)
                mapped += len(chunk)
                if mapped > _MAPPED_BYTES:  # what was read of a mapped file counts as our memory until given back
                    spool.give_back_pages()
                    mapped = 0
                beat()
            content.seal()
        except BaseException:
            content.close()
            raise
        return content


def _chunks(spool: Spool, part: Part) -> Iterator[bytes]:
    chunks = decoded(spool.buffer, part)
    while True:
        with own_fault("decoded"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk
