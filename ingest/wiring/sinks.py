"""The sink that a URL names.

Rules of this file:
- A scheme is a line here and a file among the adapters. Its library is imported only where that sink is set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from ingest.adapters.https import Connector
from ingest.adapters.tcp import TcpDialer
from ingest.errors import ConfigurationError
from ingest.oauth import endpoint
from ingest.ports import Clock, EventSink
from ingest.settings import Settings
from ingest.written import is_loopback

_LOOPBACK = ("127.0.0.0/8", "::1/128")


def open_sink(settings: Settings, clock: Clock) -> EventSink:
    """Nothing is connected yet; ConfigurationError where no sink is set."""
    if settings.sink_url is None:
        raise ConfigurationError(["MAILSLUICE_SINK_URL: is not set, so there is nowhere to relay events to"])
    return _SINKS[urlsplit(settings.sink_url).scheme](settings, settings.sink_url, clock)


def _webhook(settings: Settings, url: str, clock: Clock) -> EventSink:
    from ingest.adapters.sinks.webhook import WebhookSink  # noqa: PLC0415 - see above

    place = endpoint(url)
    own = _LOOPBACK if is_loopback(place.host) else ()  # whoever writes it in a setting means it
    dialer = TcpDialer(
        connect_timeout_s=settings.sink_timeout_s,
        ca_file=str(settings.ca_file) if settings.ca_file else None,
        allowed_networks=(*map(str, settings.allowed_networks), *own),
    )
    wait_s = settings.sink_timeout_s
    return WebhookSink(
        place,
        Connector(dialer, connect_timeout_s=wait_s, deadline_s=wait_s),
        secrets=settings.webhook_keys,
        clock=clock,
        deadline_s=wait_s,
        connections=settings.webhook_connections,
    )


def _sqs(settings: Settings, url: str, _clock: Clock) -> EventSink:
    from ingest.adapters.sinks.sqs import SqsSink  # noqa: PLC0415 - see above

    parts = urlsplit(url)
    return SqsSink(parts.netloc, parts.path.removeprefix("/"), settings.sink_timeout_s)


def _sns(settings: Settings, url: str, _clock: Clock) -> EventSink:
    from ingest.adapters.sinks.sns import SnsSink  # noqa: PLC0415 - see above

    parts = urlsplit(url)
    return SnsSink(parts.netloc, parts.path.removeprefix("/"), settings.sink_timeout_s)


def _amqp(settings: Settings, url: str, _clock: Clock) -> EventSink:
    from ingest.adapters.sinks.amqp import AmqpSink, Broker, Route  # noqa: PLC0415 - see above

    parts = urlsplit(url)
    tls = parts.scheme == "amqps"
    given = dict(parse_qsl(parts.query))
    broker = Broker(
        host=parts.hostname or "",
        port=parts.port or (5671 if tls else 5672),
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(parts.path.removeprefix("/")) or "/",
        tls=tls,
        ca_file=str(settings.ca_file) if settings.ca_file else None,
    )
    return AmqpSink(broker, Route(**given), settings.sink_timeout_s)


_SINKS: Mapping[str, Callable[[Settings, str, Clock], EventSink]] = {
    "https": _webhook,
    "http": _webhook,
    "sqs": _sqs,
    "sns": _sns,
    "amqp": _amqp,
    "amqps": _amqp,
}
