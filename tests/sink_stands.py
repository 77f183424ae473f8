"""Sinks with their other sides, for the contract suite: one class a kind.

Rules of this file:
- A stand sends to the real thing and reads there what arrived, with a client of its own.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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
    """A sink and its other side. `ordered`: the kind keeps an order."""

    ordered = True
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


@contextmanager
def memory(_: Callable[[str], Any]) -> Iterator[Stand]:
    yield MemoryStand()


@contextmanager
def webhook(_: Callable[[str], Any]) -> Iterator[Stand]:
    with WebhookServer() as server:
        stand = WebhookStand(server)
        yield stand
        stand.sink.close()


# Each opens a stand; the argument asks for a fixture by its name, so that a server starts only where it is used.
REAL = {"webhook": webhook}
STANDS = {"memory": memory, **REAL}
POISONABLE = ["memory", "webhook"]
