"""The Celery application: its configuration, beat's one entry, the services of a process.

Rules of this room:
- Nothing is read or connected at import: settings when Celery first asks for its configuration, services when the first
  task runs.
- Tasks carry account ids as JSON and nothing else; no results are kept; a lost task costs lag, never mail.
- Polls are I/O under deadlines of our own: threads, not processes. On SIGTERM each poll finishes the message in hand.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from celery import Celery, signals
from kombu import Exchange, Queue

from ingest.errors import ConfigurationError, IngestError
from ingest.settings import Settings
from ingest.wiring import Services, build

TICK_QUEUE = "mailsluice.tick"
POLL_QUEUE = "mailsluice.polls"
TICK = "mailsluice.tick"
POLL_ACCOUNTS = "mailsluice.poll_accounts"
USAGE, FAILED = 2, 1


class WorkerApp(Celery):
    """Celery with the process's services hung on it, made at first use."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # Celery's own arguments
        super().__init__(*args, **kwargs)
        self._making = threading.Lock()
        self._services: Services | None = None
        self._drain = threading.Event()

    @property
    def services(self) -> Services:
        """The services of this process."""
        with self._making:
            if self._services is None:
                self._services = build(load_settings(), drain=self._drain)
            return self._services

    def begin(self) -> None:
        """What must be true before a worker takes tasks: accounts applied, Redis fit for state, storage named.

        One line for each thing that is wrong, and exit code 2 for configuration, 1 for the rest.
        """
        try:
            services = self.services
            services.settings.require_storage()
            if services.settings.accounts_file is not None:
                services.apply_accounts_file(services.settings.accounts_file)
            services.wait_for_state()
        except ConfigurationError as error:
            _exit(error.problems, USAGE)
        except IngestError as error:
            _exit([str(error)], FAILED)

    def drain(self) -> None:
        """Ask running polls to stop after the message in hand."""
        self._drain.set()

    def close(self) -> None:
        """Give the services back (and Celery's own pools)."""
        if self._services is not None:
            self._services.close()
        super().close()


def load_settings() -> Settings:
    """Settings, or one line for each wrong key and exit code 2: a worker that can't be configured must not start."""
    try:
        return Settings.load()
    except ConfigurationError as error:
        _exit(error.problems, USAGE)


def _exit(problems: Sequence[str], code: int) -> NoReturn:
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201  # before there is a log
    raise SystemExit(code)


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's configuration; every value that is not a default has its reason in docs/architecture."""
    return {
        "broker_url": settings.broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {"socket_keepalive": True, "health_check_interval": 10},
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in (TICK_QUEUE, POLL_QUEUE)],
        "task_default_queue": POLL_QUEUE,
        "task_default_exchange": POLL_QUEUE,
        "task_default_routing_key": POLL_QUEUE,
        "task_routes": {TICK: {"queue": TICK_QUEUE}, POLL_ACCOUNTS: {"queue": POLL_QUEUE}},
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "result_backend": None,
        "worker_pool": "threads",
        "worker_concurrency": settings.worker_threads,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": settings.tick_s,
        "beat_schedule": {
            "tick": {
                "task": TICK,
                "schedule": settings.tick_s,
                "options": {"queue": TICK_QUEUE, "expires": settings.tick_s},
            }
        },
    }


celery = WorkerApp("mailsluice", include=["workers.tasks"])
celery.add_defaults(lambda: configuration(load_settings()))


@signals.worker_init.connect
def _begin(**_: object) -> None:
    celery.begin()


@signals.worker_shutting_down.connect
def _drain(**_: object) -> None:
    celery.drain()


@signals.worker_shutdown.connect
def _close(**_: object) -> None:
    celery.close()
