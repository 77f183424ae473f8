"""What is true of RabbitMQ alone: routes, messages that come back, refusals, TLS."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import kombu
import pytest
from amqp.exceptions import PreconditionFailed
from kombu.transport.pyamqp import Channel
from servers.rabbitmq import RabbitServer
from sink_stands import event, opened

from ingest.errors import EventRefused, SinkRefused, SinkUnavailable


@pytest.fixture
def name() -> str:
    return secrets.token_hex(6)


@pytest.fixture
def rabbit(rabbit_server: RabbitServer) -> RabbitServer:
    return rabbit_server.start()  # another test may have left it down


@pytest.fixture
def channel(rabbit: RabbitServer) -> Iterator[Channel]:
    with kombu.Connection(rabbit.url) as connection:
        yield connection.channel()


def test_a_message_is_persistent_and_says_what_it_is(rabbit: RabbitServer, channel: Channel, name: str) -> None:
    sink, told = opened(f"{rabbit.url}?queue={name}"), event(1)
    assert sink.send([told]) == [None]
    sink.close()
    message = channel.basic_get(name)
    assert message.properties["delivery_mode"] == 2
    assert message.properties["message_id"] == told.id
    assert message.properties["type"] == told.type
    assert message.content_type == "application/cloudevents+json"


def test_by_way_of_an_exchange_the_type_is_the_routing_key(rabbit: RabbitServer, channel: Channel, name: str) -> None:
    channel.exchange_declare(name, "topic", durable=True, auto_delete=False)
    channel.queue_declare(name, durable=True, auto_delete=False)
    channel.queue_bind(name, name, "mailsluice.message.#")
    sink = opened(f"{rabbit.url}?exchange={name}")
    assert sink.send([event(1)]) == [None]
    assert channel.basic_get(name, no_ack=True) is not None
    sink.close()


def test_a_message_that_no_queue_takes_is_not_confirmed(rabbit: RabbitServer, channel: Channel, name: str) -> None:
    channel.exchange_declare(name, "direct", durable=True, auto_delete=False)
    channel.queue_declare(name, durable=True, auto_delete=False)
    sink = opened(f"{rabbit.url}?exchange={name}&routing_key=in")
    for outcome in sink.send([event(1), event(2), event(1, "b")]):
        assert isinstance(outcome, SinkUnavailable)
        assert "no queue takes it" in outcome.what
    channel.queue_bind(name, name, "in")
    assert sink.send([event(1)]) == [None]
    sink.close()


def test_a_message_that_a_full_queue_refuses_is_not_confirmed(
    rabbit: RabbitServer, channel: Channel, name: str
) -> None:
    limits = {"x-max-length": 2, "x-overflow": "reject-publish"}
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=limits)
    sink = opened(f"{rabbit.url}?queue={name}")
    outcomes = sink.send([event(n, f"acc-{n}") for n in range(4)])
    assert outcomes[:2] == [None, None]
    for outcome in outcomes[2:]:
        assert isinstance(outcome, SinkUnavailable)
    channel.queue_purge(name)
    assert sink.send([event(2, "acc-2")]) == [None]
    sink.close()


def test_an_exchange_that_is_not_there_a_wrong_vhost_and_a_wrong_password_are_for_a_person(
    rabbit: RabbitServer, name: str
) -> None:
    at = f"127.0.0.1:{rabbit.port}"
    for url in (
        f"{rabbit.url}?exchange={name}",
        f"amqp://guest:guest@{at}/{name}?queue=q",
        f"amqp://guest:hush@{at}/?queue=q",
    ):
        sink = opened(url)
        [outcome] = sink.send([event(1)])
        assert isinstance(outcome, SinkRefused), outcome
        assert "hush" not in str(outcome)
        with pytest.raises(SinkRefused):
            sink.ping()
        sink.close()


def test_over_tls_the_certificate_is_verified(rabbit: RabbitServer, name: str) -> None:
    url = f"{rabbit.tls_url}?queue={name}"
    stranger = opened(url)
    [outcome] = stranger.send([event(1)])
    assert isinstance(outcome, SinkRefused)
    assert "certificate" in outcome.what
    stranger.close()
    friend = opened(url, ca_file=rabbit.ca_file)
    assert friend.send([event(1)]) == [None]
    friend.close()
    elsewhere = opened(url.replace("@localhost", "@127.0.0.1"), ca_file=rabbit.ca_file)
    assert isinstance(elsewhere.send([event(1)])[0], SinkRefused)
    elsewhere.close()


def test_an_id_that_no_header_takes_is_the_events_fault_and_stops_no_other(rabbit: RabbitServer, name: str) -> None:
    sink = opened(f"{rabbit.url}?queue={name}")
    odd = event(1, "odd", id_="ä" * 200)
    assert [type(outcome) for outcome in sink.send([odd, event(1)])] == [EventRefused, type(None)]
    sink.close()


def test_a_406_while_it_is_opened_is_no_events_fault(
    rabbit: RabbitServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = opened(f"{rabbit.url}?queue={name}")

    def refused(*_: object) -> object:
        raise PreconditionFailed("inequivalent arg")

    monkeypatch.setattr(sink, "_found", refused)
    [outcome] = sink.send([event(1)])
    assert isinstance(outcome, SinkRefused)
    sink.close()
