"""ONE message: from its spool to object storage to the event that tells of it. The commit is the poll's.

Rules of this room:
- Objects before events: nothing is told of what is not stored. Puts are idempotent, so every step may be repeated.
- Whatever goes wrong in parsing is the message's fault, with a name; whatever the store says is not.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from ingest.attaching import Attaching
from ingest.errors import IngestError, own_fault
from ingest.events import build
from ingest.events.models import EventType
from ingest.hands import Crew
from ingest.mime.deadline import Deadline
from ingest.mime.envelope import newest_received, read_envelope
from ingest.mime.identity import identity_digest, unparsed_identity
from ingest.mime.limits import MimeLimits
from ingest.mime.reader import read_message
from ingest.models import Account, Envelope, MessageRef, OutgoingEvent, ParsedMessage
from ingest.ports import Clock, ObjectStore, Put, Spool, SpoolFactory
from ingest.putting import identity_key, put_spooled, raw_key
from ingest.retry import Steps
from ingest.scanning import Scanning


@dataclass(frozen=True, slots=True)
class Processed:
    """A message in object storage and its event, not yet committed.

    `existed`: this content lay in storage before, be it with other Status headers. `identity` is the 32-octet identity
    digest.
    """

    event: OutgoingEvent
    identity: bytes
    existed: bool
    attachments: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The event of a message that was not processed, and what a person is shown of it. `raw`: its key, if stored."""

    event: OutgoingEvent
    subject: str | None
    raw: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """A spooled message after parsing, before anything is stored."""

    parsed: ParsedMessage
    identity: bytes


class Pipeline:
    """Turns spooled messages into stored objects and events.

    Args:
        store: object storage.
        spools: where a decoded attachment waits for its put.
        clock: for `time`.
        mime_limits: what the reader allows.
        event_max_bytes: what an event may take as JSON.
        steps: tries one put again while the store's error says SOON.
        scanning: asked about each attachment; None where no scanner is set.
        crew: who waits for store and scanner; without one the caller does, in order.
        cpu_s: seconds of CPU that the calling thread has taken so far.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        spools: SpoolFactory,
        clock: Clock,
        mime_limits: MimeLimits,
        event_max_bytes: int,
        steps: Steps,
        scanning: Scanning | None = None,
        crew: Crew | None = None,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._crew = crew or Crew()
        self._attaching = Attaching(
            store=store, spools=spools, steps=steps, limits=mime_limits, scanning=scanning, crew=self._crew
        )
        self._store = store
        self._clock = clock
        self._limits = mime_limits
        self._event_max_bytes = event_max_bytes
        self._steps = steps
        self._cpu_s = cpu_s

    def read(self, spool: Spool) -> Read:
        """Parse a sealed spool; MessageUnprocessable if that fails, whatever the reason."""
        try:
            with own_fault("parsed"):
                parsed = read_message(spool.buffer, self._limits, Deadline(self._limits.cpu_s, self._cpu_s))
                return Read(parsed, identity_digest(spool.buffer, parsed.header_end, spool.sha256))
        finally:
            spool.give_back_pages()

    def process(
        self,
        account: Account,
        ref: MessageRef,
        spool: Spool,
        read: Read,
        *,
        first_seen: datetime,
        beat: Callable[[], None],
        replay: bool = False,
    ) -> Processed:
        """Store attachments and the raw message, and build the event. `beat` is called meanwhile.

        In a replay the raw message lies in storage, since that is where it came from.
        """
        attached = self._attaching.attach(account.id, spool, read.parsed.attachments, beat)
        parsed = read.parsed
        if attached.defects:
            parsed = replace(parsed, defects=(*parsed.defects, *attached.defects)[: self._limits.defects])
        with own_fault("told of"):
            event = build.received(
                account,
                ref.uidl,
                parsed,
                identity=read.identity,
                raw=self._raw_object(account.id, spool),
                parts=attached.parts,
                first_seen=first_seen,
                time=self._clock.now(),
                max_bytes=self._event_max_bytes,
                replay=replay,
            )
        existed = replay or self._store_raw(account.id, spool, _for_replay(account.id, ref, event, first_seen), beat)
        if read.identity != spool.sha256:
            existed = self._remember(account.id, read.identity, spool.sha256, beat) or existed
        return Processed(event, read.identity, existed, len(attached.parts))

    def remembers(self, account_id: str, identity: bytes, beat: Callable[[], None]) -> bool:
        """Whether this content was stored before with headers that mail stores rewrite."""
        return self._is_there(identity_key(account_id, identity), beat)

    def quarantined(
        self,
        account: Account,
        ref: MessageRef,
        spool: Spool | None,
        error: IngestError,
        *,
        first_seen: datetime,
        beat: Callable[[], None],
    ) -> Refused:
        """Store the raw message if there is one, and build the event that says why it could not be processed."""
        head = bytes(spool.buffer[: self._limits.header_block_bytes]) if spool else b""
        told = self._unprocessed(
            EventType.QUARANTINED,
            account,
            ref.uidl,
            size=spool.size if spool else ref.size,
            head=head,
            error=error,
            spool=spool,
        )
        if spool is not None:
            self._store_raw(account.id, spool, _for_replay(account.id, ref, told.event, first_seen), beat)
        return told

    def skipped(self, account: Account, ref: MessageRef, head: bytes | None, error: IngestError) -> Refused:
        """The event of a message that is left on the server, with what its headers say."""
        return self._unprocessed(
            EventType.SKIPPED, account, ref.uidl, size=ref.size, head=head or b"", error=error, spool=None
        )

    def _unprocessed(
        self,
        type_: EventType,
        account: Account,
        uidl: bytes | None,
        *,
        size: int,
        head: bytes,
        error: IngestError,
        spool: Spool | None,
    ) -> Refused:
        envelope = self._envelope(head)
        event = build.unprocessed(
            type_,
            account,
            uidl,
            size=size,
            identity=unparsed_identity(spool.buffer, spool.sha256) if spool else None,
            envelope=envelope,
            reason=error.code,
            detail=error.what,
            block=None if spool else head.partition(b"\r\n\r\n")[0],
            raw=self._raw_object(account.id, spool) if spool else None,
            time=self._clock.now(),
            max_bytes=self._event_max_bytes,
        )
        return Refused(event, envelope.subject, raw_key(account.id, spool.sha256) if spool else None)

    def received_time(self, head: bytes) -> datetime | None:
        """The newest Received date of a header block."""
        try:
            return newest_received(head, self._limits)
        except Exception:  # noqa: BLE001  # as below
            return None

    def _envelope(self, head: bytes) -> Envelope:
        try:
            return read_envelope(head, self._limits)
        except Exception:  # noqa: BLE001  # an envelope is a courtesy here; the message has failed already
            return Envelope()

    def _raw_object(self, account_id: str, spool: Spool) -> build.RawObject:
        url = self._store.url(raw_key(account_id, spool.sha256))
        return build.RawObject(url, spool.size, spool.sha256.hex())

    def _store_raw(self, account_id: str, spool: Spool, metadata: Mapping[str, str], beat: Callable[[], None]) -> bool:
        key = raw_key(account_id, spool.sha256)
        return self._crew.wait(
            beat,
            lambda move: put_spooled(self._store, self._steps, key, spool, "message/rfc822", metadata, move),
        ).existed

    def _is_there(self, key: str, beat: Callable[[], None]) -> bool:
        return self._crew.wait(beat, lambda move: self._steps.beating(move)(self._store.head, key)) is not None

    def _remember(self, account_id: str, identity: bytes, sha256: bytes, beat: Callable[[], None]) -> bool:
        """Leave a small object under the identity, so that the same content is known when a store rewrote its headers.

        True if it was known before.
        """
        content = raw_key(account_id, sha256).encode()
        key = identity_key(account_id, identity)

        def put() -> Put:
            return self._store.put(
                key,
                io.BytesIO(content),
                size=len(content),
                sha256=hashlib.sha256(content).digest(),
                content_type="text/plain",
                metadata={},
            )

        existed = self._crew.wait(beat, lambda move: self._steps.beating(move)(put)).existed
        return existed or self._is_there(raw_key(account_id, identity), beat)


def _for_replay(account_id: str, ref: MessageRef, event: OutgoingEvent, first_seen: datetime) -> dict[str, str]:
    """The raw object's metadata: what replay reads (see rawmail.py), and nothing personal."""
    return {
        "account": account_id,
        "uidl": quote(ref.uidl or b"", safe=""),
        "event-id": event.id,
        "first-seen": first_seen.isoformat(),
    }
