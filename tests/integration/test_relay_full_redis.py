"""A Redis at its maxmemory: the relay is what makes room again, so it goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
import redis
from integration.conftest import wait_for
from servers.webhook import FINE, WebhookServer
from sink_stands import event

from ingest.models import OutgoingEvent
from ingest.settings import Settings
from ingest.wiring import Services, build

STREAM = "mailsluice:{s0}:events"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as made:
        yield made
        made.config_set("maxmemory", 0)


def tell(client: redis.Redis, *told: OutgoingEvent) -> None:
    for each in told:
        client.xadd(STREAM, {"id": each.id, "type": each.type, "event": each.json})


def relaying(redis_url: str, server: WebhookServer) -> tuple[Services, threading.Event, threading.Thread]:
    stop = threading.Event()
    services = build(Settings(redis_url=redis_url, sink_url=server.url, relay_max_wait_s=0.2), drain=stop)
    thread = threading.Thread(target=services.relays[0].run)
    thread.start()
    return services, stop, thread


def test_a_full_redis_stops_no_relay_and_a_dead_letter_waits_for_room(redis_url: str, client: redis.Redis) -> None:
    poison, behind, others = event(1, "odd"), event(2, "odd"), [event(n, "fine") for n in range(20)]
    client.xgroup_create(STREAM, "relay", id="0", mkstream=True)
    tell(client, poison, behind, *others)
    client.config_set("maxmemory", 1)
    with WebhookServer() as server:
        server.answer = lambda request: (422, {}, b"") if request.body == poison.json else FINE
        services, stop, thread = relaying(redis_url, server)
        try:
            wait_for(lambda: len(server.taken) == 21, 20)
            wait_for(lambda: client.xpending(STREAM, "relay")["pending"] == 1, 20)
            assert list(services.dead_letters().all()) == []
            client.config_set("maxmemory", 0)
            wait_for(lambda: client.xpending(STREAM, "relay")["pending"] == 0, 20)
        finally:
            stop.set()
            thread.join(30)
        [letter] = services.dead_letters().all()
        services.close()
    assert letter.event == poison
    assert [json.loads(body)["data"]["n"] for body in server.taken if b"mailsluice/fine" in body] == list(range(20))
