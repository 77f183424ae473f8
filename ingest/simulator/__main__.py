"""`python -m ingest.simulator`: serves the sample mail until Ctrl-C. `mailsluice simulator` does the same, and more.

Rules of this room:
- Arguments and exit codes only; needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TextIO

from ingest.simulator.serving import CannotServe, Serving, WrongUsage, serve


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """Serve until SIGINT or SIGTERM.

    Args:
        arguments: the command line's; None takes the process's own.
        out: where the output goes.

    Returns:
        The exit code: 0, or 1 where it can't serve.
    """
    parser = argparse.ArgumentParser(prog="python -m ingest.simulator", description="A POP3 server with sample mail.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--password", default="sample", help="password of every account (default: %(default)s)")
    parser.add_argument("--behaviour", action="append", default=[], metavar="NAME", help="see docs/simulator.md")
    parser.add_argument("--cert", metavar="FILE", help="certificate and key in PEM: offers STLS")
    parser.add_argument("--implicit-tls", action="store_true", help="TLS from the first octet; needs --cert")
    options = parser.parse_args(arguments)
    if options.implicit_tls and not options.cert:
        parser.error("--implicit-tls needs --cert")
    wanted = Serving(
        host=options.host,
        port=options.port,
        password=options.password,
        behaviours=tuple(options.behaviour),
        tls=("implicit" if options.implicit_tls else "starttls") if options.cert else None,
        certificate=options.cert,
    )
    try:
        serve(wanted, out)
    except WrongUsage as error:
        parser.error(str(error))
    except CannotServe as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
