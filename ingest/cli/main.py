"""The command itself: which commands there are, and how each of them ends.

Rules of this room:
- Exit codes: 0 done; 1 something failed, one line a failure on stderr; 2 wrong usage or bad configuration; 130 Ctrl-C.
- Expected failures never show a traceback. A bug does.
- A command is imported when it is asked for: `poll` never loads the simulator.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from ingest.cli.output import complain
from ingest.errors import ConfigurationError, IngestError

INTERRUPTED = 130
_COMMANDS = (
    "demo",
    "up",
    "accounts",
    "poll",
    "tick",
    "events",
    "quarantine",
    "replay",
    "relay",
    "deadletter",
    "object",
    "doctor",
    "simulator",
)
_HIDDEN = ("isolated",)  # for our own processes
_OTHERWISE = {"object": "stored_object"}  # where Python has the name for something of its own


class Commands(click.Group):
    """Finds a command in the module of its name, and turns our errors into lines and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's hook
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's hook
        if cmd_name not in _COMMANDS + _HIDDEN:
            return None
        module = importlib.import_module(f"ingest.cli.{cmd_name}")
        command: click.Command = getattr(module, _OTHERWISE.get(cmd_name, cmd_name))
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever a command returns
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            for problem in error.problems:
                complain(problem)
            ctx.exit(2)
        except IngestError as error:
            complain(f"error: {error}")
            ctx.exit(1)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mailsluice", message="%(prog)s %(version)s")
def mailsluice() -> None:
    """Turns mail in many POP3 maildrops into events on a queue, attachments already in object storage.

    Settings are MAILSLUICE_* variables or a TOML file named by MAILSLUICE_CONFIG. To see it work: mailsluice demo
    """


def main() -> None:
    """Run the command line; ends the process."""
    try:
        mailsluice(prog_name="mailsluice")
    except BrokenPipeError:  # whoever read our output has gone
        sys.stdout = None
        sys.exit(1)
