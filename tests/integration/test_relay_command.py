"""`mailsluice relay` and what `doctor` says of the sink, over a real Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from servers.webhook import WebhookServer
from sink_stands import event

from ingest.cli.main import mailsluice
from ingest.settings import Settings
from ingest.wiring import Services, build

STREAM = "mailsluice:{%s}:events"


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with WebhookServer() as made:
        yield made


@pytest.fixture
def services(redis_url: str, server: WebhookServer) -> Services:
    return build(Settings(redis_url=redis_url, sink_url=server.url, shards=2, log_level="error", sink_timeout_s=5))


def run(services: Services, *arguments: str) -> Result:
    return CliRunner().invoke(mailsluice, list(arguments), obj=lambda: services)


def tell(services: Services) -> None:
    for n in range(10):
        told = event(n, f"a{n}")
        services.state.xadd(STREAM % f"s{n % 2}", {"id": told.id, "type": told.type, "event": told.json})


def test_once_it_sends_what_waits_in_all_shards_and_ends(services: Services, server: WebhookServer) -> None:
    tell(services)
    done = run(services, "relay", "--once", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {"sent": 10, "dead": 0, "left": 0, "busy": 0}
    assert len(server.taken) == 10


def test_once_with_a_sink_that_is_down_it_says_so_and_leaves_all_for_the_next_time(
    services: Services, server: WebhookServer
) -> None:
    tell(services)
    server.stop()
    done = run(services, "relay", "--once")
    assert done.exit_code == 1
    assert "0 sent, 0 to the dead letters, 10 left" in done.output
    assert "MAILSLUICE_SINK_URL" in done.output
    server.start()
    again = build(services.settings)
    assert run(again, "relay", "--once").output == "10 sent, 0 to the dead letters, 0 left\n"


def test_once_while_another_relay_works_it_leaves_it_to_that(services: Services, server: WebhookServer) -> None:
    tell(services)
    other = build(services.settings)
    assert all(other.turn(shard).take() for shard in range(2))
    done = run(services, "relay", "--once")
    assert done.exit_code == 0
    assert "another relay has 2 of 2 shards" in done.output
    assert server.taken == []
    other.close()


def test_what_is_refused_makes_its_exit_code_one(services: Services, server: WebhookServer) -> None:
    tell(services)
    server.answer = lambda _: (422, {}, b"")
    done = run(services, "relay", "--once")
    assert done.exit_code == 1
    assert "0 sent, 6 to the dead letters, 4 left" in done.output  # three a shard, for then it is the sink


def test_without_a_sink_it_says_which_setting_is_missing(redis_url: str) -> None:
    done = run(build(Settings(redis_url=redis_url)), "relay")
    assert done.exit_code == 2
    assert "MAILSLUICE_SINK_URL" in done.output


def test_doctor_asks_the_sink(services: Services, server: WebhookServer) -> None:
    assert "sink: reachable" in run(services, "doctor").output
    server.stop()
    down = run(build(services.settings), "doctor")
    assert down.exit_code == 1
    assert "sink: no connection to localhost" in down.output
