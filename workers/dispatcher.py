"""How claimed accounts become queued polls: the library finds this class by its entry point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from celery import Celery
from celery.exceptions import OperationalError as CeleryOperationalError
from kombu.exceptions import OperationalError

from ingest.errors import BrokerUnavailable
from ingest.settings import Settings, masked
from workers.app import POLL_ACCOUNTS, POLL_QUEUE, configuration

_PING_S = 5


class CeleryDispatcher:
    """Implements `ingest.ports.Dispatcher` over the broker of the settings.

    Each publish is tried once: the claim's TTL is what repeats it.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.broker_url
        self._app = Celery("mailsluice-dispatcher", set_as_current=False)
        self._app.conf.update(configuration(settings))

    def submit(self, account_ids: Sequence[str], *, expires_s: float) -> None:
        with self._translated():
            self._app.send_task(
                POLL_ACCOUNTS, args=[list(account_ids)], queue=POLL_QUEUE, expires=expires_s, retry=False
            )

    def ping(self) -> None:
        with self._translated(), self._app.connection_for_write(connect_timeout=_PING_S) as connection:
            connection.ensure_connection(max_retries=1, timeout=_PING_S)

    def close(self) -> None:
        self._app.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, CeleryOperationalError, OSError) as error:
            raise BrokerUnavailable(
                f"broker {masked(self._url)} is unreachable: {str(error).partition(chr(10))[0][:200]}",
                todo="start it or check MAILSLUICE_BROKER_URL",
            ) from None
