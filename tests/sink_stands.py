"""Sinks with their other sides, for the contract suite: one class a kind.

Rules of this file:
- A stand sends to the real thing and reads there what arrived, with a client of its own.
"""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import kombu
import pytest
from amqp.exceptions import NotFound
from servers.line import Line
from servers.moto import ACCOUNT, REGION, MotoServer
from servers.rabbitmq import MAX_MESSAGE_BYTES, RabbitServer
from servers.webhook import FINE, WebhookServer

from ingest.adapters.clock import SystemClock
from ingest.adapters.sinks.memory import MemorySink
from ingest.errors import EventRefused, SinkUnavailable
from ingest.models import OutgoingEvent
from ingest.ports import EventSink
from ingest.settings import Settings
from ingest.wiring.sinks import open_sink

POISON = "f" * 32


def event(n: int, account: str = "a", *, id_: str | None = None, text: str = "") -> OutgoingEvent:
    """An event as the stream holds it, number `n` of its account."""
    id_ = id_ or f"{account.encode().hex()[:20]:>20}{n:012x}".replace(" ", "0")
    type_ = "mailsluice.message.received.v1"
    head = {"specversion": "1.0", "id": id_, "source": f"mailsluice/{account}", "type": type_}
    data = {"account": account, "n": n, "subject": f"Grüße 📬 {n}", "text": text}
    body = {**head, "datacontenttype": "application/json", "data": data}
    return OutgoingEvent(id_, type_, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


def opened(url: str, **settings: object) -> EventSink:
    given: dict[str, Any] = {"sink_url": url, "sink_timeout_s": 5, **settings}
    return open_sink(Settings(**given), SystemClock())


class Stand(ABC):
    """A sink and its other side. `ordered`: the kind keeps an order; `many`: events that it bears in a test."""

    ordered = True
    many = 1000
    sink: EventSink
    url: str = ""

    def environment(self) -> dict[str, str]:
        """What a process needs to send there."""
        return {"MAILSLUICE_SINK_URL": self.url, "MAILSLUICE_SINK_TIMEOUT_S": "5"}

    @abstractmethod
    def taken(self, count: int) -> list[bytes]:
        """What arrived, once it is so much or more; all of it so far if it never is."""

    @abstractmethod
    def down(self) -> None:
        """Nobody listens any more."""

    @abstractmethod
    def up(self) -> None:
        """Listens again, with all that it had confirmed."""

    def poison(self) -> OutgoingEvent:
        """An event that the other side refuses for what it is, where there is one."""
        return event(0, "poison", id_=POISON)


class MemoryStand(Stand):
    def __init__(self) -> None:
        self.sink = self._memory = MemorySink()
        self._memory.fault = lambda e: EventRefused("poison") if e.id == POISON else None

    def taken(self, count: int) -> list[bytes]:
        return [e.json for e in self._memory.taken]

    def down(self) -> None:
        self._memory.fault = lambda _: SinkUnavailable("down")

    def up(self) -> None:
        self._memory.fault = lambda _: None


class WebhookStand(Stand):
    def __init__(self, server: WebhookServer) -> None:
        self._server, self.url = server, server.url
        self.sink = opened(server.url)
        server.answer = lambda request: (422, {}, b"no") if POISON.encode() in request.body else FINE

    def taken(self, count: int) -> list[bytes]:
        return list(self._server.taken)

    def down(self) -> None:
        self._server.stop()

    def up(self) -> None:
        self._server.start()


class QueueStand(Stand):
    """An SQS queue at moto; with a topic, one that is subscribed to it."""

    many = 100  # moto looks at each message of a queue in each request

    def __init__(self, server: MotoServer, line: Line, patch: pytest.MonkeyPatch, *, fifo: bool, topic: bool) -> None:
        self.ordered = fifo
        self._line, self._client, self._sent = line, server.client("sqs"), list[bytes]()
        end = ".fifo" if fifo else ""
        name = secrets.token_hex(6) + end
        attributes = {"FifoQueue": "true"} if fifo else {}
        self._queue = self._client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.url = f"sqs://{ACCOUNT}/{name}"
        if topic:
            self._subscribe(server, name, attributes)
        for variable, value in self._variables().items():
            patch.setenv(variable, value)
        self.sink = opened(self.url)

    def _subscribe(self, server: MotoServer, name: str, attributes: dict[str, str]) -> None:
        sns = server.client("sns")
        self.url = f"sns://{ACCOUNT}/{name}"
        arn = sns.create_topic(
            Name=name, Attributes={key.replace("Queue", "Topic"): v for key, v in attributes.items()}
        )
        sns.subscribe(
            TopicArn=arn["TopicArn"],
            Protocol="sqs",
            Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
            Attributes={"RawMessageDelivery": "true"},
        )

    def _variables(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._line.port}",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AK",
            "AWS_SECRET_ACCESS_KEY": "SK",
        }

    def environment(self) -> dict[str, str]:
        return super().environment() | self._variables()

    def taken(self, count: int) -> list[bytes]:
        while found := self._client.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            self._sent += [message["Body"].encode() for message in found]
            done = [{"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at, message in enumerate(found)]
            self._client.delete_message_batch(QueueUrl=self._queue, Entries=done)
        return list(self._sent)

    def down(self) -> None:
        self._line.cut()

    def up(self) -> None:
        self._line.mend()

    def poison(self) -> OutgoingEvent:
        return event(0, "poison", id_=POISON, text="x" * (1 << 20))


class RabbitStand(Stand):
    """A queue of its own at a RabbitMQ."""

    def __init__(self, server: RabbitServer) -> None:
        self._server, self._queue, self._sent = server, secrets.token_hex(6), list[bytes]()
        self.url = f"{server.url}?queue={self._queue}"
        self.sink = opened(self.url)
        self.sink.ping()
        self._since = time.monotonic()

    def taken(self, count: int) -> list[bytes]:
        with kombu.Connection(self._server.url) as connection:
            channel: Any = connection.channel()
            try:
                while message := channel.basic_get(self._queue):
                    self._sent.append(message.body if isinstance(message.body, bytes) else message.body.encode())
                    channel.basic_ack(message.delivery_tag)
            except NotFound:
                assert not self._sent
        return list(self._sent)

    def down(self) -> None:
        """RabbitMQ notes twice a second on disk which quorum queues there are: not a younger one is meant here."""
        time.sleep(max(0.0, self._since + 1.5 - time.monotonic()))
        self._server.kill()

    def up(self) -> None:
        self._server.start()

    def poison(self) -> OutgoingEvent:
        return event(0, "poison", id_=POISON, text="x" * (MAX_MESSAGE_BYTES + 1))


@contextmanager
def amqp(fixture: Callable[[str], Any]) -> Iterator[Stand]:
    server = fixture("rabbit_server")
    server.start()
    stand = RabbitStand(server)
    yield stand
    stand.sink.close()


@contextmanager
def memory(_: Callable[[str], Any]) -> Iterator[Stand]:
    yield MemoryStand()


@contextmanager
def webhook(_: Callable[[str], Any]) -> Iterator[Stand]:
    with WebhookServer() as server:
        stand = WebhookStand(server)
        yield stand
        stand.sink.close()


def _at_moto(*, fifo: bool, topic: bool) -> Callable[[Callable[[str], Any]], AbstractContextManager[Stand]]:
    @contextmanager
    def opened(fixture: Callable[[str], Any]) -> Iterator[Stand]:
        server = fixture("moto_server")
        with Line(server.port) as line:
            stand = QueueStand(server, line, fixture("monkeypatch"), fifo=fifo, topic=topic)
            yield stand
            stand.sink.close()

    return opened


# Each opens a stand; the argument asks for a fixture by its name, so that a server starts only where it is used.
REAL = {
    "webhook": webhook,
    "amqp": amqp,
    "sqs": _at_moto(fifo=False, topic=False),
    "sqs-fifo": _at_moto(fifo=True, topic=False),
    "sns": _at_moto(fifo=False, topic=True),
    "sns-fifo": _at_moto(fifo=True, topic=True),
}
BROKEN = ["webhook", "amqp", "sqs-fifo"]  # those that are broken in the middle
STANDS = {"memory": memory, **REAL}
POISONABLE = list(STANDS)
