"""A sink that is down for longer than the stream has room: polling stops, and goes on by itself; nothing is lost."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest
from house import PASSWORD, house, mail
from integration.conftest import wait_for
from servers.webhook import WebhookServer

from ingest.adapters.redis_room import StreamRoom
from ingest.models import Outcome
from ingest.settings import Settings
from ingest.wiring import build

CAP, MESSAGES = 200_000, 60
BODY = "A line of sixty-two octets, so that a message takes some room.\r\n" * 80


def test_polling_stops_while_the_sink_is_down_and_goes_on_once_it_is_back(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_PASSWORD", PASSWORD)
    server, stop = WebhookServer().start(), threading.Event()
    server.stop()
    settings = Settings(redis_url=redis_url, sink_url=server.url, stream_max_bytes=CAP, relay_max_wait_s=0.2)
    services = build(settings, drain=stop)
    [relay] = services.relays
    relaying = threading.Thread(target=relay.run)
    with house() as h:
        h.lease, h.ledger, h.schedule = services.lease, services.ledger, services.schedule  # type: ignore[assignment]
        h.schedule.add(["a"])
        for n in range(MESSAGES):
            h.maildrop.deliver(mail(f"no. {n}", BODY))
        relaying.start()
        try:
            wait_for(lambda: bool(services.events.groups()), 10)
            polls = [h.poll()]
            assert polls[0].failure is not None
            assert polls[0].failure.code == "state_full"
            assert polls[0].events < MESSAGES
            assert services.events.pressure()[0] > settings.dispatch_stop_share

            server.start()
            room = StreamRoom(services.state, services.keys, max_bytes=CAP, retention_s=3600)
            while polls[-1].outcome is not Outcome.DONE:
                assert len(polls) < 50
                wait_for(lambda: sum(group.waiting_bytes for group in services.events.groups()) == 0, 20)
                room.trim()
                polls.append(h.poll())
            wait_for(lambda: len(server.taken) >= MESSAGES, 20)
        finally:
            stop.set()
            relaying.join(30)
            server.stop()
            services.close()
    subjects = Counter(json.loads(body)["data"]["subject"] for body in server.taken)
    assert subjects == Counter(f"no. {n}" for n in range(MESSAGES))
