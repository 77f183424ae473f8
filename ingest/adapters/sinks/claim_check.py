"""Events that are too large for a sink go to object storage, and a claim check (a link) to the sink in their place.

Rules of this file:
- The claim check is the event without its `data`, same id and type, with CloudEvents' extension `dataref`: the URL of
  an object that holds the whole event.
- The object comes before the claim check. It is named by its content, so a repeat is the same object.
- Behind an event that could not be stored its account waits, as behind one that could not be sent.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from ingest.errors import EventRefused, IngestError
from ingest.events.order import NOT_BEGUN, account_of, always
from ingest.models import OutgoingEvent
from ingest.ports import EventSink, ObjectStore
from ingest.putting import event_key


class ClaimCheckSink:
    """Implements `ports.EventSink` over another one.

    Args:
        sink: where events go.
        store: opens the object store; asked at the first event that is too large.
    """

    max_bytes: int | None = None

    def __init__(self, sink: EventSink, store: Callable[[], ObjectStore]) -> None:
        self._sink = sink
        self._store = store

    def size(self, event: OutgoingEvent) -> int:
        return self._sink.size(event)

    def send(self, events: Sequence[OutgoingEvent], go_on: Callable[[], bool] = always) -> Sequence[IngestError | None]:
        try:
            limit = self._sink.max_bytes
        except IngestError as error:
            return [error] * len(events)
        if limit is None or all(self._sink.size(event) <= limit for event in events):
            return self._sink.send(events, go_on)
        outcomes: list[IngestError | None] = [None] * len(events)
        waiting: dict[str, IngestError] = {}
        places: list[int] = []
        fitting: list[OutgoingEvent] = []
        for at, event in enumerate(events):
            account = account_of(event)
            large = self._sink.size(event) > limit
            if large and account not in waiting and not go_on():
                waiting[account] = NOT_BEGUN
            if account not in waiting:
                try:
                    fitting.append(self._claim_check(event, account) if large else event)
                    places.append(at)
                    continue
                except EventRefused as error:
                    outcomes[at] = error
                    continue
                except IngestError as error:
                    waiting[account] = error
            outcomes[at] = waiting[account]
        for at, outcome in zip(places, self._sink.send(fitting, go_on), strict=True):
            outcomes[at] = outcome
        return outcomes

    def ping(self) -> None:
        self._sink.ping()

    def close(self) -> None:
        self._sink.close()

    def _claim_check(self, event: OutgoingEvent, account: str) -> OutgoingEvent:
        """Store the event; what is sent in its place."""
        try:
            envelope = json.loads(event.json)
            del envelope["data"]
            _encoded(envelope)  # half a surrogate pair is no text
        except (ValueError, TypeError, KeyError, RecursionError):
            raise EventRefused("the event is too large, and no CloudEvent with data to replace") from None
        digest = hashlib.sha256(event.json).digest()
        put = self._store().put(
            event_key(account or "-", digest),
            io.BytesIO(event.json),
            size=len(event.json),
            sha256=digest,
            content_type="application/cloudevents+json",
            metadata={},
        )
        envelope["dataref"] = put.url
        return OutgoingEvent(event.id, event.type, _encoded(envelope))


def _encoded(envelope: Any) -> bytes:  # noqa: ANN401 - whatever JSON was there
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
