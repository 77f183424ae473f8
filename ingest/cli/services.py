"""How a command comes by its services: from the settings, built once, closed when it ends.

Rules of this room:
- A context's `obj` may be another maker of services (tests); commands never notice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import click

from ingest.settings import Settings
from ingest.wiring import Services, build

P = ParamSpec("P")
R = TypeVar("R")


def quiet(settings: Settings) -> Settings:
    """Settings of a command: it says itself what failed, so that logs stay out of its output unless asked for."""
    asked = "log_level" in settings.model_fields_set
    return settings if asked else settings.model_copy(update={"log_level": "error"})


def pass_services(command: Callable[Concatenate[Services, P], R]) -> Callable[P, R]:
    """Hand the services to a command as its first argument."""
    return _passing(command, quiet)


def pass_logging_services(command: Callable[Concatenate[Services, P], R]) -> Callable[P, R]:
    """The same for a command that runs for long, and logs as a worker does."""
    return _passing(command, lambda settings: settings)


def _passing(command: Callable[Concatenate[Services, P], R], settled: Callable[[Settings], Settings]) -> Callable[P, R]:
    @functools.wraps(command)
    def with_services(*args: P.args, **kwargs: P.kwargs) -> R:
        ctx = click.get_current_context()
        services: Services = ctx.obj() if ctx.obj else build(settled(Settings.load()))
        ctx.call_on_close(services.close)
        return command(services, *args, **kwargs)

    return with_services
