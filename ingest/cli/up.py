"""`mailsluice up`: worker and beat for one's own accounts, on one machine, until Ctrl-C.

Rules of this room:
- What settings name is used; what they leave open is embedded: Redis and a directory store in MAILSLUICE_DATA_DIR.
- Other commands reach the embedded parts through the file `up.env`, readable by its owner alone, gone when `up` ends.
- A child that dies is started again, with a line about it. A stop that was asked for is exit code 0.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import click
from rich.text import Text

from ingest.cli.output import complain, console
from ingest.cli.services import quiet
from ingest.cli.stack import Stack, event_line, make_data_dir, own_store, stop_requests, use_environment
from ingest.errors import IngestError
from ingest.settings import Settings, masked
from ingest.wiring import Services, build, start_embedded_redis


@click.command(
    short_help="Run a worker and a beat on this machine.",
    epilog="Example: MAILSLUICE_ACCOUNTS_FILE=accounts.toml mailsluice up",
)
def up() -> None:
    """Run a worker and a beat for your accounts until Ctrl-C, and show events as they arrive.

    Redis and object storage are embedded unless MAILSLUICE_REDIS_URL and MAILSLUICE_STORAGE_URL name real ones.
    Accounts come from MAILSLUICE_ACCOUNTS_FILE and from `mailsluice accounts add`.
    """
    settings = Settings.load()
    directory = settings.data_dir.absolute()
    make_data_dir(directory)
    with stop_requests() as asked, ExitStack() as parts:
        variables = {"MAILSLUICE_DATA_DIR": str(directory)}
        if "redis_url" not in settings.model_fields_set:
            variables["MAILSLUICE_REDIS_URL"] = parts.enter_context(
                closing(start_embedded_redis(directory / "redis"))
            ).url
        if settings.storage_url is None:
            variables["MAILSLUICE_STORAGE_URL"] = own_store(directory)
        use_environment(variables, only=False)
        parts.enter_context(_written(directory / "up.env", variables))
        services = parts.enter_context(closing(build(quiet(Settings.load()))))
        _begin(services, directory)
        stack = Stack(directory)
        parts.callback(stack.stop)
        stack.start()
        while not asked.is_set():
            _follow(services, stack, asked)
        console().print("stopping")


def _begin(services: Services, directory: Path) -> None:
    settings = services.settings
    if settings.accounts_file is not None:
        services.apply_accounts_file(settings.accounts_file)
    count = len(services.registry.all())
    console().print(Text(f"state    {masked(settings.redis_url)}"))
    console().print(Text(f"objects  {masked(settings.require_storage())}"))
    console().print(Text(f"accounts {count}" + ("" if count else "; add some: mailsluice accounts add --help")))
    console().print(Text(f"Other commands from another shell: . {shlex.quote(str(directory / 'up.env'))}"))
    console().print("Ctrl-C ends it.\n")


def _follow(services: Services, stack: Stack, asked: threading.Event) -> None:
    """Show events and tend the children until a stop is asked for, or the state fails."""
    try:
        for entry in services.events.tail(from_start=False, group=None, consumer="up", timeout_s=None):
            if entry is not None:
                console().print(event_line(entry))
            for line in stack.tend():
                complain(line)
            if asked.is_set():
                return
    except IngestError as error:
        complain(str(error))
        for line in stack.tend():
            complain(line)
        asked.wait(1.0)


@contextmanager
def _written(path: Path, variables: dict[str, str]) -> Iterator[None]:
    """A file for shells, mode 0600, for as long as it is true."""
    path.unlink(missing_ok=True)
    path.touch(0o600, exist_ok=False)
    path.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()), "utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
