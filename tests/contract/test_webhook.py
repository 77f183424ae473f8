"""What a webhook's endpoint sees, and what its answers mean."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from servers.webhook import FINE, Reply, WebhookServer
from sink_stands import event, opened
from tls_servers import Authority

from ingest.adapters.sinks.webhook import signature
from ingest.errors import EventRefused, SinkRefused, SinkUnavailable
from ingest.ports import EventSink

NEW, OLD = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"n", b"o"))


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with WebhookServer() as made:
        yield made


@pytest.fixture
def sink(server: WebhookServer) -> Iterator[EventSink]:
    made = opened(server.url, webhook_secrets=(NEW, OLD), sink_timeout_s=0.5)
    yield made
    made.close()


def test_a_request_is_a_cloud_event_in_structured_mode(server: WebhookServer, sink: EventSink) -> None:
    told = event(1)
    assert sink.send([told]) == [None]
    [request] = server.requests
    assert request.path == "/mail?for=us"
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["host"] == f"localhost:{server.port}"
    assert request.body == told.json


def test_a_signature_is_that_of_standard_webhooks() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_signs_the_newest_first(server: WebhookServer, sink: EventSink) -> None:
    told = event(1)
    sink.send([told])
    [request] = server.requests
    at = request.headers["webhook-timestamp"]
    assert abs(int(at) - time.time()) < 60
    assert request.headers["webhook-id"] == told.id
    assert request.headers["webhook-signature"].split() == [
        signature(letter * 32, told.id, at, told.json) for letter in (b"n", b"o")
    ]


def test_without_a_secret_nothing_is_signed(server: WebhookServer) -> None:
    sink = opened(server.url)
    assert sink.send([event(1)]) == [None]
    assert "webhook-signature" not in server.requests[0].headers
    sink.close()


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_confirms(server: WebhookServer, sink: EventSink, status: int) -> None:
    server.answer = lambda _: (status, {}, b"")
    assert sink.send([event(1)]) == [None]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_these_are_the_events_fault(server: WebhookServer, sink: EventSink, status: int) -> None:
    server.answer = lambda _: (status, {}, b"no")
    [outcome] = sink.send([event(1)])
    assert isinstance(outcome, EventRefused)


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405, 410, 415, 451])
def test_these_are_the_sinks_fault_and_the_other_events_are_spared(
    server: WebhookServer, sink: EventSink, status: int
) -> None:
    server.answer = lambda _: (status, {"Location": server.url}, b"no")
    for outcome in sink.send([event(1), event(2)]):
        assert isinstance(outcome, SinkRefused)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_these_pass_by_themselves(server: WebhookServer, sink: EventSink, status: int) -> None:
    server.answer = lambda _: (status, {}, b"later")
    for outcome in sink.send([event(1), event(2)]):
        assert isinstance(outcome, SinkUnavailable)
    assert len(server.requests) == 1


def test_retry_after_is_heard_as_seconds_and_as_a_date(server: WebhookServer, sink: EventSink) -> None:
    server.answer = lambda _: (429, {"Retry-After": "17"}, b"")
    [outcome] = sink.send([event(1)])
    assert outcome is not None
    assert outcome.after_s == 17
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=3600), usegmt=True)
    server.answer = lambda _: (503, {"Retry-After": at}, b"")
    [outcome] = sink.send([event(1)])
    assert outcome is not None
    assert outcome.after_s == pytest.approx(3600, abs=60)


def test_an_error_at_one_account_stops_no_other(server: WebhookServer, sink: EventSink) -> None:
    server.answer = lambda request: (500, {}, b"") if b"mailsluice/a" in request.body else FINE
    outcomes = sink.send([event(1, "a"), event(1, "b"), event(2, "a"), event(2, "b")])
    assert [type(outcome) for outcome in outcomes] == [SinkUnavailable, type(None), SinkUnavailable, type(None)]


def test_a_connection_is_kept_and_one_that_was_closed_meanwhile_loses_nothing(
    server: WebhookServer, sink: EventSink
) -> None:
    for n in range(5):
        assert sink.send([event(n)]) == [None]
    assert server.connections == 1
    server.stop()
    server.start()
    assert sink.send([event(5)]) == [None]
    assert len(server.taken) == 6


def test_a_long_answer_is_not_read_to_its_end(server: WebhookServer, sink: EventSink) -> None:
    server.answer = lambda _: (200, {}, b"x" * (4 << 20))
    assert sink.send([event(1), event(2)]) == [None, None]
    assert server.connections == 2


def test_an_endpoint_that_hangs_up_or_keeps_silent_is_unavailable(server: WebhookServer, sink: EventSink) -> None:
    server.answer = lambda _: None
    [outcome] = sink.send([event(1)])
    assert isinstance(outcome, SinkUnavailable)

    def slow(_: object) -> Reply:
        time.sleep(1.5)
        return FINE

    server.answer = slow
    [outcome] = sink.send([event(1)])
    assert isinstance(outcome, SinkUnavailable)


def test_an_endpoint_that_is_slow_on_a_kept_connection_gets_the_event_once_a_try(
    server: WebhookServer, sink: EventSink
) -> None:
    assert sink.send([event(1)]) == [None]

    def slow(_: object) -> Reply:
        time.sleep(1.5)
        return FINE

    server.answer = slow
    [outcome] = sink.send([event(2)])
    assert isinstance(outcome, SinkUnavailable)
    assert len(server.requests) == 2


def test_a_certificate_is_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with WebhookServer(tls=authority.server_context("localhost")) as server:
        stranger = opened(server.url)
        [outcome] = stranger.send([event(1)])
        assert isinstance(outcome, SinkRefused)
        assert "certificate" in outcome.what
        stranger.close()
        friend = opened(server.url, ca_file=Path(authority.file))
        assert friend.send([event(n) for n in range(3)]) == [None] * 3
        friend.ping()
        friend.close()


def test_a_private_address_is_not_posted_to_unless_it_is_allowed() -> None:
    sink = opened("https://10.1.2.3/")
    [outcome] = sink.send([event(1)])
    assert isinstance(outcome, SinkRefused)
    assert "ALLOWED_NETWORKS" in outcome.todo
    sink.close()


def test_an_id_that_no_header_takes_is_the_events_fault(server: WebhookServer, sink: EventSink) -> None:
    [outcome] = sink.send([event(1, id_="a\r\nX: y")])
    assert isinstance(outcome, EventRefused)
    assert server.requests == []
