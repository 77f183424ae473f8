"""Events over HTTP: CloudEvents in structured mode, signed as Standard Webhooks (standardwebhooks.com) has it.

Rules of this room:
- 2xx confirms, and nothing else does. No redirect is followed; the address policy of `https` holds.
- 400, 413 and 422 are the event's own fault. All other refusals are the endpoint's: the next event fares no better.
- Accounts go side by side, the events of one in turn. A connection is kept for the next event; where a kept one proves
  dead before any answer, the event goes over a fresh one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

from urllib3.connection import HTTPConnection

from ingest.adapters.https import BROKEN, Connector, Deadlines, seconds_of
from ingest.errors import (
    AccountMisconfigured,
    CertificateRejected,
    EventRefused,
    HostUnreachable,
    IngestError,
    SinkRefused,
    SinkUnavailable,
)
from ingest.events.order import NOT_BEGUN, always, holds_up, lanes
from ingest.models import OutgoingEvent
from ingest.oauth import Endpoint
from ingest.ports import Clock

_ANSWER_BYTES = 64 * 1024
_EVENTS_FAULT = frozenset({400, 413, 422})
_PASSING = frozenset({408, 425, 429})
_TODO = "is it up, and MAILSLUICE_SINK_URL right?"


@dataclass
class _Trouble:
    """What one event met that all would meet now."""

    error: IngestError | None = None


class WebhookSink:
    """Implements `ports.EventSink`.

    Args:
        endpoint: where to.
        connector: opens connections to it.
        secrets: each signs; the first is the newest. None: nothing is signed.
        clock: for the signature's time and a Retry-After that is a date.
        deadline_s: for request and answer together.
        connections: accounts that are served at a time.
    """

    max_bytes: int | None = None

    def __init__(
        self,
        endpoint: Endpoint,
        connector: Connector,
        *,
        secrets: Sequence[bytes],
        clock: Clock,
        deadline_s: float,
        connections: int = 8,
    ) -> None:
        self._endpoint = endpoint
        self._connector = connector
        self._secrets = tuple(secrets)
        self._clock = clock
        self._deadline_s = deadline_s
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="webhook")
        self._deadlines = Deadlines()
        self._idle: list[HTTPConnection] = []
        self._lock = threading.Lock()

    def size(self, event: OutgoingEvent) -> int:
        return len(event.json)

    def send(self, events: Sequence[OutgoingEvent], go_on: Callable[[], bool] = always) -> Sequence[IngestError | None]:
        outcomes: list[IngestError | None] = [None] * len(events)
        trouble = _Trouble()

        def serve(lane: Sequence[int]) -> None:
            stopped: IngestError | None = None
            for at in lane:
                stopped = stopped or trouble.error or (None if go_on() else NOT_BEGUN)
                outcomes[at] = stopped or self._outcome(events[at], trouble)
                if holds_up(outcomes[at]):
                    stopped = outcomes[at]

        found = lanes(events)
        if len(found) == 1:
            serve(found[0])
        else:
            list(self._threads.map(serve, found))
        return outcomes

    def ping(self) -> None:
        """Connect, shake hands, and hang up."""
        self._open().close()

    def close(self) -> None:
        self._threads.shutdown()
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _outcome(self, event: OutgoingEvent, trouble: _Trouble) -> IngestError | None:
        if not (event.id.isascii() and event.id.isprintable()):  # somebody else's, and no header would take it
            return EventRefused("the event's id is not printable ASCII")
        try:
            status, retry_after = self._post(event)
        except IngestError as error:
            trouble.error = error
            return error
        host = self._endpoint.host
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        if status in _EVENTS_FAULT:
            return EventRefused(f"{host} refuses the event with {status}")
        if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            busy = SinkUnavailable(f"{host} answers {status}", after_s=seconds_of(retry_after, self._clock.now()))
            if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
                trouble.error = busy
            return busy
        why = "a redirect, which is not followed" if status < HTTPStatus.BAD_REQUEST else "it takes no events"
        trouble.error = SinkRefused(f"{host} answers {status}: {why}", todo="correct MAILSLUICE_SINK_URL")
        return trouble.error

    def _post(self, event: OutgoingEvent) -> tuple[int, str | None]:
        """Status and Retry-After."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            answer = self._exchange(kept, event)
            if answer is not None:
                return answer
        answer = self._exchange(self._open(), event)
        if answer is None:
            raise SinkUnavailable(f"{self._endpoint.host}: the connection broke", todo=_TODO)
        return answer

    def _exchange(self, connection: HTTPConnection, event: OutgoingEvent) -> tuple[int, str | None] | None:
        """None where the connection broke before any answer; SinkUnavailable where none came in time, or rubbish."""
        answer, broke = None, False
        with self._deadlines.cut_after(self._deadline_s, connection) as timed:
            try:
                connection.request(
                    "POST", self._endpoint.target, event.json, self._headers(event), preload_content=False
                )
                response = connection.getresponse()
                answer = response.status, response.headers.get("Retry-After")
                # Only a connection that was read to its answer's end is good for another.
                whole = len(response.read(_ANSWER_BYTES, decode_content=False)) < _ANSWER_BYTES
                if whole and connection.sock is not None and not timed.passed:
                    with self._lock:
                        self._idle.append(connection)
                    return answer
            except BROKEN as error:
                broke = isinstance(error, (ConnectionError, ssl.SSLError)) and not timed.passed
        connection.close()
        if answer is None and not broke:
            raise SinkUnavailable(f"{self._endpoint.host}: no answer in time, or none of HTTP", todo=_TODO)
        return answer

    def _headers(self, event: OutgoingEvent) -> dict[str, str]:
        headers = {
            "Host": self._endpoint.authority,
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "Accept-Encoding": "identity",
            "User-Agent": "mailsluice",
        }
        if self._secrets:
            at = str(int(self._clock.now().timestamp()))
            headers["webhook-id"] = event.id
            headers["webhook-timestamp"] = at
            headers["webhook-signature"] = " ".join(signature(key, event.id, at, event.json) for key in self._secrets)
        return headers

    def _open(self) -> HTTPConnection:
        try:
            return self._connector.open(self._endpoint)
        except HostUnreachable as error:
            raise SinkUnavailable(error.what, todo=_TODO) from None
        except (CertificateRejected, AccountMisconfigured) as error:
            raise SinkRefused(error.what, todo=error.todo) from None


def signature(key: bytes, id_: str, timestamp: str, body: bytes) -> str:
    """One signature of Standard Webhooks, version 1: HMAC-SHA256 over id, time and body."""
    digest = hmac.new(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
