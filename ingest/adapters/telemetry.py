"""Log lines: one for each poll that did something or failed, in JSON or for a terminal.

Rules of this room:
- Account ids, codes and figures; no subjects, no addresses of correspondents, no secrets.
- Never raises.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from ingest.models import Failure, Outcome, PollReport


def make_logger(level: str, form: str) -> structlog.typing.FilteringBoundLogger:
    """A logger on standard error: `form` "json" or "console", `level` as in logging."""
    render: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"), render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
    )
    return logger


class LogTelemetry:
    """Implements `ports.Telemetry` as log lines."""

    def __init__(self, logger: structlog.typing.FilteringBoundLogger) -> None:
        self._log = logger

    def poll_finished(self, report: PollReport) -> None:
        figures = {
            "account": report.account,
            "outcome": report.outcome.value,
            "new": report.new,
            "events": report.events,
            "skipped": report.skipped,
            "quarantined": report.quarantined,
            "deleted": report.deleted,
            "undeleted": report.undeleted,
            "ledger_records": report.records,
            "bytes": report.bytes,
            "seconds": round(report.seconds, 3),
            "next_due_s": None if report.next_due_s is None else round(report.next_due_s, 1),
        }
        if report.failure is not None:
            failure = report.failure
            self._log.warning(
                "poll", **figures, code=failure.code, fault=failure.fault.value, what=failure.what, todo=failure.todo
            )
        elif report.new or report.deleted or report.outcome not in {Outcome.DONE, Outcome.WAITING}:
            self._log.info("poll", **figures)
        else:
            self._log.debug("poll", **figures)

    def message_failed(self, account_id: str, code: str, detail: str) -> None:
        self._log.warning("message failed", account=account_id, code=code, what=detail)

    def ticked(self, claimed: int, batches: int) -> None:
        (self._log.info if claimed else self._log.debug)("tick", claimed=claimed, batches=batches)

    def step_failed(self, step: str, failure: Failure) -> None:
        self._log.error(step, code=failure.code, fault=failure.fault.value, what=failure.what, todo=failure.todo)
