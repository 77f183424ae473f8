"""The attachments of one message: decoded into spools, looked at, put into storage; a winmail.dat with what is in it.

Rules of this room:
- One attachment at a time is decoded, in bounded memory; a few are under way to the store meanwhile.
- A content that a message holds twice is scanned and put once.
- What lies in a winmail.dat counts towards the message's limits of parts and of messages within each other: an octet is
  put once for each of those, and so no more than `nested_messages` + 3 times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ingest.errors import own_fault
from ingest.hands import Crew, Hands
from ingest.mime.decoders import decoded
from ingest.mime.defects import DefectLog
from ingest.mime.detection import HEAD_BYTES, detected_type
from ingest.mime.limits import MimeLimits
from ingest.mime.tnef import read_tnef
from ingest.models import Defect, Label, Part, StoredPart, Verdict
from ingest.ports import ObjectStore, Spool, SpoolFactory
from ingest.putting import attachment_key, put_spooled
from ingest.retry import Steps
from ingest.scanning import Scanning

_MAPPED_BYTES = 4 * 1024 * 1024
_OPENED = 4  # winmail.dats of one message; the others stay closed, so that reading them is bounded, too
Beat = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Attached:
    """The stored attachments of a message, in order, and what was wrong within a winmail.dat."""

    parts: tuple[StoredPart, ...] = ()
    defects: tuple[Defect, ...] = ()


@dataclass(frozen=True, slots=True)
class _Underway:
    """A part whose content is on its way into storage."""

    part: Part
    key: str
    size: int
    sha256: str
    detected_type: str | None
    verdict: Future[Verdict | None]
    again: bool

    def then_close(self, content: Spool) -> None:
        """Give a content back once it lies in storage; one that came before is on its way already."""
        if self.again:
            content.close()
        else:
            self.verdict.add_done_callback(lambda _: content.close())


class Attaching:
    """Stores attachments.

    Args:
        store: object storage.
        spools: where a decoded attachment waits for its put.
        steps: tries one put again while the store's error says SOON.
        limits: how much of a winmail.dat is taken seriously.
        scanning: asked about each attachment before it is put; None where no scanner is set.
        crew: who scans and puts, a few at once.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        spools: SpoolFactory,
        steps: Steps,
        limits: MimeLimits,
        scanning: Scanning | None,
        crew: Crew,
    ) -> None:
        self._store = store
        self._spools = spools
        self._steps = steps
        self._limits = limits
        self._scanning = scanning
        self._crew = crew

    def attach(self, account_id: str, spool: Spool, parts: Sequence[Part], beat: Beat) -> Attached:
        """Store the parts of a sealed spool, in order. `beat` is called in this thread."""
        if not parts:
            return Attached()
        underway: list[_Underway] = []
        known: dict[str, Future[Verdict | None]] = {}
        log = DefectLog(self._limits)
        opened = 0
        steps = self._limits.parts if any(part.label is Label.TNEF for part in parts) else len(parts)
        with ExitStack() as closing, self._crew.hands(beat, steps=steps) as hands:

            def begin(part: Part, source: Spool) -> tuple[_Underway, Spool]:
                content = self._content(source, part, beat)
                closing.callback(content.close)
                underway.append(self._begin(account_id, part, content, hands, known))
                return underway[-1], content

            for position, part in enumerate(parts, start=1):
                begun, content = begin(part, spool)
                if part.label is Label.TNEF:
                    opened += 1
                    left = self._limits.parts - len(underway) - (len(parts) - position)
                    limits = replace(
                        self._limits,
                        parts=max(left, 0) if opened <= _OPENED else 0,
                        nested_messages=max(self._limits.nested_messages - _messages_around(part, parts), 0),
                    )
                    for child in self._within(part, content, log, limits):
                        inner, octets = begin(child, content)
                        inner.then_close(octets)
                begun.then_close(content)
        return Attached(tuple(self._stored(each) for each in underway), log.found())

    def _within(self, part: Part, content: Spool, log: DefectLog, limits: MimeLimits) -> tuple[Part, ...]:
        """What lies in a winmail.dat, as spans over its content."""
        with own_fault("expanded"):
            return read_tnef(content.buffer, part.number, limits, log)

    def _begin(
        self, account_id: str, part: Part, content: Spool, hands: Hands, known: dict[str, Future[Verdict | None]]
    ) -> _Underway:
        sha256, key = content.sha256.hex(), attachment_key(account_id, content.sha256)
        with content.open() as body:
            head = body.read(HEAD_BYTES)
        again = key in known
        if not again:
            known[key] = hands.do(lambda move: self._put(key, part, content, move))
        return _Underway(part, key, content.size, sha256, detected_type(head), known[key], again)

    def _put(self, key: str, part: Part, content: Spool, move: Beat) -> Verdict | None:
        verdict = None if self._scanning is None else self._scanning.verdict(content, part, move)
        put_spooled(self._store, self._steps, key, content, "application/octet-stream", {}, move)
        return verdict

    def _stored(self, each: _Underway) -> StoredPart:
        url = self._store.url(each.key)
        return StoredPart(each.part, url, each.size, each.sha256, each.detected_type, each.verdict.result())

    def _content(self, source: Spool, part: Part, beat: Beat) -> Spool:
        """The decoded content of a part of a sealed spool, sealed."""
        content = self._spools()
        try:
            mapped = 0
            for chunk in _chunks(source, part):
                content.write(chunk)
                mapped += len(chunk)
                if mapped > _MAPPED_BYTES:  # what was read of a mapped file counts as our memory until given back
                    source.give_back_pages()
                    mapped = 0
                beat()
            content.seal()
        except BaseException:
            content.close()
            raise
        return content


def _messages_around(part: Part, parts: Sequence[Part]) -> int:
    parents = {each.number: each.parent for each in parts}
    count, number = 0, part.parent
    while number is not None:
        count, number = count + 1, parents.get(number)
    return count


def _chunks(spool: Spool, part: Part) -> Iterator[bytes]:
    chunks = decoded(spool.buffer, part)
    while True:
        with own_fault("decoded"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk
