"""Events to RabbitMQ, or what speaks AMQP 0-9-1 with its confirms, by kombu.

Rules of this file:
- Each message is persistent, mandatory, and awaited (publisher confirms): one that no queue takes comes back, and is an
  error. Of an account one is on its way at a time, else one that is refused would be overtaken.
- A queue that is not there is declared as a quorum queue. What is there is used as it is; an exchange must be there.
- A connection that broke is dropped; the next send opens another.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from amqp.exceptions import AMQPError, NotFound, PreconditionFailed
from kombu import Connection

from ingest.adapters.tls import why
from ingest.errors import EventRefused, IngestError, SinkRefused, SinkUnavailable
from ingest.events.order import NOT_BEGUN, always, in_waves
from ingest.models import OutgoingEvent

_REFUSALS = frozenset({402, 403, 404, 405, 406, 530})
_PERSISTENT = 2
_SHORT_TEXT = 255  # octets, of a header or a routing key in AMQP
_QUORUM = {"x-queue-type": "quorum"}
_UNCONFIRMED = "no confirm in time"
Outcome = IngestError | None


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker listens, and as whom to log in. `tls`: with the CA bundle in `ca_file`, or the system's."""

    host: str
    port: int
    user: str = field(repr=False)
    password: str = field(repr=False)
    vhost: str
    tls: bool = False
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A queue, else an exchange and a routing key (None: the event's type)."""

    queue: str | None = None
    exchange: str = ""
    routing_key: str | None = None


class AmqpSink:
    """Implements `ports.EventSink`.

    Args:
        broker: where to.
        route: which queue, or which exchange.
        timeout_s: to connect, and for the confirms of a batch.
    """

    max_bytes = 16 << 20  # what RabbitMQ takes unless it is told otherwise

    def __init__(self, broker: Broker, route: Route, timeout_s: float) -> None:
        self._broker = broker
        self._route = route
        self._timeout_s = timeout_s
        self._where = f"{broker.host}:{broker.port}"
        self._lock = Lock()
        self._session: _Session | None = None

    def size(self, event: OutgoingEvent) -> int:
        return len(event.json)

    def send(self, events: Sequence[OutgoingEvent], go_on: Callable[[], bool] = always) -> Sequence[IngestError | None]:
        with self._lock:
            return in_waves(events, lambda wave: self._send(wave, go_on), go_on)

    def ping(self) -> None:
        """Open a connection, and look for queue or exchange."""
        with self._lock:
            try:
                self._open()
            except (AMQPError, OSError) as error:
                raise self._translated(error) from None
            finally:
                self._drop()

    def close(self) -> None:
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                _quietly_closed(session.connection)

    def _send(self, wave: Sequence[OutgoingEvent], go_on: Callable[[], bool]) -> Sequence[Outcome]:
        fitting = [event for event in wave if _fits(event)]
        said = iter(self._publish(fitting, go_on) if fitting else ())
        return [next(said) if _fits(event) else EventRefused("no header takes its id or type") for event in wave]

    def _publish(self, wave: Sequence[OutgoingEvent], go_on: Callable[[], bool]) -> Sequence[Outcome]:
        try:
            session = self._session or self._open()
        except (AMQPError, OSError) as error:  # a 406, too: whatever it is, no event was looked at
            self._drop()
            return [self._translated(error)] * len(wave)
        try:
            return [self._outcome(said) for said in session.publish(wave, self._route, self._timeout_s)]
        except PreconditionFailed as error:  # a message is too large, and which one is not said
            self._drop()
            if len(wave) == 1:
                return [EventRefused(f"{self._where}: {error.reply_text}")]
            return [o for event in wave for o in (self._publish([event], go_on) if go_on() else [NOT_BEGUN])]
        except (AMQPError, OSError) as error:
            self._drop()
            return [self._translated(error)] * len(wave)

    def _outcome(self, said: str | None) -> Outcome:
        if said is None:
            return None
        if said == _UNCONFIRMED:
            self._drop()
        return SinkUnavailable(f"{self._where}: {said}", todo="see whether a queue takes what is sent, and its limits")

    def _open(self) -> _Session:
        self._drop()
        connection = self._connection()
        try:
            connection.connect()
            channel: Any = connection.channel()
            channel = self._found(connection, channel)
            self._session = _Session(connection, channel)
        except BaseException:
            _quietly_closed(connection)
            raise
        return self._session

    def _connection(self) -> Connection:
        broker = self._broker
        tls = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": broker.host, "ca_certs": broker.ca_file}
        return Connection(
            transport="pyamqp",
            hostname=broker.host,
            port=broker.port,
            userid=broker.user,
            password=broker.password,
            virtual_host=broker.vhost,
            connect_timeout=self._timeout_s,
            ssl=tls if broker.tls else False,
            transport_options={"read_timeout": self._timeout_s, "write_timeout": self._timeout_s},
        )

    def _found(self, connection: Connection, channel: Any) -> Any:  # noqa: ANN401 - kombu's stubs know it half
        """The channel once queue or exchange is there; another one where asking closed it."""
        if self._route.queue is None:
            channel.exchange_declare(self._route.exchange, "", passive=True)
            return channel
        try:
            channel.queue_declare(self._route.queue, passive=True)
        except NotFound:
            channel = connection.channel()
            channel.queue_declare(self._route.queue, durable=True, auto_delete=False, arguments=_QUORUM)
        return channel

    def _translated(self, error: Exception) -> IngestError:
        code = getattr(error, "reply_code", None)
        if code in _REFUSALS:
            return SinkRefused(
                f"{self._where}: {code} {getattr(error, 'reply_text', '')}",
                todo="correct MAILSLUICE_SINK_URL, or what that user may do",
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            return SinkRefused(
                f"{self._where}: certificate is refused: {error.verify_message}",
                todo="set MAILSLUICE_CA_FILE, or renew the certificate",
            )
        reason = why(error) if isinstance(error, OSError) else str(error)
        return SinkUnavailable(f"{self._where}: {reason}", todo="is it up, and MAILSLUICE_SINK_URL right?")

    def _drop(self) -> None:
        """Without a goodbye: a connection that broke would be waited for."""
        session, self._session = self._session, None
        if session is not None:
            session.abandon()


class _Session:
    """A connection, a channel in confirm mode, and what is not confirmed yet.

    Args:
        connection, channel: open ones.
    """

    def __init__(self, connection: Connection, channel: Any) -> None:  # noqa: ANN401 - kombu's stubs know it half
        self.connection = connection
        self._wire: Any = connection.connection
        self._channel = channel
        self._tag = 0
        self._said: dict[int, str | None] = {}
        self._waiting: set[int] = set()
        self._returned: dict[str, str] = {}
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        channel.confirm_select()

    def publish(self, wave: Sequence[OutgoingEvent], route: Route, timeout_s: float) -> list[str | None]:
        """What was said of each: None where it was confirmed."""
        first = self._tag + 1
        self._said, self._returned = {}, {}
        for event in wave:
            self._tag += 1
            self._waiting.add(self._tag)
            message = self._channel.prepare_message(
                event.json,
                content_type="application/cloudevents+json",
                content_encoding="utf-8",
                properties={
                    "delivery_mode": _PERSISTENT,
                    "message_id": event.id,
                    "type": event.type,
                    "app_id": "mailsluice",
                },
            )
            key = route.queue or route.routing_key or event.type
            self._channel.basic_publish(message, exchange=route.exchange, routing_key=key, mandatory=True)
        until = time.monotonic() + timeout_s
        while self._waiting and (left_s := until - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=left_s)
        return [
            self._returned.get(event.id) or self._said.get(tag, _UNCONFIRMED) for tag, event in enumerate(wave, first)
        ]

    def abandon(self) -> None:
        """Close the socket, and say nothing."""
        with contextlib.suppress(Exception):  # whatever a broken connection raises on its way out
            self._wire.collect()

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._settle(tag, None, multiple=multiple)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._settle(tag, "it takes no more now (nack)", multiple=multiple)

    def _on_return(self, error: Any, _exchange: str, key: str, message: Any) -> None:  # noqa: ANN401 - the library's
        id_ = str(message.properties.get("message_id", ""))
        self._returned[id_] = f"no queue takes it (routing key {key}: {error.reply_text})"

    def _settle(self, tag: int, said: str | None, *, multiple: bool) -> None:
        for settled in [each for each in self._waiting if each == tag or (multiple and each <= tag)]:
            self._waiting.discard(settled)
            self._said[settled] = said


def _fits(event: OutgoingEvent) -> bool:
    return all(len(text.encode("utf-8", "replace")) <= _SHORT_TEXT for text in (event.id, event.type))


def _quietly_closed(connection: Connection) -> None:
    with contextlib.suppress(Exception):  # likewise
        connection.release()
